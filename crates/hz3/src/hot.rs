//! THE PAGE: malloc and free of a cached class, and the class of a block. Nothing else happens here:
//! no lock, no atomic read-modify-write, no division, no statistics, no test of whether anything is
//! initialised (a thread without a cache has a sentinel in which everything misses).
//!
//! The number of instructions is golden: `cargo xtask fastpath` fails when it grows.

use crate::base::size_class::{MAX_SMALL, SizeClass};
use crate::cache::ThreadCache;

/// A block of at least `size` bytes from the cache. `None`: the cache has none, or the size is not
/// a small one; `Heap::allocate_miss` takes over.
///
/// # Safety
/// `cache` is the calling thread's cache or a sentinel.
#[inline(always)]
pub(crate) unsafe fn malloc(cache: &ThreadCache, size: usize) -> Option<*mut u8> {
    // 32 KiB is the last size that the class table knows; larger blocks are runs of pages.
    if size > MAX_SMALL {
        return None;
    }
    // SAFETY: the caller's promise is that of `pop`.
    unsafe { cache.stack(SizeClass::of_size(size)).pop() }
}

/// Puts a block into the cache. False: the cache is full of its class, or the address is not in a
/// slab (null, a large block, somebody else's); `Heap::free_miss` takes over.
///
/// # Safety
/// `cache` is the calling thread's cache or a sentinel; the block, if it is hz3's, is not used
/// again by the program.
#[inline(always)]
pub(crate) unsafe fn free(cache: &ThreadCache, block: *mut u8) -> bool {
    // Outside the arena: null, somebody else's, or any address as long as the cache is a sentinel.
    let Some(class) = cache.class_of(block) else { return false };
    // What is not in a slab has class 0, whose stack never has room.
    // SAFETY: the caller's promise is that of `push`.
    unsafe { cache.stack(class).push(block) }
}

/// The class of a block in a slab. `None`: the address is not in a slab, or the thread has no cache.
#[inline(always)]
pub(crate) fn class_of(cache: &ThreadCache, block: *mut u8) -> Option<SizeClass> {
    cache.class_of(block).filter(|&class| class != SizeClass::NONE)
}
