//! The caches of other threads in a forked child.

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
        let block = heap.take(Front::Direct, size).expect("a block").as_ptr();
        let cache = heap.attach().expect("a cache");
        assert_eq!(pop(cache, size), None, "a fresh cache holds nothing");
        // The miss goes no further: the process forks, and this is the child.
        heap.acquire_all();
        heap.release_all();
        heap.abandon_other_threads(None);
        let next = heap.attach().expect("a cache");
        assert!(core::ptr::eq(cache, next), "the cache waits for the next thread");
        assert!(!push(next, block), "{class:?}: a stack without room took a block");
        assert!(heap.give_after_miss(Front::Cache(next), block).is_ok());
        assert_eq!(pop(next, size), Some(block), "{class:?}: the block is lost");
        assert!(hot::class_of(next, block).is_some() && push(next, block));
        heap.validate();
    }
}
