//! The allocation functions of ISO C and POSIX.
//!
//! `malloc` and `free` are the core's fast path and a jump to a cold function, nothing else. The
//! cold functions keep `errno` as it was, except for `ENOMEM` on exhaustion.

use core::ffi::{c_int, c_void};
use core::ptr;

use hz3_alloc::raw;

use crate::errno::{or_enomem, request, set_errno};
use crate::foreign;
use crate::misses::{free_cold, free_within, malloc_cold, malloc_within};

/// What every block is aligned to, whatever was asked.
const MIN_ALIGN: usize = 16;

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
