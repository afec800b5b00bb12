//! The contract of `malloc` in Rust: the entry points of the C API and of other wrappers.
//!
//! [`malloc`] and [`free`] inline the fast path into the caller and call a closure on a miss. So
//! the wrapper decides what a miss does (set `errno`, forward a foreign pointer) at no cost on a
//! hit.

pub mod family;

use core::ffi::c_void;
use core::ptr::NonNull;

use crate::base::size_class::{MAX_SMALL, MIN_ALIGN, SizeClass};
pub use crate::heap::Foreign;
use crate::os::Os;
pub use crate::os::fatal::fatal;
use crate::os::fatal::fatal_size;
#[cfg(feature = "check")]
pub use crate::os::fatal::panicked;
use crate::os::linux::Linux;
pub use crate::thread::limit::OnLimit;
use crate::{hot, thread};

/// Creates the heap now, instead of at the first allocation, and registers the fork handlers.
///
/// If there is no memory for the heap, the first allocation tries again.
pub fn start() {
    thread::start();
}

/// Allocates by the fast path; calls `miss` with the size if the thread's cache cannot serve.
///
/// # Safety
/// `miss` calls [`malloc_miss`] with this size once, before any other function of hz3: the fast
/// path has lowered the stack's `top`, and `malloc_miss` raises it again.
#[inline(always)]
pub unsafe fn malloc(size: usize, miss: impl FnOnce(usize) -> *mut u8) -> *mut u8 {
    // SAFETY: the hot cache is the calling thread's or a sentinel.
    match unsafe { hot::malloc(thread::hot_cache(), size) } {
        Some(block) => block,
        None => miss(size),
    }
}

/// Takes a large block that this thread freed lately, without a system call.
///
/// May be called between a miss of [`malloc`] and [`malloc_miss`]. If it returns `None`, nothing
/// was changed.
#[inline(always)]
pub fn malloc_large(size: usize) -> Option<*mut u8> {
    if size > MAX_SMALL { thread::allocate_from_cache(size) } else { None }
}

/// Keeps a large block for the next allocation of this thread.
///
/// May be called between a miss of [`free`] and [`free_miss`]. If it returns false, nothing was
/// changed.
///
/// # Safety
/// As for [`free_miss`].
#[inline(always)]
pub unsafe fn free_large(block: *mut u8) -> bool {
    // SAFETY: the caller's promise.
    unsafe { thread::free_to_cache(block) }
}

/// Serves a miss of [`malloc`]; returns NULL on exhaustion and does not set `errno`.
///
/// A size of 0 gives a block of its own.
///
/// # Safety
/// [`malloc`] has just missed with this size on this thread, and no other function of hz3 was
/// called since, except [`malloc_large`] in vain.
#[cold]
#[inline(never)]
pub unsafe fn malloc_miss(size: usize) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe { thread::malloc_miss(size) }
}

/// Frees by the fast path; calls `miss` for NULL, for large and foreign blocks, and if the thread's
/// cache is full.
///
/// # Safety
/// If the block is hz3's, the program does not use it again.
#[inline(always)]
pub unsafe fn free(block: *mut u8, miss: impl FnOnce(*mut u8)) {
    // SAFETY: the hot cache is the calling thread's or a sentinel; the rest is the caller's
    // promise.
    if !unsafe { hot::free(thread::hot_cache(), block) } {
        miss(block);
    }
}

/// Frees as [`free`] does, and checks the size with which the block was allocated.
///
/// If a small block is of another size class, the process ends.
///
/// # Safety
/// As for [`free`].
#[inline(always)]
pub unsafe fn free_sized(block: *mut u8, size: usize, miss: impl FnOnce(*mut u8)) {
    // SAFETY: the caller's promise.
    unsafe { free_sized_or(block, size, miss, |block, size| refuse_size(block, size)) };
}

/// Frees as [`free`] does if the block may have been allocated with this size, and otherwise calls
/// `odd` with both.
///
/// # Safety
/// As for [`free`].
#[inline(always)]
pub unsafe fn free_sized_or(
    block: *mut u8,
    size: usize,
    miss: impl FnOnce(*mut u8),
    odd: impl FnOnce(*mut u8, usize),
) {
    if let Some(class) = hot::class_of(thread::hot_cache(), block)
        && (size > MAX_SMALL || SizeClass::of_size(size.max(1)) != class)
    {
        return odd(block, size);
    }
    // SAFETY: the caller's promise.
    unsafe { free(block, miss) };
}

/// Ends the process if the block is small and `realloc` would not leave it in place at this size.
#[cold]
pub fn check_resized(block: *mut u8, size: usize) {
    if let Some(class) = hot::class_of(thread::hot_cache(), block)
        && !class.keeps(size)
    {
        refuse_size(block, size);
    }
}

#[cold]
#[inline(never)]
fn refuse_size(block: *mut u8, size: usize) -> ! {
    fatal_size(size, usable_size_small(block).unwrap_or(0), block.addr())
}

/// Serves a miss of [`free`], and must not be called otherwise. The block may be NULL.
///
/// # Errors
/// [`Foreign`]: hz3 does not manage the address; nothing was changed.
///
/// # Safety
/// If the block is hz3's, the program does not use it again.
#[cold]
#[inline(never)]
pub unsafe fn free_miss(block: *mut u8) -> Result<(), Foreign> {
    // SAFETY: the caller's promise.
    unsafe { thread::free_miss(block) }
}

/// Allocates a small block that reads as zero: [`malloc`] with this `miss`, and a write.
///
/// If `size` is above 32 KiB, returns `None` and changes nothing.
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
        // SAFETY: the block has at least `size` bytes, and only this function uses it.
        unsafe { block.write_bytes(0, size) };
    }
    Some(block)
}

/// Allocates a block that reads as zero, aligned to 16; NULL on exhaustion.
pub fn zeroed(size: usize) -> *mut u8 {
    thread::aligned_zeroed(MIN_ALIGN, size)
}

/// Allocates a block at a multiple of `align`, a power of two; NULL on exhaustion.
pub fn aligned(align: usize, size: usize) -> *mut u8 {
    thread::aligned(align, size)
}

/// Allocates as [`aligned`] does; the block reads as zero.
pub fn aligned_zeroed(align: usize, size: usize) -> *mut u8 {
    thread::aligned_zeroed(align, size)
}

/// Resizes a small block: it stays in place, or moves to another small block by [`malloc`] and
/// [`free`] with these misses.
///
/// On exhaustion returns NULL, and the block is unchanged. If one of the two blocks is not small,
/// or if the thread has no cache, returns `None` and changes nothing.
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
        // SAFETY: both blocks hold `kept` bytes, and only this function uses the new one.
        unsafe { target.copy_from_nonoverlapping(block, kept) };
        // SAFETY: the caller gave the block up for the new one.
        unsafe { free(block, free_miss) };
    }
    Some(target)
}

/// Changes the size of a block; returns `Ok(NULL)` on exhaustion, and the block is unchanged.
///
/// The result is aligned to 16, even if the block had a larger alignment.
///
/// # Errors
/// [`Foreign`]: hz3 does not manage the address; nothing was changed.
///
/// # Safety
/// The block is not null and is the caller's; after success only the result is used.
pub unsafe fn realloc(block: *mut u8, size: usize) -> Result<*mut u8, Foreign> {
    let Some(block) = NonNull::new(block) else { return Err(Foreign) };
    // SAFETY: the caller's promise.
    unsafe { thread::reallocate(block, size) }
}

/// Returns the bytes that a small block holds; `None` for any other address, and if the thread has
/// no cache.
#[inline(always)]
pub fn usable_size_small(block: *mut u8) -> Option<usize> {
    hot::class_of(thread::hot_cache(), block).map(SizeClass::block_bytes)
}

/// Returns the bytes that a block holds; `None` if hz3 does not manage the address.
///
/// # Safety
/// An address in hz3's arena must be that of a block; otherwise the process is aborted.
pub unsafe fn usable_size(block: *const u8) -> Option<usize> {
    thread::usable_size(block.addr())
}

/// Gives all free memory back to the system; see [`crate::collect`].
pub fn collect() -> usize {
    thread::collect(0)
}

/// Gives free memory back as [`collect`] does, but keeps up to `pad` bytes of it.
pub fn trim(pad: usize) -> usize {
    thread::collect(pad)
}

/// Sets the function that is called before the memory limit makes an allocation fail; see
/// [`crate::on_limit`]. `None` for none.
///
/// # Safety
/// The function may be called with `context` from any thread, until another one was set and each
/// call that began before has returned. It does not unwind.
pub unsafe fn on_limit(function: Option<OnLimit>, context: *mut c_void) {
    thread::limit::set(function, context);
}

/// Runs one tick of the reclaim pipeline, also with the policy `off`: gives back the memory that
/// has been free for long enough.
pub fn epoch_force() {
    thread::tick();
}

/// Returns whether there is enough memory to give back to start the reclaimer's thread.
///
/// It costs one load, and is meant to be called after a miss.
#[inline]
pub fn wants_reclaimer() -> bool {
    thread::wants_reclaimer()
}

/// Starts the thread that gives memory back, if [`wants_reclaimer`] is still true.
///
/// The caller must hold no lock that `pthread_create` takes: the program, not the C library, must
/// have called hz3.
#[cold]
pub fn start_reclaimer() {
    thread::start_reclaimer();
}

/// Sets an option of the running heap; see [`crate::control::set`].
///
/// # Errors
/// Says what is wrong, and changes nothing.
pub fn set(name: &[u8], value: &[u8]) -> Result<(), crate::ControlError> {
    thread::control::set(name, value)
}

/// Returns the page size of the operating system, in bytes.
pub fn page_size() -> usize {
    Linux.page_size()
}
