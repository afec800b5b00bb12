//! A thread that the C library does not know.
//!
//! `pthread_create` takes locks of the C library, and `free` may be called with one of them held:
//! glibc frees the memory of an ended thread's stack under the lock of its stacks, which
//! `pthread_create` takes too. So a slow path, which may run in any call of `malloc` and `free`,
//! can't use it. `clone` takes no lock and allocates nothing. A thread made by it is also none of
//! those that the C library waits for when `main` ends by `pthread_exit`.
//!
//! The price: the thread has no thread-local memory. Its thread pointer is null, so that an access
//! faults at once instead of reaching another thread's words; it makes its system calls by
//! [`super::syscall`], and calls nothing of the C library but `memcpy` and its kin. The C library's
//! `setuid` does not reach it either: it keeps the credentials that its creator had, and makes no
//! call that asks for them.

use core::ffi::{c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use super::linux::Linux;
use super::syscall::syscall;
#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
use super::weak::weak_address;

/// The stack, in bytes: the thread calls nothing deep.
const STACK_BYTES: usize = 128 * 1024;
/// What lies below the stack and can't be accessed: as much as a page of any system has.
const GUARD_BYTES: usize = 64 * 1024;
/// What the C library's own threads share, so that a filter of system calls finds nothing strange.
const SHARED: c_int = libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM
    | libc::CLONE_SETTLS
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID;
/// All 64 signals, the C library's own among them.
const ALL_SIGNALS: u64 = u64::MAX;

/// The end of the stack. It stays mapped: a forked child uses its copy again.
static STACK_END: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
/// The thread's number, which the kernel writes; 0 when there is none.
static THREAD: AtomicU32 = AtomicU32::new(0);

/// Starts the process's one such thread, with all signals blocked; false when the system has none
/// to give, or when the program is instrumented by a sanitizer, whose calls need thread-local memory.
/// `run` gets a null pointer, and the thread ends when it returns.
///
/// # Safety
/// No such thread runs in this process. `run` uses no thread-local memory.
pub(crate) unsafe fn start(run: extern "C" fn(*mut c_void) -> c_int) -> bool {
    if is_instrumented() {
        return false;
    }
    let Some(stack_end) = stack_end() else { return false };
    let before = block_signals(ALL_SIGNALS);
    let thread = THREAD.as_ptr();
    let null = ptr::null_mut::<c_void>();
    // SAFETY: the stack is mapped and nobody else's; the number's place is static.
    let made =
        unsafe { libc::clone(run, stack_end.as_ptr().cast(), SHARED, null, thread, null, thread) };
    block_signals(before);
    made >= 0
}

/// Whether the calling thread is the one that [`start`] made.
pub(crate) fn is_current() -> bool {
    // SAFETY: gettid has no precondition.
    let current = unsafe { syscall(libc::SYS_gettid, [0; 6]) };
    current.ok() == usize::try_from(THREAD.load(Ordering::Relaxed)).ok()
}

/// In a forked child, which has no such thread yet; its number may come to be another thread's.
pub(crate) fn forget() {
    THREAD.store(0, Ordering::Relaxed);
}

/// Names the calling thread; for the kernel and what lists its threads.
pub(crate) fn set_name(name: &core::ffi::CStr) {
    let [option, address] = [libc::PR_SET_NAME as usize, name.as_ptr().expose_provenance()];
    // SAFETY: the name is terminated; the kernel copies at most 16 bytes.
    let _ = unsafe { syscall(libc::SYS_prctl, [option, address, 0, 0, 0, 0]) };
}

/// Sleeps for so many milliseconds, or until a signal comes.
pub(crate) fn sleep_ms(ms: u32) {
    let time =
        libc::timespec { tv_sec: i64::from(ms / 1000), tv_nsec: i64::from(ms % 1000) * 1_000_000 };
    let address = (&raw const time).expose_provenance();
    // SAFETY: the structure is valid; the time that is left is not asked for.
    let _ = unsafe { syscall(libc::SYS_nanosleep, [address, 0, 0, 0, 0, 0]) };
}

/// Blocks these signals and no others for the calling thread. Returns those blocked before.
pub(super) fn block_signals(signals: u64) -> u64 {
    let mut before = 0u64;
    let how = libc::SIG_SETMASK as usize;
    let (new, old) =
        ((&raw const signals).expose_provenance(), (&raw mut before).expose_provenance());
    // SAFETY: both sets are valid and have the kernel's size.
    let _ = unsafe { syscall(libc::SYS_rt_sigprocmask, [how, new, old, size_of::<u64>(), 0, 0]) };
    before
}

/// The end of the stack, mapped on first use. One thread at a time comes here.
fn stack_end() -> Option<ptr::NonNull<u8>> {
    let known = STACK_END.load(Ordering::Relaxed);
    if known.is_null() {
        let end = Linux::map_stack(GUARD_BYTES, STACK_BYTES)?;
        STACK_END.store(end.as_ptr(), Ordering::Relaxed);
        return Some(end);
    }
    ptr::NonNull::new(known)
}

/// Whether the program carries the run-time library of a sanitizer: all have this function.
#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
fn is_instrumented() -> bool {
    weak_address!("__sanitizer_set_death_callback") != 0
}

/// No thread runs without thread-local memory here.
#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
fn is_instrumented() -> bool {
    true
}
