//! Exhausted memory: other threads keep their speed, and the remaining pages still serve.

use core::ptr::NonNull;
use std::vec::Vec;

use super::program::Program;
use super::world::fake_heap;
use crate::base::units::PAGE_BYTES;
use crate::cache::{Front, OwnCache};
use crate::heap::Heap;
use crate::os::fake::Fake;

fn heap() -> Heap<Fake> {
    fake_heap(4)
}

/// Puts some blocks into a cache.
fn fill(heap: &Heap<Fake>, cache: OwnCache<'_>) {
    let front = Front::Cache(cache);
    let blocks = [100, 1000, 100_000].map(|size| heap.take_block(front, size));
    for block in blocks {
        heap.give_block(front, block);
    }
    assert!(cache.cached_bytes() > 100_000);
}

#[test]
fn a_failing_malloc_empties_the_caches_of_others_once() {
    let heap = heap();
    let cache = heap.attach().expect("a cache");
    fill(&heap, cache);
    heap.os().exhaust(true);
    assert!(heap.allocate(Front::Direct, 1 << 40).is_none());
    assert_eq!(cache.cached_bytes(), 0, "the first failure takes what there is");
    fill(&heap, cache);
    let kept = cache.cached_bytes();
    for _ in 0..100 {
        assert!(heap.allocate(Front::Direct, 1 << 40).is_none());
    }
    assert_eq!(cache.cached_bytes(), kept, "nothing came back since the first failure");
    let block = heap.allocate(Front::Direct, 200_000).expect("there are pages");
    heap.give_block(Front::Direct, block);
    assert!(heap.allocate(Front::Direct, 1 << 40).is_none());
    assert_eq!(cache.cached_bytes(), 0, "pages came back, so it may be worth it");
    heap.validate();
}

#[test]
fn pages_that_make_no_slab_serve_small_blocks() {
    let heap = heap();
    let mut blocks: Vec<NonNull<u8>> = Vec::new();
    let keep = |size| heap.allocate(Front::Direct, size);
    blocks.push(heap.take_block(Front::Direct, 100_000));
    heap.os().exhaust(true);
    blocks.extend(core::iter::from_fn(|| keep(40_000)));
    let stats = heap.stats();
    let free_pages = (stats.dirty + stats.retained) / PAGE_BYTES as u64;
    assert!((1..16).contains(&free_pages), "some pages, and no chunk of them: {stats}");
    for _ in 0..free_pages {
        blocks.push(keep(40).expect("a page is left"));
    }
    assert!(keep(40).is_none());
    heap.validate();
    for block in blocks {
        heap.give_block(Front::Direct, block);
    }
    heap.validate();
}

#[test]
fn free_pages_serve_long_blocks_if_no_mapping_is_available() {
    let heap = fake_heap(24);
    let take = |size| heap.allocate(Front::Direct, size);
    let blocks: Vec<_> = (0..64).map(|_| heap.take_block(Front::Direct, 1 << 20)).collect();
    for block in blocks {
        heap.give_block(Front::Direct, block);
    }
    heap.os().exhaust(true);
    let long = take(40 << 20).expect("there are as many pages in a row");
    assert_eq!(heap.usable_size(long.addr().get()), Some(40 << 20));
    assert!(take(40 << 20).is_none() && take(1 << 40).is_none() && take(usize::MAX / 2).is_none());
    let shrunk = heap.change(Front::Direct, long, 33 << 20);
    heap.give_block(Front::Direct, shrunk.expect("shrinking never fails"));
    let aligned = heap.allocate_aligned(Front::Direct, 1 << 20, 40 << 20);
    let aligned = aligned.expect("with its alignment there is room");
    assert!(aligned.addr().get().is_multiple_of(1 << 20));
    heap.give_block(Front::Direct, aligned);
    heap.validate();
}
