//! The library comes and goes while the program runs.

use crate::harness::{Link, command, program, run, shared_library};

#[test]
fn loaded_used_closed_again_and_again() {
    run(command(program("dlopen.c", Link::None)).arg(shared_library())).expect_ok();
}
