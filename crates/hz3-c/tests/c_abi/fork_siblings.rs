//! Processes that start and end in other ways than by fork, while threads are in malloc.

use crate::harness::{on_hz3, run};

#[track_caller]
fn prints(how: &str, expected: &str) {
    run(on_hz3("fork_siblings.c").arg(how)).expect_output(expected);
}

#[test]
fn spawned_processes() {
    prints("spawn", "ok\n");
}

#[test]
fn children_in_their_parents_memory() {
    prints("vfork", "ok\n");
    prints("clone", "ok\n");
}

#[test]
fn handlers_at_exit_that_allocate_and_fork() {
    prints("exit", "last\n");
    prints("quick", "last\n");
}
