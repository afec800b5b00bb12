//! Blocks of other allocators.

use crate::harness::{Link, helper_library, preloaded, program, run, shared_library};

#[test]
fn blocks_of_the_c_library_are_passed_on_to_it() {
    run(&mut preloaded(program("foreign.c", Link::None))).expect_ok();
}

#[test]
fn blocks_of_another_library_are_passed_on_to_it() {
    let other = helper_library("foreign_other_lib.c");
    let both = format!("{} {}", shared_library().display(), other.display());
    let mut command = preloaded(program("foreign_other.c", Link::None));
    run(command.env("LD_PRELOAD", both)).expect_ok();
}
