//! The allocation functions of ISO C and POSIX, and `errno`.
//!
//! `malloc` and `free` are the core's fast path and a jump to a cold function, nothing else. The
//! cold functions keep `errno` as it was, except for `ENOMEM` on exhaustion.

use core::ffi::{c_int, c_void};
use core::ptr;

use hz3_alloc::raw;

use crate::caller::{free_cold, malloc_cold, start_wanted_reclaimer};
use crate::foreign;

/// The largest request, as in glibc: the difference of two pointers into a block fits `ptrdiff_t`.
const MAX_REQUEST: usize = isize::MAX.cast_unsigned();

/// What every block is aligned to, whatever was asked.
const MIN_ALIGN: usize = 16;

/// Runs `call` and puts `errno` back: system calls inside may change it.
pub(crate) fn keeping_errno<T>(call: impl FnOnce() -> T) -> T {
    // SAFETY: the C library returns the address of this thread's errno, valid while it runs.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: `errno` is this thread's, see above.
    let before = unsafe { errno.read() };
    let result = call();
    // SAFETY: `errno` is this thread's, see above.
    unsafe { errno.write(before) };
    result
}

/// Sets this thread's `errno`.
pub(crate) fn set_errno(value: c_int) {
    // SAFETY: the C library returns the address of this thread's errno, valid while it runs.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: `errno` is this thread's, see above.
    unsafe { errno.write(value) };
}

/// Runs an allocation of `size` bytes; NULL, with `errno` untouched, where it can't be had.
fn request(size: usize, allocate: impl FnOnce() -> *mut u8) -> *mut c_void {
    if size > MAX_REQUEST {
        return ptr::null_mut();
    }
    keeping_errno(allocate).cast()
}

/// Turns a failure into NULL with `ENOMEM`.
fn or_enomem(block: *mut c_void) -> *mut c_void {
    if block.is_null() {
        set_errno(libc::ENOMEM);
    }
    block
}

/// `malloc` where the thread's cache has nothing, called by the code at `caller`. Follows a miss of
/// the fast path, only.
pub(crate) extern "C" fn malloc_from(size: usize, caller: usize) -> *mut u8 {
    if let Some(block) = raw::malloc_large(size) {
        return block;
    }
    malloc_slowly(size, caller)
}

/// [`malloc_from`] where the thread freed no such block lately.
#[inline(never)]
fn malloc_slowly(size: usize, caller: usize) -> *mut u8 {
    let block = malloc_within(size);
    start_wanted_reclaimer(caller);
    block
}

/// As [`malloc_from`], within a function that is not known to have been called by the program.
#[cold]
#[inline(never)]
pub(crate) fn malloc_within(size: usize) -> *mut u8 {
    // SAFETY: this is what the fast path's misses call, with their size.
    or_enomem(request(size, || unsafe { raw::malloc_miss(size) })).cast()
}

/// `free` where the thread's cache can't take the block, or the pointer isn't a small block, called
/// by the code at `caller`. Follows a miss of the fast path, only.
pub(crate) extern "C" fn free_from(block: *mut u8, caller: usize) {
    // SAFETY: `block` is what the program passed to free; the core checks it.
    if !unsafe { raw::free_large(block) } {
        free_slowly(block, caller);
    }
}

/// [`free_from`] where the thread does not keep the block.
#[inline(never)]
fn free_slowly(block: *mut u8, caller: usize) {
    free_within(block);
    keeping_errno(|| start_wanted_reclaimer(caller));
}

/// As [`free_from`], within a function that is not known to have been called by the program.
#[cold]
#[inline(never)]
pub(crate) fn free_within(block: *mut u8) {
    keeping_errno(|| {
        // SAFETY: `block` is what the program passed to free; the core checks it.
        if unsafe { raw::free_miss(block) }.is_err() {
            // SAFETY: as above, and the core says that the block isn't ours.
            unsafe { foreign::free(block) };
        }
    });
}

/// `malloc`, for callers that aren't the hot path.
#[inline(never)]
pub(crate) fn allocate(size: usize) -> *mut c_void {
    // SAFETY: `malloc_within` calls `malloc_miss` first.
    unsafe { raw::malloc(size, malloc_within) }.cast()
}

/// `free`, for callers that aren't the hot path.
#[inline(never)]
pub(crate) fn release(block: *mut c_void) {
    // SAFETY: `block` is what the program passed to a function that frees; the core checks it.
    unsafe { raw::free(block.cast(), free_within) };
}

/// An allocation with an alignment that is a power of two; NULL with `ENOMEM` on failure.
pub(crate) fn aligned(align: usize, size: usize) -> *mut c_void {
    if align <= MIN_ALIGN {
        return allocate(size);
    }
    or_enomem(request(size, || raw::aligned(align, size)))
}

/// `calloc` after its multiplication, which may have overflowed.
pub(crate) fn zeroed(size: Option<usize>) -> *mut c_void {
    let Some(size) = size else { return or_enomem(ptr::null_mut()) };
    // SAFETY: `malloc_within` calls `malloc_miss` first.
    match unsafe { raw::zeroed_small(size, malloc_within) } {
        Some(block) => block.cast(),
        None => zeroed_cold(size),
    }
}

/// `calloc` of a block that is not a small one.
#[cold]
#[inline(never)]
fn zeroed_cold(size: usize) -> *mut c_void {
    or_enomem(request(size, || raw::zeroed(size)))
}

/// `realloc` after a multiplication that may have overflowed.
///
/// # Safety
/// As for `realloc`.
pub(crate) unsafe fn resize(block: *mut c_void, size: Option<usize>) -> *mut c_void {
    let Some(size) = size else {
        return or_enomem(ptr::null_mut());
    };
    if block.is_null() {
        return allocate(size);
    }
    if size == 0 {
        release(block);
        return ptr::null_mut();
    }
    // SAFETY: `block` is what the program passed to realloc; `malloc_within` calls `malloc_miss` first.
    match unsafe { raw::realloc_small(block.cast(), size, malloc_within, free_within) } {
        Some(moved) => moved.cast(),
        // SAFETY: the caller's contract is the same.
        None => unsafe { resize_cold(block, size) },
    }
}

/// `realloc` where one of the two blocks is not a small one.
///
/// # Safety
/// As for `realloc`; the block is not NULL.
#[cold]
#[inline(never)]
unsafe fn resize_cold(block: *mut c_void, size: usize) -> *mut c_void {
    let moved = request(size, || {
        // SAFETY: `block` is what the program passed to realloc, not NULL; the core checks it.
        match unsafe { raw::realloc(block.cast(), size) } {
            Ok(moved) => moved,
            // SAFETY: as above, and the core says that the block isn't ours.
            Err(raw::Foreign) => unsafe { foreign::realloc(block.cast(), size) },
        }
    });
    or_enomem(moved)
}

/// `memalign` as glibc has it: an alignment that is no power of two is rounded up to one.
/// One that can't be rounded up gives `EINVAL`.
pub(crate) fn aligned_rounding(align: usize, size: usize) -> *mut c_void {
    let Some(align) = align.checked_next_power_of_two() else {
        set_errno(libc::EINVAL);
        return ptr::null_mut();
    };
    aligned(align, size)
}

/// A block of `size` bytes; a unique one for size 0.
#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut c_void {
    // SAFETY: `malloc_cold` calls `malloc_miss` first.
    unsafe { raw::malloc(size, malloc_cold) }.cast()
}

/// Gives a block back. `errno` stays as it is.
#[unsafe(no_mangle)]
unsafe extern "C" fn free(block: *mut c_void) {
    // SAFETY: the caller passes what an allocation function returned, or NULL; the core checks it.
    unsafe { raw::free(block.cast(), free_cold) };
}

/// A zeroed block for `count` elements of `size` bytes.
#[unsafe(no_mangle)]
extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    zeroed(count.checked_mul(size))
}

/// Grows or shrinks a block. Size 0 frees it and returns NULL, as glibc does.
#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller's contract is the same.
    unsafe { resize(block, Some(size)) }
}

/// Returns an aligned block, as C23 and glibc 2.38 have it: NULL with `EINVAL` if the alignment is
/// no power of two. `size` may be any.
#[unsafe(no_mangle)]
extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
    if !align.is_power_of_two() {
        set_errno(libc::EINVAL);
        return ptr::null_mut();
    }
    aligned(align, size)
}

/// Returns the error, and as in glibc also sets `errno` when there is no memory; `*out` is written on
/// success alone.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn posix_memalign(
    out: *mut *mut c_void,
    align: usize,
    size: usize,
) -> c_int {
    if !align.is_power_of_two() || align < size_of::<*mut c_void>() {
        return libc::EINVAL;
    }
    let block = aligned(align, size);
    if block.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: POSIX: `out` is where the caller wants the pointer.
    unsafe { out.write(block) };
    0
}
