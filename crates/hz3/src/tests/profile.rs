//! The heap profile over a fake system: estimates, twins, and blocks that come and go while it is
//! switched on and off.

use core::num::NonZero;
use core::ptr::NonNull;
use std::collections::{BTreeMap, BTreeSet};
use std::vec;
use std::vec::Vec;

use super::program::{Program, pop};
use super::world::{Op, World, heap_with};
use crate::base::size_class::SizeClass;
use crate::base::units::{PAGE_BYTES, SEGMENT_BYTES};
use crate::cache::Front;
use crate::heap::Heap;
use crate::options::{Config, Limit};
use crate::os::fake::Fake;

fn heap(segments: usize) -> Heap<Fake> {
    heap_with(Fake::new(PAGE_BYTES, 1, 1 << 30), segments * SEGMENT_BYTES, &Config::new())
}

/// Allocates as a program does: the fast path, then the miss.
fn malloc(heap: &Heap<Fake>, front: Front<'_>, size: usize) -> Option<NonNull<u8>> {
    let Front::Cache(cache) = front else { return heap.allocate(front, size) };
    let hit = pop(cache, size);
    hit.map_or_else(|| heap.take_after_miss(cache, size), NonNull::new)
}

/// Returns the estimates of all sites together: objects and bytes.
fn total(heap: &Heap<Fake>) -> (f64, f64) {
    let table = heap.profile().lock();
    table.sites().iter().fold((0.0, 0.0), |sum, site| (sum.0 + site.objects, sum.1 + site.bytes))
}

/// The blocks of each size are recycled by the cache, which counting at refills would not see.
fn estimates_of_recycled_blocks(front: Front<'_>, heap: &Heap<Fake>) {
    const RATE: u64 = 512;
    let samples = if cfg!(miri) { 20.0 } else { 3000.0 };
    heap.start_profile(RATE).expect("memory");
    let mut chi_squared = 0.0;
    let (mut found_bytes, mut true_bytes) = (0.0, 0.0);
    let sizes = [16, 24, 100, 500, 512, 3000, 20_000, 40_000];
    for size in sizes {
        let share = -(-(size as f64) / RATE as f64).exp_m1();
        let count = (samples / share) as u32;
        let before = total(heap);
        for _ in 0..count {
            let block = malloc(heap, front, size).expect("room");
            heap.give_block(front, block);
        }
        let after = total(heap);
        let objects = after.0 - before.0;
        found_bytes += after.1 - before.1;
        true_bytes += f64::from(count) * size as f64;
        let variance = f64::from(count) * (1.0 - share) / share;
        if variance < 1e-9 {
            assert!((objects - f64::from(count)).abs() < 1e-3, "{size}: {objects} of {count}");
        } else {
            chi_squared += (objects - f64::from(count)).powi(2) / variance;
        }
    }
    // 99.9 % of the distribution with eight degrees of freedom.
    assert!(chi_squared < 26.1, "chi squared {chi_squared}");
    assert!(cfg!(miri) || (found_bytes / true_bytes - 1.0).abs() < 0.05, "{found_bytes}");
    assert_eq!(heap.profile().lock().live().count(), 0);
}

#[test]
fn estimates_of_recycled_blocks_are_unbiased() {
    let heap = heap(16);
    let cache = heap.attach().expect("a cache");
    estimates_of_recycled_blocks(Front::Cache(cache), &heap);
}

#[test]
fn estimates_of_a_thread_without_a_cache_are_unbiased() {
    let heap = heap(16);
    estimates_of_recycled_blocks(Front::Direct, &heap);
}

#[test]
fn a_lower_rate_is_in_force_at_the_next_allocation() {
    let change: [fn(&Heap<Fake>); 2] =
        [|heap| heap.set_profile_rate(1), |heap| heap.start_profile(1).expect("memory")];
    for change in change {
        let heap = heap(4);
        let cache = heap.attach().expect("a cache");
        for front in [Front::Cache(cache), Front::Direct] {
            let live = || heap.profile().lock().live().count();
            heap.start_profile(1 << 40).expect("memory");
            let block = malloc(&heap, front, 100).expect("room");
            assert_eq!(live(), 0, "a sample at a mean of 1 TiB");
            change(&heap);
            let sampled = malloc(&heap, front, 100).expect("room");
            assert_eq!(live(), 1, "no sample at a mean of one byte");
            heap.give_block(front, sampled);
            heap.give_block(front, block);
        }
    }
}

#[test]
fn live_blocks_of_mixed_sizes_are_estimated_by_size() {
    let heap = heap(64);
    let front = Front::Cache(heap.attach().expect("a cache"));
    heap.start_profile(4096).expect("memory");
    let sizes = [48, 160, 1000, 2500];
    let rounds = if cfg!(miri) { 100 } else { 15_000 };
    let blocks: Vec<_> = (0..rounds)
        .flat_map(|_| sizes.map(|size| malloc(&heap, front, size).expect("room")))
        .collect();
    let mut found = BTreeMap::new();
    for record in heap.profile().lock().live() {
        *found.entry(record.size).or_insert(0.0) += record.weight;
    }
    let chi_squared: f64 = sizes
        .iter()
        .map(|size| {
            let share = -(-(*size as f64) / 4096.0).exp_m1();
            let count = f64::from(rounds);
            (found.get(size).copied().unwrap_or(0.0) - count).powi(2)
                / (count * (1.0 - share) / share)
        })
        .sum();
    // 99.9 % of the distribution with four degrees of freedom.
    assert!(chi_squared < 18.5, "{found:?} {chi_squared}");
    heap.stop_profile();
    let sampled = heap.profile().lock().live().count();
    let large = malloc(&heap, front, 1 << 20).expect("room");
    assert_eq!(heap.profile().lock().live().count(), sampled, "the profile is off");
    heap.give_block(front, large);
    for block in blocks {
        heap.give_block(front, block);
    }
    assert_eq!(heap.profile().lock().live().count(), 0, "samples are followed after a stop");
}

#[test]
fn pinned_bytes_are_those_of_the_pages_of_the_survivors() {
    const SIZE: usize = 1024;
    let heap = heap(16);
    let front = Front::Cache(heap.attach().expect("a cache"));
    heap.start_profile(1).expect("memory");
    let blocks: Vec<_> = (0..800).map(|_| malloc(&heap, front, SIZE).expect("room")).collect();
    let mut survivors = 0;
    for (at, &block) in blocks.iter().enumerate() {
        if at % 7 < 5 { heap.give_block(front, block) } else { survivors += 1 }
    }
    heap.collect(front, 0);
    let (mut pages, mut twins) = (BTreeSet::new(), 0);
    for record in heap.profile().lock().live() {
        pages.insert(record.twin / PAGE_BYTES);
        twins += 1;
    }
    assert_eq!(twins, survivors);
    let snapshot = heap.profile_snapshot().expect("memory");
    let pinned: f64 = snapshot.values.iter().map(|values| values[4]).sum();
    snapshot.release(heap.os());
    let expected = pages.len() * PAGE_BYTES - survivors * SIZE;
    assert!(expected > 0 && (pinned - expected as f64).abs() < 1.0, "{pinned} of {expected}");
}

#[test]
fn a_sample_without_memory_is_an_ordinary_block() {
    let heap = heap(2);
    let front = Front::Cache(heap.attach().expect("a cache"));
    heap.start_profile(1).expect("memory");
    // Pages for the first slab, of which samples take the rest.
    let mut blocks = vec![malloc(&heap, front, 64).expect("room")];
    heap.os().exhaust(true);
    let mut ordinary = 0;
    while let Some(block) = malloc(&heap, front, 64) {
        assert!(heap.usable_size(block.addr().get()).is_some_and(|bytes| bytes >= 64));
        let offset = heap.offset_of(block).expect("in the arena");
        ordinary += usize::from(heap.class_at(offset) == SizeClass::of_size(64));
        blocks.push(block);
    }
    heap.os().exhaust(false);
    assert!(ordinary > 0, "every block was sampled until memory ended");
    for block in blocks {
        heap.give_block(front, block);
    }
}

/// A large block, a huge one, and a small one, which has a twin.
#[test]
fn a_sample_outlives_a_resizing_that_fails() {
    const HUGE: usize = 40 << 20;
    let heap = heap(16);
    let front = Front::Cache(heap.attach().expect("a cache"));
    heap.start_profile(1).expect("memory");
    let sizes = [1 << 20, HUGE, 30_000];
    let blocks = sizes.map(|size| malloc(&heap, front, size).expect("room"));
    let live = || {
        let table = heap.profile().lock();
        table.live().map(|record| (record.address, record.size)).collect::<BTreeSet<_>>()
    };
    let before = live();
    assert_eq!(before.len(), sizes.len(), "each block is a sample");
    heap.set_limit(Limit::Bytes(NonZero::<u64>::MIN), None);
    for block in blocks {
        assert_eq!(heap.change(front, block, 2 * HUGE), None);
    }
    // There is no memory for a copy, and a sampled small block, which has a twin, is not cut.
    assert_eq!(heap.change(front, blocks[2], 9000), Some(blocks[2]));
    assert_eq!(live(), before);
    assert_eq!(heap.usable_size(blocks[2].addr().get()), Some(32 << 10));
    // A large and a huge block shrink without a copy. Each is a sample of its new size.
    let shrunk = [0, 1].map(|at| heap.change(front, blocks[at], 9000).expect("it shrinks"));
    let expected = shrunk.map(|block| (block.addr().get(), 9000));
    assert!(expected.iter().all(|entry| live().contains(entry)) && live().len() == sizes.len());
    let blocks = [shrunk[0], shrunk[1], blocks[2]];
    heap.set_limit(Limit::None, None);
    for block in blocks {
        heap.give_block(front, block);
    }
    assert_eq!(heap.profile().lock().live().count(), 0, "a sample outlived its block");
    heap.validate();
}

/// Threads come, go and fork, and blocks are resized, while the profile is switched.
#[test]
fn blocks_keep_their_contents_while_the_profile_is_switched() {
    let heap = heap(64);
    let mut world = World::new(&heap, 3);
    let mut random = 7u64;
    let mut draw = move |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % below
    };
    for step in 0..if cfg!(miri) { 300 } else { 12_000 } {
        match step % 500 {
            50 => heap.start_profile(200).expect("memory"),
            450 => heap.stop_profile(),
            _ => {}
        }
        let thread = draw(3) as u8;
        let size = (1 << draw(18)) + draw(100) as usize;
        let (block, align_log2) = (draw(1 << 16) as u16, draw(14) as u8);
        world.perform(&match draw(40) {
            0..10 => Op::Allocate { thread, size },
            10..13 => Op::Zeroed { thread, size, align_log2 },
            13..16 => Op::Aligned { thread, size, align_log2 },
            16..22 => Op::Reallocate { thread, block, size },
            22..35 => Op::Free { thread, block },
            35 => Op::Exit { thread },
            36 => Op::Steal { thread },
            37 => Op::Tick { thread },
            // A fork beside a thread that is in a sealed pop would lose that block in the child.
            _ => Op::Fork { thread },
        });
    }
    world.check_blocks();
    heap.start_profile(0).expect("memory");
    world.end();
    assert_eq!(heap.profile().lock().live().count(), 0, "a sample outlived its block");
}
