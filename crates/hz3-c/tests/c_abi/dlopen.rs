//! The program loads and closes the library while it runs.

use crate::harness::{Link, command, program, run, shared_library};

#[test]
fn the_library_can_be_loaded_used_and_closed_repeatedly() {
    run(command(program("dlopen.c", Link::None)).arg(shared_library())).expect_ok();
}
