//! glibc's own functions beside the family, and the `__libc_` names that programs bind to.

use core::ffi::{c_int, c_void};

use hz3_alloc::raw::{self, family};

use crate::family::Library;
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

hz3_alloc::malloc_functions! {
    Library;
    malloc = __libc_malloc,
    free = __libc_free,
    calloc = __libc_calloc,
    realloc = __libc_realloc,
    reallocarray = __libc_reallocarray,
    posix_memalign = __posix_memalign,
    memalign = __libc_memalign,
    valloc = __libc_valloc,
    pvalloc = __libc_pvalloc,
}

#[unsafe(no_mangle)]
extern "C" fn __libc_mallinfo() -> report::MallInfo {
    report::mallinfo()
}

#[unsafe(no_mangle)]
extern "C" fn __libc_mallopt(parameter: c_int, value: c_int) -> c_int {
    report::mallopt(parameter, value)
}
