//! The caches of other threads in a forked child.

use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use super::program::{Program, pop, push};
use crate::base::size_class::SizeClass;
use crate::cache::Front;
use crate::hot;
use crate::options::Config;
use crate::os::fake::Fake;
use crate::tests::world::heap_with;

const ARENA_BYTES: usize = 64 << 20;

/// A thread that waits for its cache's lock during the fork has lowered the top of a stack, perhaps
/// of a class that it never used before. The cache's next owner must find every stack empty.
#[test]
fn a_cache_whose_owner_waited_in_a_miss_at_the_fork_serves_again() {
    for class in SizeClass::all() {
        let heap = heap_with(Fake::new(4096, 1, ARENA_BYTES), ARENA_BYTES, &Config::new());
        let size = class.block_bytes();
        let block = heap.allocate(Front::Direct, size).expect("a block").as_ptr();
        let cache = heap.attach().expect("a cache");
        assert_eq!(pop(cache, size), None, "a fresh cache holds nothing");
        // The miss goes no further: the process forks, and this is the child.
        heap.acquire_all();
        heap.release_all();
        heap.abandon_other_threads(None);
        let next = heap.attach().expect("a cache");
        assert!(next.is(&cache), "the cache waits for the next thread");
        assert!(!push(next, block), "{class:?}: a stack without room took a block");
        assert!(heap.give_after_miss(Front::Cache(next), block).is_ok());
        assert_eq!(pop(next, size), Some(block), "{class:?}: the block is lost");
        assert!(hot::class_of(&next, block).is_some() && push(next, block));
        heap.validate();
    }
}

/// The profile runs, so each pop fails at first, and is finished by another step.
#[test]
fn a_block_whose_pop_the_fork_interrupted_is_not_lost() {
    for is_finished in [false, true] {
        let heap = heap_with(Fake::new(4096, 1, ARENA_BYTES), ARENA_BYTES, &Config::new());
        let cache = heap.attach().expect("a cache");
        let front = Front::Cache(cache);
        heap.start_profile(1 << 40).expect("memory");
        let size = 100;
        let blocks = [(); 3].map(|()| heap.allocate(front, size).expect("a block"));
        for block in blocks {
            heap.give_block(front, block);
        }
        if !is_finished {
            // A sample is due: the stack is sealed and its pop is not finished.
            cache.countdown.store(-1, Ordering::Relaxed);
        }
        let popped = pop(cache, size);
        assert_eq!(popped.is_some(), is_finished);
        heap.acquire_all();
        heap.release_all();
        heap.abandon_other_threads(None);
        // A thread of the parent has the block, so the child must not hand it out.
        let held = if is_finished { SizeClass::of_size(size).block_bytes() as u64 } else { 0 };
        assert_eq!(heap.stats().allocated, held);
        let next = [(); 4].map(|()| heap.allocate(Front::Direct, size).map(NonNull::as_ptr));
        assert!(popped.is_none() || !next.contains(&popped), "handed out twice");
        heap.validate();
    }
}
