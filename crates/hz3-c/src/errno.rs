//! Preserves the calling thread's `errno`, and sets it when an allocation fails.

use core::ffi::{c_int, c_void};
use core::ptr;

/// The largest request in bytes, as in glibc: pointer differences in a block fit `ptrdiff_t`.
const MAX_REQUEST: usize = isize::MAX.cast_unsigned();

/// Runs `call` and restores `errno`, which system calls inside may change.
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

/// Runs an allocation of `size` bytes and preserves `errno`; returns NULL on failure.
pub(crate) fn request(size: usize, allocate: impl FnOnce() -> *mut u8) -> *mut c_void {
    if size > MAX_REQUEST {
        return ptr::null_mut();
    }
    keeping_errno(allocate).cast()
}

/// Sets `errno` to `ENOMEM` if the block is NULL; returns the block.
pub(crate) fn or_enomem(block: *mut c_void) -> *mut c_void {
    if block.is_null() {
        set_errno(libc::ENOMEM);
    }
    block
}
