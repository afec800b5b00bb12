//! Behaviour near the memory limit, and at it.

use core::num::NonZero;

use super::program::Program;
use crate::base::units::{PAGE_BYTES, SEGMENT_BYTES, to_u64};
use crate::cache::Front::{self, Direct};
use crate::heap::Heap;
use crate::options::{Config, Limit, LimitMode};
use crate::os::fake::Fake;

const MIB: usize = 1 << 20;
const LIMIT: usize = 16 * MIB;
const LIMITED: Limit = Limit::Bytes(NonZero::new(16 << 20).unwrap());

fn heap(limit: Limit, limit_mode: LimitMode) -> Heap<Fake> {
    let arena_bytes = Some(16 * SEGMENT_BYTES);
    let config = Config { arena_bytes, limit, limit_mode, ..Config::new() };
    Heap::create(Fake::new(PAGE_BYTES, 1, 1 << 30), &config).expect("a heap")
}

fn limited(mode: LimitMode) -> Heap<Fake> {
    heap(LIMITED, mode)
}

#[test]
fn free_memory_goes_back_before_an_allocation_fails() {
    let heap = limited(LimitMode::Fail);
    let first = heap.take_block(Direct, 8 * MIB);
    let small = heap.take_block(Direct, 100);
    heap.give_block(Direct, first);
    assert_eq!(heap.stats().dirty, to_u64(8 * MIB));
    let second = heap.allocate(Direct, 12 * MIB).expect("room once the free pages are back");
    assert!(heap.stats().purged_bytes >= to_u64(8 * MIB) && heap.stats().held <= to_u64(LIMIT));

    assert!(heap.allocate(Direct, 4 * MIB).is_none());
    assert!(heap.change(Direct, second, 17 * MIB).is_none(), "growth in place, moved or outside");
    assert_eq!(heap.usable_size(second.addr().get()), Some(12 * MIB), "it is what it was");
    assert!(heap.allocate(Direct, 17 * MIB).is_none());
    let committed = heap.stats().committed;
    let again = if cfg!(miri) { 3 } else { 100 };
    assert!((0..again).all(|_| heap.allocate(Direct, 4 * MIB).is_none()));
    assert_eq!(heap.stats().committed, committed, "refusals commit nothing");
    heap.give_block(Direct, second);
    heap.give_block(Direct, small);
    heap.validate();
}

#[test]
fn small_blocks_end_at_the_limit_too() {
    let heap = limited(LimitMode::Fail);
    let mut blocks = std::vec::Vec::new();
    let size = if cfg!(miri) { 30_000 } else { 1000 };
    while let Some(block) = heap.allocate(Direct, size) {
        blocks.push(block);
    }
    let stats = heap.stats();
    assert!(stats.allocated > to_u64(LIMIT) * 9 / 10 && stats.held <= to_u64(LIMIT), "{stats}");
    for block in blocks {
        heap.give_block(Direct, block);
    }
    heap.allocate(Direct, 8 * MIB).expect("room again");
    heap.validate();
}

#[test]
fn a_huge_block_grows_up_to_the_limit() {
    let heap = limited(LimitMode::Fail);
    let block = heap.take_block(Direct, 5 * MIB);
    let wall = heap.take_block(Direct, MIB);
    let moved = heap.change(Direct, block, 8 * MIB).expect("room");
    assert_eq!(heap.stats().huge, to_u64(8 * MIB), "it moved out of the arena");
    assert!(heap.change(Direct, moved, 16 * MIB).is_none());
    let dirty = heap.take_block(Direct, 6 * MIB);
    heap.give_block(Direct, dirty);
    heap.change(Direct, moved, 12 * MIB).expect("room once the free pages are back");
    heap.give_block(Direct, wall);
    assert!(heap.stats().held <= to_u64(LIMIT));
}

#[test]
fn beyond_the_limit_allocation_may_go_on() {
    let heap = limited(LimitMode::Reclaim);
    let first = heap.take_block(Direct, 12 * MIB);
    let freed = heap.take_block(Direct, 3 * MIB);
    heap.give_block(Direct, freed);
    let second = heap.allocate(Direct, 12 * MIB).expect("no refusal");
    assert!(heap.stats().held > to_u64(LIMIT));
    heap.after_slow_path(Direct);
    let stats = heap.stats();
    assert_eq!((stats.dirty, stats.reliefs), (0, 1));
    heap.after_slow_path(Direct);
    assert_eq!(heap.stats().reliefs, 1, "not again before more is held");
    heap.give_block(Direct, first);
    heap.give_block(Direct, second);
}

#[test]
fn near_the_limit_a_tick_leaves_nothing_free() {
    for (limit, left) in [(LIMITED, 0), (Limit::None, to_u64(2 * MIB))] {
        let heap = heap(limit, LimitMode::Fail);
        let kept = heap.take_block(Direct, 13 * MIB);
        let freed = heap.take_block(Direct, 2 * MIB);
        heap.give_block(Direct, freed);
        heap.tick(Direct);
        assert_eq!(heap.stats().dirty, left, "{limit:?}");
        heap.give_block(Direct, kept);
    }
}

#[test]
fn the_program_is_asked_again_once_it_helped_or_memory_came_back() {
    let heap = limited(LimitMode::Fail);
    let first = heap.take_block(Direct, 8 * MIB);
    assert!(heap.refusals() == 0 && heap.may_ask());
    assert!(heap.allocate(Direct, 12 * MIB).is_none() && heap.refusals() > 0);
    heap.note_asked(true);
    assert!(heap.may_ask());
    heap.note_asked(false);
    let refusals = heap.refusals();
    assert!(heap.allocate(Direct, 12 * MIB).is_none() && heap.refusals() > refusals);
    assert!(!heap.may_ask(), "nothing came back");
    heap.give_block(Direct, first);
    assert!(heap.may_ask());
    let refusals = heap.refusals();
    assert!(heap.allocate(Direct, usize::MAX / 2).is_none());
    assert_eq!(heap.refusals(), refusals, "the limit is not the reason");
}

/// Free pages count towards the limit, and the next request may take clean ones instead.
#[test]
fn memory_that_a_thread_frees_right_after_a_failure_serves_it() {
    let heap = limited(LimitMode::Fail);
    let front = Front::Cache(heap.attach().expect("a cache"));
    let take = |size| heap.allocate(front, size);
    let give = |block| heap.give_block(front, block);
    // Clean runs that fit a slab better than the memory that is freed below.
    let mut held: std::vec::Vec<_> = (0..64).map(|_| take(MIB / 8).expect("room")).collect();
    for at in (0..32).rev() {
        give(held.remove(2 * at));
    }
    heap.collect(front, 0);
    let reserve = take(4 * MIB).expect("room");
    for size in [MIB, 40_000, 4096] {
        held.extend(core::iter::from_fn(|| take(size)));
    }
    assert!(take(3 * MIB).is_none());
    give(reserve);
    let served = [16, 1000, 20_000].map(|size| take(size).expect("4 MiB are free"));
    held.into_iter().chain(served).for_each(give);
    heap.validate();
}
