//! The system refuses one system call, from the start or later: programs continue, or end with one
//! line.

use std::fmt::Write as _;

use crate::harness::{
    Link, Outcome, command, helper_library, preloaded, program, run, shared_library,
};

/// Which part of a process needs a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// The start of a process: the loader, the C library's start-up, or the choice of hz3's arena.
    Start,
    /// The C library, which may end the program with one line.
    CLibrary,
}
use Needs::{CLibrary, Nothing, Start};

/// System calls that hz3 makes, or the C library on its behalf.
const CALLS: &[(&str, libc::c_long, Needs)] = &[
    ("mmap", libc::SYS_mmap, Start),
    ("munmap", libc::SYS_munmap, Nothing),
    ("mprotect", libc::SYS_mprotect, Start),
    ("madvise", libc::SYS_madvise, Nothing),
    ("mremap", libc::SYS_mremap, Nothing),
    ("membarrier", libc::SYS_membarrier, Nothing),
    ("futex", libc::SYS_futex, CLibrary),
    ("sched_getaffinity", libc::SYS_sched_getaffinity, Nothing),
    ("getrandom", libc::SYS_getrandom, Nothing),
    ("clone", libc::SYS_clone, Nothing),
    ("clone3", libc::SYS_clone3, Nothing),
    ("prctl", libc::SYS_prctl, Nothing),
    ("openat", libc::SYS_openat, Start),
    ("prlimit64", libc::SYS_prlimit64, Nothing),
    ("mincore", libc::SYS_mincore, Nothing),
];

const ERRORS: &[(&str, i32)] = &[
    ("ENOSYS", libc::ENOSYS),
    ("EPERM", libc::EPERM),
    ("ENOMEM", libc::ENOMEM),
    ("EAGAIN", libc::EAGAIN),
];

/// Runs the program once for each call that the filter accepts and each error.
fn refuse_each(accepts: impl Fn(Needs) -> bool, run_with: impl Fn([String; 2]) -> Outcome) {
    let mut failures = String::new();
    for &(call, number, needs) in CALLS.iter().filter(|&&(_, _, needs)| accepts(needs)) {
        for &(error_name, error) in ERRORS {
            let outcome = run_with([number.to_string(), error.to_string()]);
            let success = outcome.status.success();
            let goes_on = success && outcome.stdout == "ok\n" && outcome.stderr.is_empty();
            let ends = needs == CLibrary && !success && outcome.stderr.lines().count() == 1;
            if !goes_on && !ends {
                write!(failures, "{call} {error_name}: {outcome}").expect("a string has room");
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn a_static_program_works_with_a_call_refused_from_the_start() {
    let program = program("refused.c", Link::Static);
    let start = |refused| run(command(&program).arg("start").args(refused));
    refuse_each(|needs| needs != Start, start);
}

#[test]
fn a_preloaded_library_works_with_a_call_refused_from_the_start() {
    let (program, library) = (program("refused.c", Link::None), shared_library());
    let start = |refused| run(command(&program).arg("start").args(refused).arg(&library));
    refuse_each(|needs| needs != Start, start);
}

#[test]
fn a_program_works_with_a_call_refused_later() {
    let program = program("refused.c", Link::None);
    refuse_each(|_| true, |refused| run(preloaded(&program).arg("later").args(refused)));
}

/// The lowest kernel that the README names.
#[test]
fn programs_work_without_all_that_came_after_linux_3_2() {
    let (dynamic, library) = (program("refused.c", Link::None), shared_library());
    let mmap = helper_library("old_kernel.c");
    let preload = format!("{} {}", mmap.display(), library.display());
    run(command(&dynamic).args(["old", &preload])).expect_ok();
    run(command(program("refused.c", Link::Static)).arg("old")).expect_ok();
}
