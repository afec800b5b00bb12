//! A malloc that is broken on purpose: of every BREAK_EVERY-th pair of requests for 16 to 1024
//! bytes, both get the same block. Everything else goes to the C library; free of the shared block
//! is ignored, so that only the workload's own check can notice.

use std::ffi::c_void;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_free(block: *mut c_void);
    fn getenv(name: *const i8) -> *const i8;
}

static CALLS: AtomicUsize = AtomicUsize::new(0);
static SHARED: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

fn is_broken_call() -> bool {
    // SAFETY: a C string literal; getenv does not allocate.
    if unsafe { getenv(c"BREAK_EVERY".as_ptr()) }.is_null() {
        return false;
    }
    // No divisor in common with twenty: `holes` looks at every twentieth block alone.
    CALLS.fetch_add(1, Ordering::Relaxed) % 2999 >= 2997
}

/// The one block that all broken calls get. The two calls of the first pair may come from two
/// threads at once; the later thread then takes the block of the earlier one.
fn shared() -> *mut c_void {
    let known = SHARED.load(Ordering::Relaxed);
    if !known.is_null() {
        return known;
    }
    // SAFETY: the C library's own malloc takes any size.
    let fresh = unsafe { __libc_malloc(1024) };
    match SHARED.compare_exchange(known, fresh, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => fresh,
        Err(winner) => winner,
    }
}

#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut c_void {
    if (16..=1024).contains(&size) && is_broken_call() {
        return shared();
    }
    // SAFETY: as above.
    unsafe { __libc_malloc(size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn free(block: *mut c_void) {
    if block != SHARED.load(Ordering::Relaxed) || block.is_null() {
        // SAFETY: handed through from the caller.
        unsafe { __libc_free(block) };
    }
}
