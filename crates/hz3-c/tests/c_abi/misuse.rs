//! Bad input ends the program, with one line that names the address and the reason.

use crate::harness::{Link, preloaded, program, run};

/// `abuse` is an argument of misuse.c; the line names the address and has `reason` in it.
#[track_caller]
fn dies_of(abuse: &str, reason: &str) {
    let outcome = run(preloaded(program("misuse.c", Link::None)).arg(abuse));
    assert_eq!(outcome.signal(), Some(libc::SIGABRT), "{abuse}: {outcome}");
    let address = outcome.stdout.trim();
    assert!(address.starts_with("0x"), "{abuse}: {outcome}");
    let line = outcome.stderr.trim_end();
    assert!(!line.contains('\n') && line.starts_with("hz3: "), "{abuse}: {outcome}");
    assert!(line.ends_with(&format!(": {address}")), "{abuse}: {outcome}");
    assert!(line.contains(reason), "{abuse}: {outcome}");
}

#[test]
fn addresses_inside_a_block() {
    dies_of("interior", "inside");
    dies_of("misaligned", "inside");
    dies_of("interior-aligned", "inside a block: 208 bytes, no block starts here");
    dies_of("interior-of-long", "inside a block: 20480 bytes, no block starts here");
    dies_of("never-handed-out", "a block that was never handed out: 208 bytes, free in its slab");
    dies_of("large-interior", "no block");
    dies_of("huge-interior", "no block");
}

#[test]
fn a_block_freed_twice() {
    dies_of("double", "double free: 208 bytes, in this thread's cache");
    dies_of("double-behind-another", "double free: 208 bytes, in this thread's cache");
    dies_of("double-reused", "double free: 208 bytes, in this thread's cache");
    dies_of("double-later", "double free");
    dies_of("double-collected", "double free");
    dies_of("double-stolen", "double free");
    dies_of("large-double", "free");
    dies_of("huge-double", "free");
}

#[test]
fn a_block_deleted_with_the_size_of_another_class() {
    dies_of("wrong-size", "free with a wrong size: 8 bytes, a block of 80");
    dies_of("wrong-large-size", "free with a wrong size: 100000 bytes, a block of 80");
}

#[test]
fn a_freed_block_used_again() {
    dies_of("huge-realloc", "free");
    dies_of("large-realloc", "free");
    dies_of("usable-size", "free");
}

#[test]
fn addresses_that_no_allocator_gives_out() {
    dies_of("stack", "in a stack");
    dies_of("thread-stack", "in a stack");
    dies_of("realloc-stack", "in a stack");
    dies_of("global", "in the data");
    dies_of("misaligned-foreign", "misaligned");
}

/// What a flush finds wrong ends the program when the flush holds no lock any more: a handler of
/// SIGABRT may wait for threads that want the same locks.
#[test]
fn a_handler_of_sigabrt_may_wait_for_other_threads() {
    let outcome = run(preloaded(program("misuse.c", Link::None)).arg("double-flushed"));
    assert_eq!(outcome.status.code(), Some(7), "{outcome}");
    assert!(outcome.stderr.starts_with("hz3: double free: 208 bytes"), "{outcome}");
}

/// What the reclaimer finds wrong ends the program as what another thread finds does, though its own
/// thread can't run the program's handler.
#[test]
fn a_handler_of_sigabrt_runs_whoever_noticed() {
    let outcome = run(preloaded(program("misuse.c", Link::None)).arg("double-stolen-leave"));
    assert_eq!(outcome.status.code(), Some(7), "{outcome}");
    assert!(outcome.stderr.starts_with("hz3: double free"), "{outcome}");
    dies_of("double-stolen-stay", "double free");
}
