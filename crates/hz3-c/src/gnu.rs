//! glibc's own functions beside the family, and the `__libc_` names that programs bind to.

use core::ffi::{c_int, c_void};

use hz3_alloc::raw::{self, family};

use crate::family::{Library, free_cold, malloc_cold};
use crate::report;

/// Gives free memory back to the system, except `pad` bytes; returns 1 if any was given back.
#[unsafe(no_mangle)]
extern "C" fn malloc_trim(pad: usize) -> c_int {
    c_int::from(family::keeping_errno(|| raw::trim(pad)) > 0)
}

/// Frees a block; the old name of `free`.
#[unsafe(no_mangle)]
unsafe extern "C" fn cfree(block: *mut c_void) {
    // SAFETY: the caller's contract is that of free.
    unsafe { family::release::<Library>(block) };
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
    family::zeroed(count.checked_mul(size))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __libc_realloc(block: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller's contract is that of realloc.
    unsafe { family::resize::<Library>(block, Some(size)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __libc_reallocarray(
    block: *mut c_void,
    count: usize,
    size: usize,
) -> *mut c_void {
    // SAFETY: the caller's contract is that of realloc.
    unsafe { family::resize::<Library>(block, count.checked_mul(size)) }
}

#[unsafe(no_mangle)]
extern "C" fn __libc_memalign(align: usize, size: usize) -> *mut c_void {
    family::aligned_rounding(align, size)
}

#[unsafe(no_mangle)]
extern "C" fn __libc_valloc(size: usize) -> *mut c_void {
    family::page_aligned(size)
}

#[unsafe(no_mangle)]
extern "C" fn __libc_pvalloc(size: usize) -> *mut c_void {
    family::whole_pages(size)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __posix_memalign(out: *mut *mut c_void, align: usize, size: usize) -> c_int {
    // SAFETY: the caller's contract is the same.
    unsafe { family::aligned_into(out, align, size) }
}

#[unsafe(no_mangle)]
extern "C" fn __libc_mallinfo() -> report::MallInfo {
    report::mallinfo()
}

#[unsafe(no_mangle)]
extern "C" fn __libc_mallopt(parameter: c_int, value: c_int) -> c_int {
    report::mallopt(parameter, value)
}
