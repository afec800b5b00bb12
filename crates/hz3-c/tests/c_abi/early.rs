//! Allocation before the first constructor and after the last line of main.

use crate::harness::{helper_library, on_hz3, run};

#[test]
fn allocation_works_before_and_after_main() {
    let library = helper_library("early_lib.c");
    let mut command = on_hz3("early.c");
    run(command.arg(library)).expect_output("ok\nlast\n");
}
