//! The statistics of a heap whose every byte is known: why memory is not returned.

use core::ptr::NonNull;
use std::vec::Vec;

use super::program::Program;
use super::world::fake_heap;
use crate::base::units::{PAGE_BYTES, SEGMENT_BYTES, to_u64};
use crate::cache::Front;
use crate::heap::Heap;
use crate::os::fake::Fake;

const BLOCK: usize = 1024;
const PAGE: u64 = to_u64(PAGE_BYTES);
/// A large block, longer than what a cache keeps.
const LARGE: usize = SEGMENT_BYTES + PAGE_BYTES;
/// Blocks that fill two segments (under Miri a quarter of one), so that each slab of them is full.
const BLOCKS: usize = if cfg!(miri) { SEGMENT_BYTES / 4 } else { 2 * SEGMENT_BYTES } / BLOCK;

fn heap() -> Heap<Fake> {
    fake_heap(8)
}

#[test]
fn free_parts_of_slabs_are_shared_pages_holes_or_clean() {
    let heap = heap();
    let cache = heap.attach().expect("a cache");
    let front = Front::Cache(cache);
    let blocks: Vec<NonNull<u8>> = (0..BLOCKS).map(|_| heap.take_block(front, BLOCK)).collect();
    // One block in sixteen stays: the first of every fourth page.
    let stays = |block: &NonNull<u8>| block.addr().get().is_multiple_of(4 * PAGE_BYTES);
    blocks.iter().filter(|block| !stays(block)).for_each(|&block| heap.give_block(front, block));
    heap.steal_from(&cache).expect("nobody uses the cache");
    let live = to_u64(blocks.iter().filter(|block| stays(block)).count());
    assert_eq!(live, to_u64(BLOCKS) / 16);

    let stats = heap.stats();
    let one = to_u64(BLOCK);
    assert_eq!((stats.allocated, stats.cached), (live * one, 0));
    assert_eq!(stats.slack_shared, live * (PAGE - one), "three free blocks in the page of each");
    assert_eq!(stats.slack_holes, live * 3 * PAGE, "three whole pages behind the page of each");
    assert_eq!(stats.slack, stats.slack_shared + stats.slack_holes + stats.slack_clean);
    heap.validate();

    heap.collect(Front::Direct, 0);
    let after = heap.stats();
    assert_eq!((after.slack_shared, after.slack_holes), (stats.slack_shared, 0));
    assert_eq!(after.slack_clean, stats.slack_clean + stats.slack_holes);
}

#[test]
fn cached_blocks_belong_to_running_threads_until_a_tick_has_passed() {
    let heap = heap();
    let front = Front::Cache(heap.attach().expect("a cache"));
    let block = heap.take_block(front, BLOCK);
    heap.give_block(front, block);
    let stats = heap.stats();
    assert!(stats.cached_running >= to_u64(BLOCK));
    assert_eq!(stats.cached_running, stats.cached);
    heap.tick(Front::Direct);
    let stats = heap.stats();
    assert!(stats.cached_idle >= to_u64(BLOCK));
    assert_eq!(stats.cached_idle, stats.cached);
    heap.tick(Front::Direct);
    assert_eq!(heap.stats().cached, 0);
}

#[test]
fn free_pages_are_young_then_old_then_gone() {
    let heap = heap();
    let front = Front::Cache(heap.attach().expect("a cache"));
    let block = heap.take_block(front, LARGE);
    let large = heap.stats();
    assert_eq!((large.large, large.huge), (to_u64(LARGE), 0));
    heap.give_block(front, block);
    let ages = || {
        let stats = heap.stats();
        (stats.dirty_young, stats.dirty_old)
    };
    assert_eq!(ages(), (to_u64(LARGE), 0));
    heap.tick(Front::Direct);
    assert_eq!(ages(), (0, to_u64(LARGE)));
    heap.tick(Front::Direct);
    assert_eq!(ages(), (0, 0));
}

#[test]
fn the_peak_stays_and_counts_no_page_twice() {
    let heap = heap();
    let front = Front::Cache(heap.attach().expect("a cache"));
    let before = heap.stats().active;
    let blocks = [(); 3].map(|()| heap.take_block(front, LARGE));
    let peak = before + 3 * to_u64(LARGE);
    assert_eq!(heap.stats().peak_active, peak);
    for block in blocks {
        heap.give_block(front, block);
    }
    heap.collect(Front::Direct, 0);
    let block = heap.take_block(front, LARGE);
    assert_eq!(heap.stats().peak_active, peak);
    heap.give_block(front, block);
    // More than the arena holds is a mapping of its own.
    let huge = heap.take_block(front, 9 * SEGMENT_BYTES);
    let stats = heap.stats();
    assert_eq!((stats.huge, stats.large), (9 * to_u64(SEGMENT_BYTES), 9 * to_u64(SEGMENT_BYTES)));
    assert_eq!(stats.peak_active, before + 9 * to_u64(SEGMENT_BYTES));
    heap.give_block(front, huge);
    assert_eq!(heap.stats().huge, 0);
}
