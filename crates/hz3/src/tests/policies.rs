//! The policies of the experiments: none breaks the heap, and each does what its name says.

use core::ptr::NonNull;
use proptest::collection::vec;
use proptest::prelude::*;
use std::vec::Vec;

use super::model::{config, op, run_amid_failures};
use super::program::{Program, contents, fill};
use super::stress::skip_under_miri;
use super::world::heap_with;
use crate::base::units::SEGMENT_BYTES;
use crate::cache::Front;
use crate::heap::Heap;
use crate::options::{Config, Limits, Policy, Within};
use crate::os::fake::Fake;
use crate::os::linux::Linux;
use crate::stats::Stats;

/// All that are made of epochs.
pub(super) const POLICIES: [Policy; 9] = [
    Policy::S57b2,
    Policy::S58,
    Policy::S60,
    Policy::S61,
    Policy::S62,
    Policy::S64,
    Policy::S64P1a,
    Policy::S64P1b,
    Policy::S64P1c,
];

/// Every delay at zero and no budget.
pub(super) const AT_ONCE: Limits = Limits {
    epoch_interval: Within::new(1),
    purge_delay: Within::new(0),
    purge_delay_ms: Within::new(0),
    purge_pages: Within::new(u32::MAX),
    purge_calls: Within::new(u32::MAX),
    purge_queue: None,
    min_range: Within::new(1),
    decay_epochs: Within::new(0),
    cache_overages: Within::new(1),
    reclaim_budget: Within::new(u32::MAX),
    retire_budget: Within::new(u32::MAX),
    dump_budget: Within::new(u32::MAX),
};

const ARENA: usize = 8 * SEGMENT_BYTES;
const PAGE: u64 = 4096;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_policy_agrees_with_the_model(
        ops in vec(op(), 1..if cfg!(miri) { 12 } else { 60 }),
        failures in vec(1..24usize, 1..8),
    ) {
        for policy in POLICIES {
            let config = Config::new().policy(policy).limits(AT_ONCE);
            let heap = heap_with(Fake::new(4096, 2, 64 * SEGMENT_BYTES), ARENA, &config);
            run_amid_failures(&heap, &ops, 3, &failures);
        }
    }
}

/// A heap under a policy, with the blocks of a test.
struct Fixture {
    heap: Heap<Linux>,
}

impl Fixture {
    fn new(policy: Policy, limits: Limits) -> Fixture {
        let config = Config::new().policy(policy).limits(limits);
        Fixture { heap: heap_with(Linux, 64 * SEGMENT_BYTES, &config) }
    }

    fn runs(&self, count: usize, bytes: usize) -> Vec<NonNull<u8>> {
        let run = || self.heap.take_block(Front::Direct, bytes);
        (0..count).map(|_| run()).collect()
    }

    fn free(&self, block: NonNull<u8>) {
        self.heap.give_block(Front::Direct, block);
    }

    fn epochs(&self, count: usize) -> Stats {
        for _ in 0..count {
            self.heap.tick(Front::Direct);
        }
        self.heap.stats()
    }
}

/// Large blocks of 16 pages, of which a test frees some.
const RUN: usize = 16 * 4096;

#[test]
fn the_scan_purges_ranges_within_its_budget_and_passes_over_short_ones() {
    if skip_under_miri() {
        return;
    }
    let limits =
        Limits { min_range: Within::new(20), purge_pages: Within::new(40), ..Limits::new() };
    let fixture = Fixture::new(Policy::S57b2, limits);
    let blocks = fixture.runs(12, RUN);
    // One short range, and then one long one; the block after it keeps them apart from the tail.
    for index in [0, 2, 3, 4, 5, 6, 7, 8, 9] {
        fixture.free(blocks[index]);
    }
    let first = fixture.epochs(1);
    assert_eq!((first.skipped_small, first.purged_bytes), (1, 40 * PAGE), "{first}");
    // The rest of the long range shrinks by the budget at each epoch, until it is too short.
    let later = fixture.epochs(3);
    assert_eq!((later.purged_bytes, later.dirty), (120 * PAGE, 24 * PAGE), "{later}");
}

#[test]
fn a_segment_that_was_in_use_lately_is_hot() {
    if skip_under_miri() {
        return;
    }
    let limits = Limits { decay_epochs: Within::new(2), ..Limits::new() };
    let fixture = Fixture::new(Policy::S57b2, limits);
    let blocks = fixture.runs(3, RUN);
    fixture.free(blocks[1]);
    let hot = fixture.epochs(2);
    // One segment, two epochs.
    assert_eq!((hot.skipped_hot, hot.purged_bytes), (2, 0), "{hot}");
    assert_eq!(fixture.epochs(1).purged_bytes, 16 * PAGE);
}

#[test]
fn the_queue_waits_its_epochs_and_then_purges() {
    if skip_under_miri() {
        return;
    }
    let limits = Limits { purge_delay_ms: Within::new(0), ..Limits::new() };
    let fixture = Fixture::new(Policy::S64, limits);
    let blocks = fixture.runs(3, RUN);
    fixture.free(blocks[1]);
    let waiting = fixture.epochs(4);
    assert_eq!((waiting.queued, waiting.queued_pages, waiting.purged_bytes), (1, 16, 0));
    assert_eq!(waiting.delay_stops, 4);
    assert_eq!(fixture.epochs(1).purged_bytes, 16 * PAGE);
}

#[test]
fn an_entry_whose_pages_were_taken_is_cancelled_whole_or_purged_in_part() {
    if skip_under_miri() {
        return;
    }
    for (policy, purged, cancelled, cancelled_pages) in
        [(Policy::S64P1a, 0, 1, 32), (Policy::S64P1b, 22 * PAGE, 0, 10)]
    {
        let limits = Limits { purge_delay_ms: Within::new(0), ..Limits::new() };
        let fixture = Fixture::new(policy, limits);
        let blocks = fixture.runs(4, RUN);
        fixture.free(blocks[1]);
        fixture.free(blocks[2]);
        fixture.epochs(1);
        // The first 10 of the 32 queued pages are in use again when they are due.
        let again = fixture.runs(1, 10 * 4096);
        assert_eq!(again[0], blocks[1]);
        fill(again[0], 7, 4096);
        let stats = fixture.epochs(4);
        let found = (stats.purged_bytes, stats.cancelled, stats.cancelled_pages);
        assert_eq!(found, (purged, cancelled, cancelled_pages), "{policy:?}: {stats}");
        assert_eq!(contents(again[0], 1), [7], "a page in use was purged");
    }
}

#[test]
fn neighbours_that_are_queued_one_after_the_other_coalesce() {
    if skip_under_miri() {
        return;
    }
    for (policy, coalesced) in [(Policy::S64, 0), (Policy::S64P1a, 1)] {
        // Two epochs, two neighbours.
        let fixture = Fixture::new(policy, Limits::new());
        let blocks = fixture.runs(4, RUN);
        fixture.free(blocks[1]);
        fixture.epochs(1);
        fixture.free(blocks[2]);
        let stats = fixture.epochs(1);
        assert_eq!((stats.queued, stats.coalesced), (2, coalesced), "{policy:?}: {stats}");
    }
}

#[test]
fn a_full_queue_and_a_discarded_rest_lose_no_memory() {
    if skip_under_miri() {
        return;
    }
    let limits =
        Limits { purge_queue: Within::new(2), purge_delay_ms: Within::new(0), ..Limits::new() };
    let fixture = Fixture::new(Policy::S64, limits);
    let blocks = fixture.runs(8, RUN);
    for index in [1, 3, 5] {
        fixture.free(blocks[index]);
    }
    let stats = fixture.epochs(1);
    assert_eq!((stats.queued, stats.dropped, stats.dropped_pages), (3, 1, 16), "{stats}");
    assert_eq!(stats.peak_queue, 2, "{stats}");
    assert_eq!(fixture.epochs(12).dirty, 0, "what was dropped is found again");

    let fixture =
        Fixture::new(Policy::S60, Limits { purge_calls: Within::new(2), ..Limits::new() });
    let blocks = fixture.runs(8, RUN);
    for index in [1, 3, 5] {
        fixture.free(blocks[index]);
    }
    let stats = fixture.epochs(1);
    assert_eq!((stats.madvise_calls, stats.dropped, stats.dropped_pages), (2, 1, 16), "{stats}");
    assert_eq!(fixture.epochs(1).dirty, 0, "what was discarded is found again");
}

#[test]
fn cancelled_ranges_are_queued_again() {
    if skip_under_miri() {
        return;
    }
    for policy in [Policy::S64P1a, Policy::S64P1b] {
        let fixture =
            Fixture::new(policy, Limits { purge_delay_ms: Within::new(0), ..Limits::new() });
        let blocks = fixture.runs(4, RUN);
        fixture.free(blocks[1]);
        fixture.free(blocks[2]);
        fixture.epochs(3);
        // Half of the queued pages are taken.
        assert_eq!(fixture.runs(1, RUN)[0], blocks[1]);
        let purged = fixture.epochs(2).purged_bytes;
        assert_eq!(purged, if policy == Policy::S64P1b { 16 * PAGE } else { 0 }, "{policy:?}");
        assert_eq!(fixture.epochs(6).dirty, 0, "{policy:?}: memory was lost to the purge");
    }
}

#[test]
fn a_refused_purge_is_not_tried_again_until_the_pages_were_in_use() {
    let limits =
        Limits { purge_delay: Within::new(0), purge_delay_ms: Within::new(0), ..Limits::new() };
    let config = Config::new().policy(Policy::S64P1b).limits(limits);
    let heap = heap_with(Fake::new(4096, 1, 64 * SEGMENT_BYTES), ARENA, &config);
    let take = || heap.allocate(Front::Direct, RUN).expect("memory");
    let free = |block: NonNull<u8>| {
        heap.give_block(Front::Direct, block);
    };
    free(take());
    heap.os().exhaust(true);
    for _ in 0..5 {
        heap.tick(Front::Direct);
    }
    let stats = heap.stats();
    assert_eq!((stats.madvise_calls, stats.madvise_refused), (1, 1), "{stats}");
    heap.os().exhaust(false);
    free(take());
    heap.tick(Front::Direct);
    assert_eq!(heap.stats().dirty, 0);
}

#[test]
fn a_thread_that_ends_purges_within_its_budget() {
    if skip_under_miri() {
        return;
    }
    for (limits, pages) in [
        (Limits::new(), 48),
        (Limits { purge_pages: Within::new(20), ..Limits::new() }, 20),
        (Limits { purge_calls: Within::new(1), ..Limits::new() }, 16),
    ] {
        let fixture = Fixture::new(Policy::S61, limits);
        let blocks = fixture.runs(8, RUN);
        for index in [1, 3, 5] {
            fixture.free(blocks[index]);
        }
        let cache = fixture.heap.attach().expect("a cache");
        fixture.heap.end(cache);
        let stats = fixture.heap.stats();
        assert_eq!((stats.exits, stats.exit_pages), (1, pages), "{stats}");
        assert_eq!(fixture.epochs(3).purged_bytes, pages * PAGE, "its epochs purge nothing");
    }
}

#[test]
fn whole_segments_that_an_ended_thread_purges_are_counted() {
    if skip_under_miri() {
        return;
    }
    let fixture = Fixture::new(Policy::S61, Limits::new());
    let blocks = fixture.runs(4 * SEGMENT_BYTES / RUN, RUN);
    // All but the first and the last: three segments' worth and more, with parts of two others.
    for block in &blocks[1..blocks.len() - 1] {
        fixture.free(*block);
    }
    let cache = fixture.heap.attach().expect("a cache");
    fixture.heap.end(cache);
    let stats = fixture.heap.stats();
    assert_eq!(stats.exit_segments, 3, "{stats}");
}

#[test]
fn an_unused_cache_shrinks_and_a_dump_stays_in_its_budget() {
    if skip_under_miri() {
        return;
    }
    let fill = |fixture: &Fixture, cache| {
        let front = Front::Cache(cache);
        let blocks: Vec<_> =
            (0..300).map(|_| fixture.heap.allocate(front, 64).expect("memory")).collect();
        for block in blocks {
            fixture.heap.give_block(front, block);
        }
        front
    };
    let fixture =
        Fixture::new(Policy::S58, Limits { cache_overages: Within::new(2), ..Limits::new() });
    let cache = fixture.heap.attach().expect("a cache");
    let front = fill(&fixture, cache);
    let before = cache.cached_bytes();
    for _ in 0..4 {
        fixture.heap.tick(front);
    }
    let stats = fixture.heap.stats();
    assert_eq!(stats.decay_epochs, 4);
    assert!(stats.decay_shrinks > 0 && stats.decayed_blocks > 0, "{stats}");
    assert!((1..=3).contains(&stats.decay_returns), "the first epoch only samples: {stats}");
    assert!(cache.cached_bytes() < before);
    assert_eq!(stats.purged_bytes, 0, "S58 gives nothing to the system");

    let fixture =
        Fixture::new(Policy::S64, Limits { dump_budget: Within::new(10), ..Limits::new() });
    let cache = fixture.heap.attach().expect("a cache");
    let front = fill(&fixture, cache);
    fixture.heap.tick(front);
    let stats = fixture.heap.stats();
    assert_eq!((stats.dumps, stats.dump_stops, stats.dumped_blocks), (1, 1, 10), "{stats}");
}

#[test]
fn a_cache_starts_with_the_length_that_it_was_given() {
    if skip_under_miri() {
        return;
    }
    for length in [2, 32, 256] {
        let config = Config::new().cache_length(Within::new(length).unwrap());
        let heap = heap_with(Linux, 64 * SEGMENT_BYTES, &config);
        let cache = heap.attach().expect("a cache");
        let front = Front::Cache(cache);
        let block = heap.allocate(front, 64).expect("memory");
        // The first miss fetches half of what the class may have.
        assert_eq!(cache.cached_bytes(), 64 * (u64::from(length) / 2 - 1), "{length}");
        heap.give_block(front, block);
        heap.end(cache);
    }
}
