//! Sleeping until a word changes, by the kernel's futex.

use core::ffi::c_int;
use core::sync::atomic::AtomicU32;

#[cfg(not(miri))]
use super::syscall::syscall;

/// Sleeps while `word` holds `value`, for at most `ms` milliseconds, fewer than 1000. Returns early
/// on a signal or without a reason.
pub(super) fn futex_wait_for(word: &AtomicU32, value: u32, ms: u32) {
    let time = libc::timespec { tv_sec: 0, tv_nsec: i64::from(ms) * 1_000_000 };
    futex(word, libc::FUTEX_WAIT, value, Some(&time));
}

/// Wakes one thread that sleeps on the word.
pub(crate) fn futex_wake_one(word: &AtomicU32) {
    futex(word, libc::FUTEX_WAKE, 1, None);
}

/// Makes a futex call on a word of this process.
#[cfg(not(miri))]
fn futex(word: &AtomicU32, operation: c_int, value: u32, time: Option<&libc::timespec>) {
    let operation = (operation | libc::FUTEX_PRIVATE_FLAG).cast_unsigned() as usize;
    let time = time.map_or(0, |time| core::ptr::from_ref(time).expose_provenance());
    let arguments = [word.as_ptr().expose_provenance(), operation, value as usize, time, 0, 0];
    // SAFETY: the word outlives the call; the kernel compares it or uses its address as a key.
    let _ = unsafe { syscall(libc::SYS_futex, arguments) };
}

/// Makes the call under Miri, which knows only the C library's function and checks the types.
#[cfg(miri)]
fn futex(word: &AtomicU32, operation: c_int, value: u32, time: Option<&libc::timespec>) {
    let operation = operation | libc::FUTEX_PRIVATE_FLAG;
    let time = time.map_or(core::ptr::null(), core::ptr::from_ref);
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, time) };
}
