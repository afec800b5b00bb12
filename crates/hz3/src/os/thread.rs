//! The reclaimer's thread: an ordinary, detached thread of the C library.
//!
//! Being one matters to programs: `setuid` reaches it, the hooks that MPI and RDMA libraries put on
//! `madvise` run in it, sanitizers and debuggers know it. What a program could notice of it is kept
//! as small as possible: it takes no signal that was sent to the process, runs as ordinary work on
//! the CPUs that the process had at its start whoever started it, and its name tells what it is.

use core::ffi::{c_int, c_long, c_void};
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::syscall::syscall;

/// The stack, in bytes. The thread itself needs a few KiB; the rest is for exit handlers of the
/// program, which the C library runs in the last thread that ends.
const STACK_BYTES: usize = 512 * 1024;
/// Words of an affinity mask: room for 4096 CPUs.
const CPU_WORDS: usize = 64;
/// Faults, aborts and filters of system calls concern the thread that they happen in; libcap also
/// sends SIGSYS to every thread and waits for the answer.
const OWN_SIGNALS: [c_int; 7] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
];

/// The CPUs that the process could use at its start; all zero when the kernel did not say.
static CPUS: [AtomicU64; CPU_WORDS] = [const { AtomicU64::new(0) }; CPU_WORDS];
/// Bytes of [`CPUS`] that the kernel filled.
static CPU_BYTES: AtomicU32 = AtomicU32::new(0);

/// Notes the CPUs that the process may use now: those that the thread will run on.
pub(crate) fn note_cpus() {
    let bytes = size_of_val(&CPUS);
    let arguments = [0, bytes, CPUS.as_ptr().expose_provenance(), 0, 0, 0];
    // SAFETY: the kernel writes at most `bytes` bytes into the words, which nobody reads yet.
    let filled = unsafe { syscall(libc::SYS_sched_getaffinity, arguments) }.unwrap_or(0);
    CPU_BYTES.store(u32::try_from(filled).unwrap_or(0), Ordering::Relaxed);
}

/// Starts a detached thread that calls `run` with `argument`. False when none can be had.
///
/// The C library allocates meanwhile, and takes the lock of its list of stacks: the caller holds no
/// lock of hz3's and was not called by the C library.
pub(crate) fn start(run: extern "C" fn(*mut c_void) -> *mut c_void, argument: *mut c_void) -> bool {
    super::order::may_call("pthread_create");
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let place = attributes.as_mut_ptr();
    // SAFETY: initializes the attributes.
    if unsafe { libc::pthread_attr_init(place) } != 0 {
        return false;
    }
    // SAFETY: the attributes are initialized.
    unsafe { libc::pthread_attr_setdetachstate(place, libc::PTHREAD_CREATE_DETACHED) };
    // SAFETY: as above.
    unsafe { libc::pthread_attr_setstacksize(place, STACK_BYTES) };
    // A thread starts with its creator's mask.
    let before = set_signals(&signals());
    let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
    // SAFETY: the attributes are initialized, and `run` is a thread's function.
    let made = unsafe { libc::pthread_create(thread.as_mut_ptr(), place, run, argument) } == 0;
    set_signals(&before);
    // SAFETY: the attributes are initialized and not used again.
    unsafe { libc::pthread_attr_destroy(place) };
    made
}

/// Makes the calling thread what its module says. Each call may be refused: nothing depends on it.
pub(crate) fn settle_in(name: &core::ffi::CStr) {
    let real_time = [libc::SCHED_FIFO, libc::SCHED_RR];
    // SAFETY: asks for the calling thread's policy.
    if real_time.contains(&unsafe { libc::sched_getscheduler(0) }) {
        // Priority 0; musl's structure has more fields.
        let ordinary = MaybeUninit::<libc::sched_param>::zeroed();
        let address = ordinary.as_ptr().expose_provenance();
        call(libc::SYS_sched_setscheduler, [0, libc::SCHED_OTHER as usize, address]);
    }
    let bytes = CPU_BYTES.load(Ordering::Relaxed) as usize;
    if bytes > 0 {
        call(libc::SYS_sched_setaffinity, [0, bytes, CPUS.as_ptr().expose_provenance()]);
    }
    // Last: a thread with that name is what it will be.
    call(libc::SYS_prctl, [libc::PR_SET_NAME as usize, name.as_ptr().expose_provenance(), 0]);
}

/// Sleeps until `word` is not `value`, a wake-up, a signal, or so many milliseconds have passed.
/// Returns whether it slept or had a reason not to; false when the system refuses to let it sleep.
pub(crate) fn sleep(word: &AtomicU32, value: u32, ms: u32) -> bool {
    let time =
        libc::timespec { tv_sec: i64::from(ms / 1000), tv_nsec: i64::from(ms % 1000) * 1_000_000 };
    let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    let limit = &raw const time;
    // SAFETY: the word outlives the call, and the time is valid.
    let refused = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, limit) };
    let expected = [libc::EAGAIN, libc::EINTR, libc::ETIMEDOUT];
    if refused == 0 || expected.contains(&errno()) {
        return true;
    }
    // A filter of system calls: without the futex the thread can't be woken early.
    // SAFETY: the time is valid; what is left of it is not asked for.
    unsafe { libc::nanosleep(&raw const time, ptr::null_mut()) == 0 || errno() == libc::EINTR }
}

fn errno() -> c_int {
    // SAFETY: the C library returns the address of this thread's errno.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: it is valid while the thread runs.
    unsafe { place.read() }
}

/// Makes a system call whose arguments are valid and whose failure does not matter.
fn call(number: c_long, [first, second, third]: [usize; 3]) {
    // SAFETY: only called above, with valid arguments.
    let _ = unsafe { syscall(number, [first, second, third, 0, 0, 0]) };
}

/// All signals but the thread's own, and but those that the C library keeps for itself.
fn signals() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: initializes the set.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    for signal in OWN_SIGNALS {
        // SAFETY: the set is initialized and the signal exists.
        unsafe { libc::sigdelset(set.as_mut_ptr(), signal) };
    }
    // SAFETY: initialized above.
    unsafe { set.assume_init() }
}

/// Sets the calling thread's mask of blocked signals. Returns the one before.
fn set_signals(set: &libc::sigset_t) -> libc::sigset_t {
    let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: both sets are valid.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, set, before.as_mut_ptr()) };
    // SAFETY: written by the call; zero is valid too.
    unsafe { before.assume_init() }
}
