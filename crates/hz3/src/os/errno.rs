//! Reads and writes the calling thread's `errno`.

use core::ffi::c_int;

/// Returns the error number of the last call of the C library that failed.
pub(crate) fn get() -> c_int {
    // SAFETY: the C library returns the address of this thread's errno.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the address is valid while the thread runs.
    unsafe { errno.read() }
}

/// Sets the error number.
pub(crate) fn set(value: c_int) {
    // SAFETY: the C library returns the address of this thread's errno.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the address is valid while the thread runs.
    unsafe { errno.write(value) };
}
