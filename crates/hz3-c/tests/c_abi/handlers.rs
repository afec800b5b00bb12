//! Signal handlers that allocate, fork or exit on top of a call of malloc or free.

use crate::harness::{Link, preloaded, program, run};

/// A crash reporter runs on the thread in which hz3 found a fault, under its locks.
#[track_caller]
fn reports(what: &str) {
    let outcome = run(preloaded(program("handlers.c", Link::None)).args(["abort", what]));
    assert_eq!(outcome.status.code(), Some(3), "{what}: {outcome}");
    assert_eq!(outcome.stdout, "reported\n", "{what}: {outcome}");
    assert!(outcome.stderr.starts_with("hz3: double free"), "{outcome}");
}

#[test]
fn a_handler_of_sigabrt_that_allocates() {
    reports("allocate");
    reports("large");
    reports("free");
    reports("print");
    reports("backtrace");
}

#[test]
fn a_handler_of_sigabrt_that_starts_a_process() {
    reports("fork");
    reports("execute");
}

#[test]
fn a_handler_of_sigabrt_that_exits() {
    reports("exit");
}

#[track_caller]
fn passes(arguments: [&str; 2]) {
    run(preloaded(program("handlers.c", Link::None)).args(arguments)).expect_ok();
}

#[test]
fn a_handler_of_sigterm_that_exits() {
    passes(["exit", "1000"]);
    passes(["exit", "100000"]);
    passes(["exit", "3000000"]);
}

#[test]
fn a_handler_that_forks() {
    passes(["fork", "100"]);
}
