//! Forks of a process with one thread.

use crate::harness::{Link, command, helper_library, on_hz3, program, program_with_library, run};
use std::process::Command;

fn faults(command: &mut Command) -> u64 {
    let outcome = run(command);
    assert!(outcome.status.success(), "{outcome:?}");
    outcome.stdout.trim().parse().expect("a number")
}

#[test]
fn parent_and_child_copy_few_pages_for_hz3() {
    let system = faults(&mut command(program("fork_faults.c", Link::None)));
    let hz3 = faults(&mut on_hz3("fork_faults.c"));
    // There are 7 to 9 more; with all locks taken there were 25.
    assert!(hz3 <= system + 15, "{hz3} page faults a fork, {system} without hz3");
}

#[test]
fn a_thread_that_a_fork_handler_starts() {
    let library = helper_library("fork_alone_lib.c");
    run(&mut command(program_with_library("fork_alone.c", &library))).expect_ok();
}
