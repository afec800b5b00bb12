//! The entry points of the C ABI, and of anyone who needs malloc's contract in Rust.
//!
//! [`malloc`] and [`free`] inline the fast path into the caller and leave the miss to a closure, so
//! that the face decides what a miss does (set `errno`, forward a foreign pointer) without a price
//! on the hit.

use core::ptr::NonNull;

use crate::base::size_class::{MAX_SMALL, MIN_ALIGN, SizeClass};
pub use crate::heap::Foreign;
use crate::os::Os;
pub use crate::os::fatal::fatal;
use crate::os::fatal::fatal_size;
#[cfg(feature = "check")]
pub use crate::os::fatal::panicked;
use crate::os::linux::Linux;
use crate::{hot, thread};

/// Makes the heap now, instead of at the first allocation, and registers what hz3 does around a fork.
/// Without memory for it the first allocation tries again.
pub fn start() {
    thread::start();
}

/// The fast path of malloc; `miss` is called with the size when the thread's cache cannot serve.
///
/// # Safety
/// `miss` calls [`malloc_miss`] with this size, once, before anything else of hz3's: the fast path
/// has passed a place of the cache, which the miss gives back.
#[inline(always)]
pub unsafe fn malloc(size: usize, miss: impl FnOnce(usize) -> *mut u8) -> *mut u8 {
    // SAFETY: the hot cache is the calling thread's or a sentinel.
    match unsafe { hot::malloc(thread::hot_cache(), size) } {
        Some(block) => block,
        None => miss(size),
    }
}

/// What may be tried between a miss of [`malloc`] and [`malloc_miss`]: a large block that this thread
/// freed last. Makes no system call. `None`: nothing was done.
#[inline(always)]
pub fn malloc_large(size: usize) -> Option<*mut u8> {
    if size > MAX_SMALL { thread::take_freed(size) } else { None }
}

/// What may be tried between a miss of [`free`] and [`free_miss`]: a large block becomes one that this
/// thread freed last. False: nothing was done.
///
/// # Safety
/// As for [`free_miss`].
#[inline(always)]
pub unsafe fn free_large(block: *mut u8) -> bool {
    // SAFETY: the caller's promise.
    unsafe { thread::keep_freed(block) }
}

/// What follows a miss of [`malloc`]. NULL on exhaustion; `errno` is not set. A size of 0 gives a
/// block of its own.
///
/// # Safety
/// [`malloc`] has just missed with this size on this thread, and nothing of hz3's was called since.
#[cold]
#[inline(never)]
pub unsafe fn malloc_miss(size: usize) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe { thread::malloc_miss(size) }
}

/// The fast path of free; `miss` is called for NULL, large and foreign blocks, and when the
/// thread's cache is full.
///
/// # Safety
/// A block of hz3's is not used again by the program.
#[inline(always)]
pub unsafe fn free(block: *mut u8, miss: impl FnOnce(*mut u8)) {
    // SAFETY: the hot cache is the calling thread's or a sentinel; the rest is the caller's
    // promise.
    if !unsafe { hot::free(thread::hot_cache(), block) } {
        miss(block);
    }
}

/// As [`free`], for a caller that knows with which size [`malloc`] was called. A small block of
/// another size class ends the process.
///
/// # Safety
/// As for [`free`].
#[inline(always)]
pub unsafe fn free_sized(block: *mut u8, size: usize, miss: impl FnOnce(*mut u8)) {
    if let Some(class) = hot::class_of(thread::hot_cache(), block)
        && (size > MAX_SMALL || SizeClass::of_size(size.max(1)) != class)
    {
        refuse_size(block, size, class);
    }
    // SAFETY: the caller's promise.
    unsafe { free(block, miss) };
}

#[cold]
#[inline(never)]
fn refuse_size(block: *mut u8, size: usize, class: SizeClass) -> ! {
    fatal_size(size, class.block_bytes(), block.addr())
}

/// What follows a miss of [`free`], and only that. NULL is fine.
///
/// # Errors
/// [`Foreign`]: the address is not one that hz3 manages; nothing was done.
///
/// # Safety
/// A block of hz3's is not used again by the program.
#[cold]
#[inline(never)]
pub unsafe fn free_miss(block: *mut u8) -> Result<(), Foreign> {
    // SAFETY: the caller's promise.
    unsafe { thread::free_miss(block) }
}

/// The fast path of calloc: as [`malloc`] with this `miss`, and the block reads as zero. `None`: the
/// size is not a small one, and nothing was done.
///
/// # Safety
/// As for [`malloc`].
#[inline(always)]
pub unsafe fn zeroed_small(size: usize, miss: impl FnOnce(usize) -> *mut u8) -> Option<*mut u8> {
    if size > MAX_SMALL {
        return None;
    }
    // SAFETY: the caller's promise.
    let block = unsafe { malloc(size, miss) };
    if !block.is_null() {
        // SAFETY: the block has at least `size` bytes and is nobody else's.
        unsafe { block.write_bytes(0, size) };
    }
    Some(block)
}

/// A block that reads as zero, aligned to 16; NULL on exhaustion.
pub fn zeroed(size: usize) -> *mut u8 {
    thread::aligned_zeroed(MIN_ALIGN, size)
}

/// A block at a multiple of `align`, a power of two; NULL on exhaustion.
pub fn aligned(align: usize, size: usize) -> *mut u8 {
    thread::aligned(align, size)
}

/// As [`aligned`], reading as zero.
pub fn aligned_zeroed(align: usize, size: usize) -> *mut u8 {
    thread::aligned_zeroed(align, size)
}

/// The fast path of realloc: a small block stays where it is, or moves to another small one by
/// [`malloc`] and [`free`] with these misses. NULL: exhausted, the block is what it was. `None`: one
/// of the two blocks is not a small one, or the thread has no cache; nothing was done.
///
/// # Safety
/// As for [`realloc`]; the misses are those of [`malloc`] and [`free`].
#[inline(always)]
pub unsafe fn realloc_small(
    block: *mut u8,
    size: usize,
    malloc_miss: impl FnOnce(usize) -> *mut u8,
    free_miss: impl FnOnce(*mut u8),
) -> Option<*mut u8> {
    let class = hot::class_of(thread::hot_cache(), block)?;
    if class.keeps(size) {
        return Some(block);
    }
    if size > MAX_SMALL {
        return None;
    }
    // SAFETY: the caller's promise.
    let target = unsafe { malloc(size, malloc_miss) };
    if target.is_null() && size <= class.block_bytes() {
        // Shrinking never fails.
        return Some(block);
    }
    if !target.is_null() {
        let kept = size.min(class.block_bytes());
        // SAFETY: both blocks hold `kept` bytes, and the new one is nobody else's.
        unsafe { target.copy_from_nonoverlapping(block, kept) };
        // SAFETY: the caller gave the block up for the new one.
        unsafe { free(block, free_miss) };
    }
    Some(target)
}

/// Changes the size of a block. `Ok(NULL)`: exhausted, the block is what it was. The result is
/// aligned to 16, whatever the block was aligned to.
///
/// # Errors
/// [`Foreign`]: the address is not one that hz3 manages; nothing was done.
///
/// # Safety
/// The block is not null and is the caller's; after success only the result is used.
pub unsafe fn realloc(block: *mut u8, size: usize) -> Result<*mut u8, Foreign> {
    let Some(block) = NonNull::new(block) else { return Err(Foreign) };
    // SAFETY: the caller's promise.
    unsafe { thread::reallocate(block, size) }
}

/// Bytes that a small block holds; `None` for any other address, and where the thread has no cache.
#[inline(always)]
pub fn usable_size_small(block: *mut u8) -> Option<usize> {
    hot::class_of(thread::hot_cache(), block).map(SizeClass::block_bytes)
}

/// Bytes that the block holds; `None` when the address is not one that hz3 manages.
///
/// # Safety
/// An address in hz3's arena is that of a block; otherwise the process is aborted.
pub unsafe fn usable_size(block: *const u8) -> Option<usize> {
    thread::usable_size(block.addr())
}

/// See [`crate::collect`].
pub fn collect() -> usize {
    thread::collect(0)
}

/// As [`collect`], but leaves up to `pad` bytes of free memory in place.
pub fn trim(pad: usize) -> usize {
    thread::collect(pad)
}

/// One tick of the reclaim pipeline by hand, whatever the policy is: what has been free for long
/// enough goes back.
pub fn epoch_force() {
    thread::tick();
}

/// Whether there is enough to give back for a thread of hz3's; one load. To be asked after a miss.
#[inline]
pub fn wants_reclaimer() -> bool {
    thread::wants_reclaimer()
}

/// Starts the thread that gives memory back, if [`wants_reclaimer`] still holds. The caller holds no
/// lock that `pthread_create` takes: it is the program, and not the C library, that called hz3.
#[cold]
pub fn start_reclaimer() {
    thread::start_reclaimer();
}

/// Bytes of a page of the operating system.
pub fn page_size() -> usize {
    Linux.page_size()
}
