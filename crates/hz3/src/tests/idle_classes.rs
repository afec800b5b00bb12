//! Idle classes: blocks of size classes that an active thread no longer uses.

use core::ptr::NonNull;
use std::vec::Vec;

use super::program::Program;
use super::world::fake_heap;
use crate::base::size_class::SizeClass;
use crate::cache::{Front, OwnCache};
use crate::heap::Heap;
use crate::os::fake::Fake;
use crate::reclaim::Next;

/// The class of a burst, and the one in which the thread goes on.
const BURST: usize = 1024;
const STEADY: usize = 64;
/// More than a cache holds of either class.
const BLOCKS: usize = 3000;

fn heap() -> Heap<Fake> {
    fake_heap(8)
}

/// Allocates blocks of a size and frees them: slow paths on the way up and on the way down.
fn burst(heap: &Heap<Fake>, cache: OwnCache<'_>, size: usize) {
    let front = Front::Cache(cache);
    let take = |_| heap.take_block(front, size);
    let blocks: Vec<NonNull<u8>> = (0..BLOCKS).map(take).collect();
    for block in blocks {
        heap.give_block(front, block);
    }
}

fn tick(heap: &Heap<Fake>) -> Next {
    heap.tick(Front::Direct)
}

fn held(cache: OwnCache<'_>, size: usize) -> usize {
    cache.stack(SizeClass::of_size(size)).len()
}

/// Ticks while the thread is at work in the steady class alone; the first of them may still see the
/// burst's at work.
fn leave_burst_class(heap: &Heap<Fake>, cache: OwnCache<'_>) {
    for _ in 0..2 {
        burst(heap, cache, STEADY);
        tick(heap);
    }
}

/// The room of the burst's class once a block of it was allocated, which is then freed.
fn room_after_return(heap: &Heap<Fake>, cache: OwnCache<'_>) -> usize {
    let front = Front::Cache(cache);
    let block = heap.take_block(front, BURST);
    let room = room(cache, BURST);
    heap.give_block(front, block);
    room
}

fn room(cache: OwnCache<'_>, size: usize) -> usize {
    cache.cold.lock().capacity.of(SizeClass::of_size(size))
}

#[test]
fn a_thread_that_uses_one_class_loses_the_blocks_of_another() {
    let heap = heap();
    let cache = heap.attach().expect("a cache");
    burst(&heap, cache, BURST);
    let most = room(cache, BURST);
    assert!(held(cache, BURST) > most / 2);
    // The tick that follows the burst sees both classes at work, the next one the steady class
    // alone.
    burst(&heap, cache, STEADY);
    assert_eq!(tick(&heap), Next::Tick);
    assert!(held(cache, BURST) > 0, "it was at work just now");
    burst(&heap, cache, STEADY);
    let (kept, before) = (held(cache, STEADY), heap.stats());
    assert_eq!(tick(&heap), Next::Tick);
    assert_eq!((held(cache, BURST), held(cache, STEADY)), (0, kept));
    let after = heap.stats();
    assert!(after.idle_class_bytes > before.idle_class_bytes && after.cached < before.cached);
    // And its pages go, while the thread goes on.
    for _ in 0..4 {
        burst(&heap, cache, STEADY);
        tick(&heap);
    }
    assert_eq!(heap.stats().dirty, 0);
    heap.validate();
}

#[test]
fn the_capacity_of_an_idle_class_halves_and_grows_again() {
    if cfg!(miri) {
        // The first test has the same paths; these repeat them many times.
        return;
    }
    let heap = heap();
    let cache = heap.attach().expect("a cache");
    burst(&heap, cache, BURST);
    let most = room(cache, BURST);
    let mut expected = most;
    let first = room_after_return(&heap, heap.attach().expect("a cache"));
    assert!(first < most);
    while expected > first {
        leave_burst_class(&heap, cache);
        expected /= 2;
        assert_eq!(room_after_return(&heap, cache), expected);
    }
    leave_burst_class(&heap, cache);
    assert_eq!(room_after_return(&heap, cache), first, "a class keeps its first blocks");
    burst(&heap, cache, BURST);
    assert_eq!(room(cache, BURST), most, "slow start");
    heap.validate();
}

#[test]
fn frees_beyond_the_halved_capacity_do_not_raise_it() {
    if cfg!(miri) {
        // The first test has the same paths; these repeat them many times.
        return;
    }
    let heap = heap();
    let cache = heap.attach().expect("a cache");
    let front = Front::Cache(cache);
    let take = |_| heap.take_block(front, BURST);
    let kept: Vec<NonNull<u8>> = (0..BLOCKS).map(take).collect();
    burst(&heap, cache, BURST);
    let most = room(cache, BURST);
    leave_burst_class(&heap, cache);
    for block in kept {
        heap.give_block(front, block);
        assert!(held(cache, BURST) <= most);
    }
    assert_eq!(room(cache, BURST), most / 2, "only running full is no reason to grow");
    heap.validate();
}
