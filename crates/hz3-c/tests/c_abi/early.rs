//! Allocation before the first constructor and after the last line of main.

use crate::harness::{Link, helper_library, preloaded, program, run};

#[test]
fn allocation_works_before_and_after_main() {
    let library = helper_library("early_lib.c");
    let mut command = preloaded(program("early.c", Link::None));
    run(command.arg(library)).expect_output("ok\nlast\n");
}
