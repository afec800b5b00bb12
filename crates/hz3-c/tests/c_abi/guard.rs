//! Sampled guards: planted misuse is reported with its stacks, and valid programs stay valid.

use std::process::Command;

use crate::harness::{Link, Outcome, preloaded, program, run};

/// Returns a command that runs a program of which one block in `rate` bytes is guarded.
fn guarded(source: &str, rate: &str) -> Command {
    let mut command = preloaded(program(source, Link::None));
    command.env("HZ3_GUARD", "1").env("HZ3_PROFILE_RATE", rate);
    command
}

fn misuse(abuse: &str) -> Outcome {
    run(guarded("guard.c", "1").arg(abuse))
}

/// Runs guard.c with the argument `abuse`: it must end by `signal` after a report whose first line
/// has each of `texts`, and whose stacks, named `stacks`, lead into the program.
#[track_caller]
fn reports(abuse: &str, signal: i32, texts: &[&str], stacks: &[&str]) {
    let outcome = misuse(abuse);
    assert_eq!(outcome.signal(), Some(signal), "{abuse}: {outcome}");
    let mut lines = outcome.stderr.lines().peekable();
    let head = lines.next().unwrap_or_default();
    for text in texts {
        assert!(head.contains(text), "{abuse}: no {text}: {outcome}");
    }
    // A long path is cut.
    let path = program("guard.c", Link::None).to_string_lossy().into_owned();
    let path = &path[..path.len().min(90)];
    let mut found = Vec::new();
    while let Some(title) = lines.next() {
        let title = title.strip_prefix("hz3: ").unwrap_or(title);
        let (what, thread) = title.split_once(" thread ").unwrap_or((title, ""));
        assert!(thread.trim_end_matches(':').parse::<u32>().is_ok(), "{title}: {outcome}");
        let mut is_in_program = false;
        while let Some(frame) = lines.next_if(|line| line.starts_with("hz3:   0x")) {
            is_in_program |= frame.contains(path) && frame.contains("+0x");
        }
        assert!(is_in_program, "{abuse}: {what}: {outcome}");
        found.push(what);
    }
    assert_eq!(found, stacks, "{abuse}: {outcome}");
}

const LIVE: [&str; 2] = ["misused by", "allocated by"];
const FREED: [&str; 3] = ["misused by", "allocated by", "freed by"];
const SIZE: &str = "block of 96 bytes at 0x";

#[test]
fn an_access_beside_a_block_is_reported() {
    let read = if cfg!(target_arch = "x86_64") { "read at" } else { "access at" };
    let write = if cfg!(target_arch = "x86_64") { "write at" } else { "access at" };
    let beyond = |access| ["heap overflow: ", access, ", offset 96 of a ", SIZE];
    reports("overflow-read", libc::SIGSEGV, &beyond(read), &LIVE);
    reports("overflow-write", libc::SIGSEGV, &beyond(write), &LIVE);
    reports("calloc", libc::SIGSEGV, &beyond(read), &LIVE);
    reports("aligned", libc::SIGSEGV, &beyond(write), &LIVE);
    reports("sized", libc::SIGSEGV, &beyond(write), &LIVE);
    let far = ["heap overflow: ", ", offset 5096 of a ", SIZE];
    reports("overflow-far", libc::SIGSEGV, &far, &LIVE);
    let before = ["heap underflow: ", write, ", offset -1 of a ", SIZE];
    reports("underflow", libc::SIGSEGV, &before, &LIVE);
}

#[test]
fn a_use_of_a_freed_block_is_reported() {
    let freed = ["use after free: ", "offset 5 of a freed ", SIZE];
    reports("freed-read", libc::SIGSEGV, &freed, &FREED);
    reports("freed-write", libc::SIGSEGV, &freed, &FREED);
    reports("moved", libc::SIGSEGV, &freed, &FREED);
    let freed = ["use after free", "offset 0 of a freed ", SIZE];
    reports("freed-elsewhere", libc::SIGSEGV, &freed, &FREED);
    reports("realloc-freed", libc::SIGABRT, &freed, &FREED);
    reports("size-of-freed", libc::SIGABRT, &freed, &FREED);
}

#[test]
fn a_wrong_free_is_reported() {
    let freed = ["double free at 0x", "offset 0 of a freed ", SIZE];
    reports("double-free", libc::SIGABRT, &freed, &FREED);
    let inside = ["free of an address that is no block at 0x", "offset 16 of a ", SIZE];
    reports("interior-free", libc::SIGABRT, &inside, &LIVE);
}

#[test]
fn a_write_between_a_block_and_its_closed_page_is_reported_at_the_free() {
    let behind = ["heap overflow, found at the free: written at 0x", "offset 93 of a ", "93 bytes"];
    reports("slack", libc::SIGABRT, &behind, &LIVE);
    let before = ["heap underflow, found at the free: written at 0x", "offset -1 of a ", SIZE];
    reports("slack-before", libc::SIGABRT, &before, &LIVE);
}

/// Other faults and signals behave as without guards.
#[test]
fn faults_elsewhere_are_the_programs() {
    let ends_with = |abuse: &str, code: i32| {
        let outcome = misuse(abuse);
        assert_eq!(outcome.status.code(), Some(code), "{abuse}: {outcome}");
        assert!(outcome.stderr.is_empty(), "{abuse}: {outcome}");
    };
    ends_with("handled-fault", 7);
    ends_with("handled-signal", 8);
    for abuse in ["fault", "restored"] {
        let outcome = misuse(abuse);
        assert_eq!(outcome.signal(), Some(libc::SIGSEGV), "{abuse}: {outcome}");
        assert!(outcome.stderr.is_empty(), "{abuse}: {outcome}");
    }
    reports("handled-misuse", libc::SIGSEGV, &["use after free: ", SIZE], &FREED);
}

#[test]
fn valid_programs_run_as_without_guards() {
    for (source, way, rate) in [
        ("family_alignment.c", "", "1"),
        ("family_contents.c", "", "1"),
        ("family_edges.c", "", "1"),
        ("fork_threads.c", "", "20K"),
        ("signals.c", "", "2K"),
        ("threads.c", "remote", "1000"),
    ] {
        let outcome = run(guarded(source, rate).args((!way.is_empty()).then_some(way)));
        assert!(outcome.status.success() && outcome.stderr.is_empty(), "{source}: {outcome}");
    }
}

/// The profile starts and stops while blocks are guarded.
#[test]
fn the_profile_runs_beside_guards() {
    let directory = std::env::temp_dir().join(format!("hz3-guard-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join("profile");
    run(guarded("profile.c", "1000").arg(&path)).expect_ok();
    std::fs::remove_dir_all(directory).expect("removed");
}
