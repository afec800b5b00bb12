//! Misuse ends the program, with one line that names the address and the reason.

use crate::harness::{on_hz3, run};

/// Runs misuse.c with the argument `abuse`; the line must name the address and contain `reason`.
#[track_caller]
fn dies_of(abuse: &str, reason: &str) {
    let outcome = run(on_hz3("misuse.c").arg(abuse));
    assert_eq!(outcome.signal(), Some(libc::SIGABRT), "{abuse}: {outcome}");
    let address = outcome.stdout.trim();
    assert!(address.starts_with("0x"), "{abuse}: {outcome}");
    let line = outcome.stderr.trim_end();
    assert!(!line.contains('\n') && line.starts_with("hz3: "), "{abuse}: {outcome}");
    assert!(line.ends_with(&format!(": {address}")), "{abuse}: {outcome}");
    assert!(line.contains(reason), "{abuse}: {outcome}");
}

#[test]
fn freeing_an_address_inside_a_block_is_detected() {
    dies_of("interior", "inside");
    dies_of("misaligned", "inside");
    dies_of("interior-aligned", "inside a block: 208 bytes, no block starts here");
    dies_of("interior-of-long", "inside a block: 20480 bytes, no block starts here");
    dies_of("never-handed-out", "a block that was never handed out: 208 bytes, free in its slab");
    dies_of("large-interior", "no block");
    dies_of("huge-interior", "no block");
}

#[test]
fn freeing_a_block_twice_is_detected() {
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
fn deleting_with_the_size_of_another_class_is_detected() {
    dies_of("wrong-size", "free with a wrong size: 8 bytes, a block of 80");
    dies_of("wrong-large-size", "free with a wrong size: 100000 bytes, a block of 80");
    dies_of("free-sized", "free with a wrong size: 8 bytes, a block of 80");
    dies_of("free-sized-larger", "free with a wrong size: 81 bytes, a block of 80");
}

#[test]
fn using_a_freed_block_is_detected() {
    dies_of("huge-realloc", "free");
    dies_of("large-realloc", "free");
    dies_of("usable-size", "free");
}

#[test]
fn freeing_an_address_that_no_allocator_returns_is_detected() {
    dies_of("stack", "in a stack");
    dies_of("thread-stack", "in a stack");
    dies_of("realloc-stack", "in a stack");
    dies_of("global", "in the data");
    dies_of("misaligned-foreign", "misaligned");
    dies_of("mapping", "not of hz3");
    dies_of("mapped", "not of hz3");
    dies_of("realloc-mapping", "not of hz3");
    dies_of("other-stack", "not of hz3");
}

/// A flush that finds a fault releases its locks before it ends the program, because a handler of
/// SIGABRT may wait for threads that need the same locks.
#[test]
fn a_handler_of_sigabrt_may_wait_for_other_threads() {
    let outcome = run(on_hz3("misuse.c").arg("double-flushed"));
    assert_eq!(outcome.status.code(), Some(7), "{outcome}");
    assert!(outcome.stderr.starts_with("hz3: double free: 208 bytes"), "{outcome}");
}

/// If the reclaimer's thread finds the fault, the program's handler must run too, although that
/// thread itself cannot run it.
#[test]
fn a_handler_of_sigabrt_runs_if_the_reclaimer_finds_the_fault() {
    let outcome = run(on_hz3("misuse.c").arg("double-stolen-leave"));
    assert_eq!(outcome.status.code(), Some(7), "{outcome}");
    assert!(outcome.stderr.starts_with("hz3: double free"), "{outcome}");
    dies_of("double-stolen-stay", "double free");
}
