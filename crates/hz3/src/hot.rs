//! The fast path: `malloc` and `free` of a block that the thread's cache serves.
//!
//! It takes no lock, executes no atomic read-modify-write and no division, and counts nothing. It
//! does not test whether anything is initialised: a thread without a cache has a sentinel, in which
//! every operation misses. `cargo xtask fastpath` fails if its number of instructions grows.

use core::sync::atomic::Ordering;

use crate::base::size_class::{MAX_SMALL, SizeClass};
use crate::base::units::counted_bytes;
use crate::cache::ThreadCache;

/// Takes a block of at least `size` bytes from the cache.
///
/// Returns `None` if the cache has none, if `size` is above [`MAX_SMALL`], or if the heap profile
/// is to sample the request; `Heap::allocate_miss` takes over.
///
/// # Safety
/// `cache` is the calling thread's cache or a sentinel.
#[inline(always)]
pub(crate) unsafe fn malloc(cache: &ThreadCache, size: usize) -> Option<*mut u8> {
    // The class table ends at 32 KiB; larger blocks are runs of pages.
    if size > MAX_SMALL {
        return None;
    }
    let stack = cache.stack(SizeClass::of_size(size));
    // SAFETY: the caller's promise is that of `pop`.
    if let Some(block) = unsafe { stack.pop() } {
        return Some(block);
    }
    // The heap profile seals the stacks. Its requests are counted here, and not in
    // `Heap::allocate_miss`, because nearly every one then takes this way.
    let left = cache.countdown.load(Ordering::Relaxed) - counted_bytes(size);
    if left < 0 {
        return None;
    }
    // SAFETY: the caller's promise; the pop has just failed.
    let block = unsafe { stack.finish_sealed_pop() }?;
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
