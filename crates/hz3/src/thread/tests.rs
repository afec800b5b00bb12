//! Tests how a thread attaches to the process's heap and detaches. Miri has no such heap.

use core::ptr::NonNull;

use super::{aligned, existing_heap, free_miss, reallocate, stats, tls, usable_size};
use crate::heap::Foreign;

fn in_a_thread(test: impl FnOnce() + Send) {
    if cfg!(miri) {
        return;
    }
    std::thread::scope(|scope| {
        scope.spawn(test);
    });
}

fn free(block: *mut u8) -> Result<(), Foreign> {
    // SAFETY: each test frees a block of its own once, and does not use it again.
    unsafe { free_miss(block) }
}

#[test]
fn the_first_call_gives_a_thread_its_cache() {
    in_a_thread(|| {
        assert!(tls::own().is_none() && core::ptr::eq(tls::hot(), &raw const tls::FRESH));
        let block = aligned(16, 100);
        let own = tls::own().expect("a cache");
        assert!(own.is(tls::hot()), "the fast path uses it");
        assert_eq!(usable_size(block.addr()), Some(112));
        assert_eq!(free(block), Ok(()));
    });
}

#[test]
fn a_purge_on_request_gives_no_thread_a_cache() {
    in_a_thread(|| {
        crate::thread::start();
        tls::set(&tls::FRESH, None);
        super::control::set(b"purge", b"now").expect("a purge");
        assert!(tls::own().is_none(), "the reclaimer obeys such commands too");
    });
}

#[test]
fn a_thread_that_ends_gives_its_cache_back() {
    in_a_thread(|| {
        let threads = |minus| stats().threads - minus;
        assert_eq!(free(aligned(16, 100)), Ok(()));
        let cache = tls::own().expect("a cache");
        tls::set(&tls::ENDED, None);
        // SAFETY: no TLS slot leads to the cache any more.
        unsafe { existing_heap().expect("a heap").detach(cache) };
        let before = threads(0);
        // A thread that has detached, in a later destructor, allocates without a cache.
        let block = aligned(64, 5000);
        assert_eq!((block.addr() % 64, threads(0)), (0, before));
        assert!(tls::own().is_none());
        assert_eq!(free(block), Ok(()));
    });
}

#[test]
fn a_foreign_block_is_refused_and_unchanged() {
    in_a_thread(|| {
        assert_eq!(free(aligned(16, 1)), Ok(()));
        let mut foreign = 7u64;
        let address = NonNull::from(&mut foreign).cast::<u8>();
        assert_eq!(usable_size(address.addr().get()), None);
        assert_eq!(free(address.as_ptr()), Err(Foreign));
        // SAFETY: the block is this test's; hz3 refuses it.
        let moved = unsafe { reallocate(address, 100) };
        assert_eq!(moved, Err(Foreign));
        assert_eq!(foreign, 7);
        assert_eq!(free(core::ptr::null_mut()), Ok(()));
    });
}
