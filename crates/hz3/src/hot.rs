//! The fast path: `malloc` and `free` of a block that the thread's cache serves.
//!
//! It takes no lock, executes no atomic read-modify-write and no division, and counts nothing. It
//! does not test whether anything is initialised: a thread without a cache has a sentinel, in which
//! every operation misses. `cargo xtask fastpath` fails if its number of instructions grows.

use core::sync::atomic::Ordering;

use crate::base::size_class::{MAX_SMALL, SizeClass};
use crate::cache::ThreadCache;

/// Takes a block of at least `size` bytes from the cache.
///
/// Returns `None` if the cache has none or `size` is above [`MAX_SMALL`]; `Heap::allocate_miss`
/// takes over.
///
/// # Safety
/// `cache` is the calling thread's cache or a sentinel.
#[inline(always)]
pub(crate) unsafe fn malloc(cache: &ThreadCache, size: usize) -> Option<*mut u8> {
    // The class table ends at 32 KiB; larger blocks are runs of pages.
    if size > MAX_SMALL {
        return None;
    }
    // SAFETY: the caller's promise is that of `pop`.
    unsafe { cache.stack(SizeClass::of_size(size)).pop() }
}

/// Takes a block after [`malloc`] failed, if that was only because the heap profile runs.
///
/// Returns `None` if the request is to be sampled, or if the cache has no block; then the failed
/// [`malloc`] still counts.
///
/// # Safety
/// As for [`malloc`], which has just failed with this size.
#[inline(always)]
pub(crate) unsafe fn finish_malloc(cache: &ThreadCache, size: usize) -> Option<*mut u8> {
    if size > MAX_SMALL {
        return None;
    }
    let counted = i64::try_from(size.max(1)).unwrap_or(i64::MAX);
    let left = cache.countdown.load(Ordering::Relaxed) - counted;
    if left < 0 {
        return None;
    }
    // SAFETY: the caller's promise.
    let block = unsafe { cache.stack(SizeClass::of_size(size)).finish_sealed_pop() }?;
    cache.countdown.store(left, Ordering::Relaxed);
    Some(block)
}

/// Puts a block into the cache.
///
/// Returns false if the cache is full of its class, or if the address is not in a slab: null, a
/// large block, or a block of another allocator. Then `Heap::free_miss` takes over.
///
/// # Safety
/// `cache` is the calling thread's cache or a sentinel. If the block is hz3's, the program does not
/// use it again.
#[inline(always)]
pub(crate) unsafe fn free(cache: &ThreadCache, block: *mut u8) -> bool {
    // Outside the arena: null, or a block of another allocator. In a sentinel: any address.
    let Some(class) = cache.class_of(block) else { return false };
    // An address that is not in a slab has class 0, whose stack never has room.
    // SAFETY: the caller's promise is that of `push`.
    unsafe { cache.stack(class).push(block) }
}

/// Returns the class of a block; `None` if it is not in a slab or the thread has no cache.
#[inline(always)]
pub(crate) fn class_of(cache: &ThreadCache, block: *mut u8) -> Option<SizeClass> {
    cache.class_of(block).filter(|&class| class != SizeClass::NONE)
}
