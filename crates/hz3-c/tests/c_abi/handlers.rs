//! Signal handlers that interrupt malloc or free, and allocate, fork or exit.

use crate::harness::{on_hz3, run};

/// A crash reporter runs in the thread in which hz3 found a fault and which holds its locks.
#[track_caller]
fn reports(what: &str) {
    let outcome = run(on_hz3("handlers.c").args(["abort", what]));
    assert_eq!(outcome.status.code(), Some(3), "{what}: {outcome}");
    assert_eq!(outcome.stdout, "reported\n", "{what}: {outcome}");
    assert!(outcome.stderr.starts_with("hz3: double free"), "{outcome}");
}

#[test]
fn a_handler_of_sigabrt_may_allocate() {
    reports("allocate");
    reports("large");
    reports("free");
    reports("print");
    reports("backtrace");
}

#[test]
fn a_handler_of_sigabrt_may_start_a_process() {
    reports("fork");
    reports("execute");
}

#[test]
fn a_handler_of_sigabrt_may_exit() {
    reports("exit");
}

#[track_caller]
fn passes(arguments: [&str; 2]) {
    run(on_hz3("handlers.c").args(arguments)).expect_ok();
}

#[test]
fn a_handler_of_sigterm_may_exit() {
    passes(["exit", "1000"]);
    passes(["exit", "100000"]);
    passes(["exit", "3000000"]);
}

#[test]
fn a_signal_handler_may_fork() {
    passes(["fork", "100"]);
}
