//! A collection after one that found nothing more: whatever was freed meanwhile goes back too.

use core::ptr::NonNull;
use std::vec::Vec;

use super::program::{Program, fill};
use super::world::fake_heap;
use crate::base::size_class::SizeClass;
use crate::base::units::PAGE_BYTES;
use crate::cache::Front;
use crate::heap::Heap;
use crate::os::fake::Fake;

/// A class with four blocks per page.
const SIZE: usize = 1024;

fn heap() -> Heap<Fake> {
    fake_heap(16)
}

fn allocate(heap: &Heap<Fake>, front: Front<'_>, size: usize) -> NonNull<u8> {
    let block = heap.take_block(front, size);
    fill(block, 1, size);
    block
}

fn free(heap: &Heap<Fake>, front: Front<'_>, blocks: &[NonNull<u8>]) {
    for &block in blocks {
        heap.give_block(front, block);
    }
}

/// Collects until nothing is left. The last collection found nothing.
fn settle(heap: &Heap<Fake>, front: Front<'_>) {
    while heap.collect(front, 0) > 0 {}
}

/// Frees blocks of each kind by a thread with front `user`, and collects by one with front `own`.
fn frees_go_back(heap: &Heap<Fake>, user: Front<'_>, own: Front<'_>) {
    let capacity = SizeClass::of_size(SIZE).capacity() as usize;
    let mut blocks: Vec<_> = (0..4 * capacity).map(|_| allocate(heap, user, SIZE)).collect();
    blocks.sort_unstable();
    let large = allocate(heap, user, 100_000);
    let huge = allocate(heap, user, 40 << 20);
    settle(heap, own);

    free(heap, user, &[large]);
    assert_eq!(heap.collect(own, 0), 102_400, "a large block");
    free(heap, user, &[huge]);
    assert_eq!(heap.collect(own, 0), 0, "a huge block went back when it was freed");

    let page: Vec<_> = blocks.drain(capacity..capacity + 4).collect();
    free(heap, user, &page[..3]);
    assert_eq!(heap.collect(own, 0), 0, "the page has a block in use");
    free(heap, user, &page[3..]);
    assert_eq!(heap.collect(own, 0), PAGE_BYTES, "the blocks of one page");
    assert_eq!(heap.collect(own, 0), 0);

    let slab: Vec<_> = blocks.drain(2 * capacity - 4..3 * capacity - 4).collect();
    free(heap, user, &slab);
    assert_eq!(heap.collect(own, 0), capacity * SIZE, "the blocks of one slab");
    let again = allocate(heap, user, SIZE);
    settle(heap, own);
    assert_eq!(heap.collect(own, 0), 0);
    free(heap, user, &blocks);
    free(heap, user, &[again]);
    assert!(heap.collect(own, 0) >= 3 * capacity * SIZE - 2 * PAGE_BYTES, "all that is left");
    assert_eq!((heap.stats().active, heap.stats().dirty), (0, 0));
    heap.validate();
}

#[test]
fn memory_that_the_same_thread_freed_goes_back() {
    let heap = heap();
    let own = Front::Cache(heap.attach().expect("a cache"));
    frees_go_back(&heap, own, own);
    frees_go_back(&heap, own, own);
}

#[test]
fn memory_that_waits_in_the_cache_of_an_idle_thread_goes_back() {
    let heap = heap();
    let idle = Front::Cache(heap.attach().expect("a cache"));
    let own = Front::Cache(heap.attach().expect("a cache"));
    frees_go_back(&heap, idle, own);
    frees_go_back(&heap, idle, Front::Direct);
}

#[test]
fn memory_that_a_thread_without_a_cache_freed_goes_back() {
    let heap = heap();
    frees_go_back(&heap, Front::Direct, Front::Direct);
}
