//! The allocation functions of ISO C and POSIX.
//!
//! `malloc` and `free` consist of the core's fast path and a jump to a cold function. The cold
//! functions preserve `errno`, and set it to `ENOMEM` on exhaustion.

use core::ffi::{c_int, c_void};
use core::ptr;

use hz3_alloc::raw;

use crate::errno::{or_enomem, request, set_errno};
use crate::foreign;
use crate::misses::{free_cold, free_within, malloc_cold, malloc_within};

/// The alignment of every block, in bytes.
const MIN_ALIGN: usize = 16;

/// Allocates as `malloc` does, for callers in this crate.
#[inline(never)]
pub(crate) fn allocate(size: usize) -> *mut c_void {
    // SAFETY: `malloc_within` calls `malloc_miss` first.
    unsafe { raw::malloc(size, malloc_within) }.cast()
}

/// Frees as `free` does, for callers in this crate.
#[inline(never)]
pub(crate) fn release(block: *mut c_void) {
    // SAFETY: the program passed `block` to a function that frees; the core checks it.
    unsafe { raw::free(block.cast(), free_within) };
}

/// Allocates at a multiple of `align`, a power of two; returns NULL with `ENOMEM` on failure.
pub(crate) fn aligned(align: usize, size: usize) -> *mut c_void {
    if align <= MIN_ALIGN {
        return allocate(size);
    }
    or_enomem(request(size, || raw::aligned(align, size)))
}

/// Serves `calloc`; `size` is the product, `None` if it overflowed.
pub(crate) fn zeroed(size: Option<usize>) -> *mut c_void {
    let Some(size) = size else { return or_enomem(ptr::null_mut()) };
    // SAFETY: `malloc_within` calls `malloc_miss` first.
    match unsafe { raw::zeroed_small(size, malloc_within) } {
        Some(block) => block.cast(),
        None => zeroed_cold(size),
    }
}

/// Serves `calloc` of a block that is not small.
#[cold]
#[inline(never)]
fn zeroed_cold(size: usize) -> *mut c_void {
    or_enomem(request(size, || raw::zeroed(size)))
}

/// Serves `realloc` and `reallocarray`; `size` is `None` if the product overflowed.
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
    // SAFETY: `block` is what the program passed to realloc; `malloc_within` calls `malloc_miss`
    // first.
    match unsafe { raw::realloc_small(block.cast(), size, malloc_within, free_within) } {
        Some(moved) => moved.cast(),
        // SAFETY: the caller's contract is the same.
        None => unsafe { resize_cold(block, size) },
    }
}

/// Serves `realloc` if one of the two blocks is not small.
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
            // SAFETY: as above, and the core has found that the block is foreign.
            Err(raw::Foreign) => unsafe { foreign::realloc(block.cast(), size) },
        }
    });
    or_enomem(moved)
}

/// Serves `memalign` as glibc does: rounds the alignment up to a power of two. If that is
/// impossible, sets `EINVAL` and returns NULL.
pub(crate) fn aligned_rounding(align: usize, size: usize) -> *mut c_void {
    let Some(align) = align.checked_next_power_of_two() else {
        set_errno(libc::EINVAL);
        return ptr::null_mut();
    };
    aligned(align, size)
}

/// Allocates a block of `size` bytes; a unique one for size 0.
#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut c_void {
    // SAFETY: `malloc_cold` calls `malloc_miss` first.
    unsafe { raw::malloc(size, malloc_cold) }.cast()
}

/// Frees a block and preserves `errno`.
#[unsafe(no_mangle)]
unsafe extern "C" fn free(block: *mut c_void) {
    // SAFETY: the caller passes what an allocation function returned, or NULL; the core checks it.
    unsafe { raw::free(block.cast(), free_cold) };
}

/// Allocates a zeroed block for `count` elements of `size` bytes.
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

/// Allocates an aligned block as C23 and glibc 2.38 do: returns NULL with `EINVAL` if the alignment
/// is no power of two. Any `size` is allowed.
#[unsafe(no_mangle)]
extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
    if !align.is_power_of_two() {
        set_errno(libc::EINVAL);
        return ptr::null_mut();
    }
    aligned(align, size)
}

/// Writes an aligned block to `*out`, or returns the error and leaves `*out` unchanged. As in
/// glibc, `ENOMEM` is also set in `errno`.
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
    // SAFETY: POSIX requires that `out` is valid for writing a pointer.
    unsafe { out.write(block) };
    0
}
