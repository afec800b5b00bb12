//! How long memory is kept while threads are active, and when none is.

use core::ptr::NonNull;
use std::vec::Vec;

use super::program::Program;
use super::world::fake_heap;
use crate::base::units::{SEGMENT_BYTES, to_u64};
use crate::cache::{Front, OwnCache};
use crate::heap::Heap;
use crate::os::fake::Fake;

const BLOCK: usize = 1024;
/// Blocks that fill a segment.
const BLOCKS: usize = SEGMENT_BYTES / BLOCK;

/// A heap with free pages, a segment's, and with holes: of another segment's blocks one in sixteen
/// is left.
fn heap() -> Heap<Fake> {
    let heap = fake_heap(8);
    let allocate = |size| heap.take_block(Front::Direct, size);
    let large = allocate(SEGMENT_BYTES);
    let blocks: Vec<_> = (0..BLOCKS).map(|_| allocate(BLOCK)).collect();
    let goes = |block: &NonNull<u8>| !block.addr().get().is_multiple_of(16 * BLOCK);
    blocks
        .into_iter()
        .filter(goes)
        .chain([large])
        .for_each(|block| heap.give_block(Front::Direct, block));
    heap
}

/// A tick. Returns whether those free pages and holes are left: what threads do beside is little.
fn tick(heap: &Heap<Fake>) -> (bool, bool) {
    heap.tick(Front::Direct);
    let stats = heap.stats();
    let most = to_u64(SEGMENT_BYTES / 2);
    (stats.dirty > most, stats.slack_holes > most)
}

/// A slow path of the thread: a class that it has not used yet.
fn work(heap: &Heap<Fake>, cache: OwnCache<'_>, turn: usize) {
    let front = Front::Cache(cache);
    let block = heap.take_block(front, 16 * (1 + turn));
    heap.give_block(front, block);
}

#[test]
fn while_a_thread_is_active_pages_and_holes_wait_for_the_sixth_tick() {
    let heap = heap();
    let cache = heap.attach().expect("a cache");
    for turn in 0..5 {
        work(&heap, cache, turn);
        assert_eq!(tick(&heap), (true, true), "{turn}");
    }
    work(&heap, cache, 5);
    assert_eq!(tick(&heap), (false, false));
    heap.validate();
}

#[test]
fn while_no_thread_is_active_they_go_at_the_second_tick() {
    let heap = heap();
    let cache = heap.attach().expect("a cache");
    for turn in 0..2 {
        work(&heap, cache, turn);
        assert_eq!(tick(&heap), (true, true));
    }
    assert_eq!(tick(&heap), (true, true));
    assert_eq!(tick(&heap), (false, false));
    heap.validate();
}
