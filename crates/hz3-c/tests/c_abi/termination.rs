//! SIGTERM in a process that reports its statistics.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::harness::{Outcome, on_hz3, run};

fn reporting(case: &str) -> Command {
    let mut command = on_hz3("termination.c");
    command.arg(case).env("HZ3_STATS", "json");
    command
}

/// Asserts that the process wrote one report.
#[track_caller]
fn reported(outcome: &Outcome) {
    assert_eq!(outcome.stderr.matches("{\"allocated\":").count(), 1, "{outcome}");
}

#[test]
fn a_process_without_a_handler_reports_and_ends_by_the_signal() {
    let outcome = run(&mut reporting("default"));
    assert_eq!(outcome.signal(), Some(libc::SIGTERM), "{outcome}");
    reported(&outcome);
}

#[test]
fn a_handler_of_the_program_replaces_the_report() {
    let outcome = run(&mut reporting("own"));
    assert_eq!(outcome.status.code(), Some(3), "{outcome}");
    assert_eq!(outcome.stderr, "", "{outcome}");
}

#[test]
fn a_handler_that_exits_reports_once() {
    let outcome = run(&mut reporting("exit"));
    assert_eq!(outcome.status.code(), Some(4), "{outcome}");
    reported(&outcome);
}

#[test]
fn an_ignored_signal_stays_ignored() {
    let mut command = reporting("ignored");
    let ignore = || {
        // SAFETY: no handler of Rust's is replaced: the child is about to execute the program.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
        Ok(())
    };
    // SAFETY: `signal` may be called between fork and exec.
    unsafe { command.pre_exec(ignore) };
    let outcome = run(&mut command);
    assert_eq!(outcome.status.code(), Some(5), "{outcome}");
    reported(&outcome);
}

#[test]
fn a_signal_during_an_operation_ends_the_process() {
    for _ in 0..12 {
        let outcome = run(&mut reporting("busy"));
        assert_eq!(outcome.signal(), Some(libc::SIGTERM), "{outcome}");
        if !outcome.stderr.starts_with("hz3: no report: ") {
            reported(&outcome);
        }
    }
}

#[test]
fn without_a_report_no_handler_is_installed() {
    let outcome = run(reporting("unhandled").env("HZ3_STATS", "0"));
    assert_eq!(outcome.signal(), Some(libc::SIGTERM), "{outcome}");
    assert_eq!(outcome.stderr, "", "{outcome}");
}
