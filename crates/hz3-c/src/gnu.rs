//! The functions that glibc and C23 add to POSIX, and the `__libc_` names that programs bind to.

use core::ffi::{c_int, c_void};

use hz3_alloc::raw;

use crate::errno::keeping_errno;
use crate::misses::{free_cold, malloc_cold};
use crate::posix::{aligned, aligned_rounding, posix_memalign, release, resize, zeroed};
use crate::{foreign, report};

/// Resizes a block to `count` elements of `size` bytes; fails with `ENOMEM` if that overflows.
#[unsafe(no_mangle)]
unsafe extern "C" fn reallocarray(block: *mut c_void, count: usize, size: usize) -> *mut c_void {
    // SAFETY: the caller's contract is that of realloc.
    unsafe { resize(block, count.checked_mul(size)) }
}

/// Allocates an aligned block; an alignment that is no power of two is rounded up to one.
#[unsafe(no_mangle)]
extern "C" fn memalign(align: usize, size: usize) -> *mut c_void {
    aligned_rounding(align, size)
}

/// Allocates a block that starts on a page.
#[unsafe(no_mangle)]
extern "C" fn valloc(size: usize) -> *mut c_void {
    aligned(raw::page_size(), size)
}

/// Allocates a block of whole pages that starts on a page.
#[unsafe(no_mangle)]
extern "C" fn pvalloc(size: usize) -> *mut c_void {
    let page = raw::page_size();
    // A size that cannot be rounded up is too large in any case.
    aligned(page, size.checked_next_multiple_of(page).unwrap_or(size))
}

/// Returns the bytes of a block that the program may use; 0 for NULL.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_usable_size(block: *mut c_void) -> usize {
    match raw::usable_size_small(block.cast()) {
        Some(size) => size,
        // SAFETY: the caller's contract is the same.
        None => unsafe { usable_size_cold(block) },
    }
}

/// Serves `malloc_usable_size` of a block that is not small.
///
/// # Safety
/// As for `malloc_usable_size`.
#[cold]
#[inline(never)]
unsafe fn usable_size_cold(block: *mut c_void) -> usize {
    if block.is_null() {
        return 0;
    }
    keeping_errno(|| {
        // SAFETY: the caller passes what an allocation function returned; the core checks it.
        match unsafe { raw::usable_size(block.cast()) } {
            Some(size) => size,
            // SAFETY: as above, and the core has found that the block is foreign.
            None => unsafe { foreign::usable_size(block.cast()) },
        }
    })
}

/// Gives free memory back to the system, except `pad` bytes; returns 1 if any was given back.
#[unsafe(no_mangle)]
extern "C" fn malloc_trim(pad: usize) -> c_int {
    c_int::from(keeping_errno(|| raw::trim(pad)) > 0)
}

/// Frees a block; the old name of `free`.
#[unsafe(no_mangle)]
unsafe extern "C" fn cfree(block: *mut c_void) {
    release(block);
}

/// Frees a block as in C23; hz3 knows its size and ignores the argument.
#[unsafe(no_mangle)]
unsafe extern "C" fn free_sized(block: *mut c_void, _size: usize) {
    // SAFETY: the caller's contract is that of free.
    unsafe { raw::free(block.cast(), free_cold) };
}

/// Frees a block as in C23; hz3 knows its alignment and size and ignores the arguments.
#[unsafe(no_mangle)]
unsafe extern "C" fn free_aligned_sized(block: *mut c_void, _align: usize, _size: usize) {
    // SAFETY: the caller's contract is that of free.
    unsafe { raw::free(block.cast(), free_cold) };
}

#[unsafe(no_mangle)]
extern "C" fn __libc_malloc(size: usize) -> *mut c_void {
    // SAFETY: `malloc_cold` calls `malloc_miss` first.
    unsafe { raw::malloc(size, malloc_cold) }.cast()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __libc_free(block: *mut c_void) {
    // SAFETY: the caller's contract is that of free.
    unsafe { raw::free(block.cast(), free_cold) };
}

#[unsafe(no_mangle)]
extern "C" fn __libc_calloc(count: usize, size: usize) -> *mut c_void {
    zeroed(count.checked_mul(size))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __libc_realloc(block: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller's contract is that of realloc.
    unsafe { resize(block, Some(size)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __libc_reallocarray(
    block: *mut c_void,
    count: usize,
    size: usize,
) -> *mut c_void {
    // SAFETY: the caller's contract is that of realloc.
    unsafe { resize(block, count.checked_mul(size)) }
}

#[unsafe(no_mangle)]
extern "C" fn __libc_memalign(align: usize, size: usize) -> *mut c_void {
    aligned_rounding(align, size)
}

#[unsafe(no_mangle)]
extern "C" fn __libc_valloc(size: usize) -> *mut c_void {
    valloc(size)
}

#[unsafe(no_mangle)]
extern "C" fn __libc_pvalloc(size: usize) -> *mut c_void {
    pvalloc(size)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __posix_memalign(out: *mut *mut c_void, align: usize, size: usize) -> c_int {
    // SAFETY: the caller's contract is the same.
    unsafe { posix_memalign(out, align, size) }
}

#[unsafe(no_mangle)]
extern "C" fn __libc_mallinfo() -> report::MallInfo {
    report::mallinfo()
}

#[unsafe(no_mangle)]
extern "C" fn __libc_mallopt(parameter: c_int, value: c_int) -> c_int {
    report::mallopt(parameter, value)
}
