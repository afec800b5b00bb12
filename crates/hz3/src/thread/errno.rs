//! The calling thread's `errno`.

use core::ffi::c_int;

/// Returns the error of the last call of the C library that failed.
pub(super) fn get() -> c_int {
    // SAFETY: the C library returns the address of this thread's errno.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: it is valid while the thread runs.
    unsafe { errno.read() }
}

/// Sets the error.
pub(super) fn set(value: c_int) {
    // SAFETY: the C library returns the address of this thread's errno.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: it is valid while the thread runs.
    unsafe { errno.write(value) };
}
