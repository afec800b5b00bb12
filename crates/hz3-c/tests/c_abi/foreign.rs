//! Blocks of other allocators.

use crate::harness::{helper_library, on_hz3, run, shared_library};

#[test]
fn blocks_of_the_c_library_are_passed_on_to_it() {
    run(&mut on_hz3("foreign.c")).expect_ok();
}

#[test]
fn blocks_of_another_library_are_passed_on_to_it() {
    let other = helper_library("foreign_other_lib.c");
    let both = format!("{} {}", shared_library().display(), other.display());
    let mut command = on_hz3("foreign_other.c");
    run(command.env("LD_PRELOAD", both)).expect_ok();
}
