//! Starts the reclaimer's thread, a detached thread of the C library, and sets it up.
//!
//! Programs rely on a thread that the C library knows: `setuid` reaches it, the hooks of MPI and
//! RDMA libraries on `madvise` run in it, and sanitizers and debuggers know it. It disturbs the
//! program as little as possible. It takes no signal that was sent to the process. It runs with
//! ordinary priority on the CPUs that the process had at its start, whichever thread started it.
//! Its name says that it belongs to hz3.

use core::ffi::{c_int, c_long, c_void};
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::errno;
use super::syscall::{syscall, syscall_error};
use super::weak::weak_address;

/// The size of the stack in bytes. The thread itself needs a few KiB. The rest is for the program's
/// exit handlers, which the C library runs in the last thread that ends.
const STACK_BYTES: usize = 512 * 1024;
/// Words of an affinity mask of 4096 CPUs.
pub(super) const CPU_WORDS: usize = 64;
/// Signals that the thread does not block. Faults, aborts and filtered system calls concern the
/// thread that caused them; libcap also sends SIGSYS to every thread and waits for the answer.
const OWN_SIGNALS: [c_int; 7] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
];

/// The CPUs that the process could use at its start; all zeros if the kernel refused.
static CPUS: [AtomicU64; CPU_WORDS] = [const { AtomicU64::new(0) }; CPU_WORDS];
/// How many bytes of [`CPUS`] the kernel wrote.
static CPU_BYTES: AtomicU32 = AtomicU32::new(0);

/// Records the CPUs that the process may use now; the thread will run on these.
pub(crate) fn note_cpus() {
    let bytes = size_of_val(&CPUS);
    let arguments = [0, bytes, CPUS.as_ptr().expose_provenance(), 0, 0, 0];
    // SAFETY: the kernel writes at most `bytes` bytes into the words, which no thread reads yet.
    let filled = unsafe { syscall(libc::SYS_sched_getaffinity, arguments) }.unwrap_or(0);
    CPU_BYTES.store(u32::try_from(filled).unwrap_or(0), Ordering::Relaxed);
}

/// Returns whether the C library knows that the process has no other thread. musl and glibc before
/// 2.32 do not say.
pub(crate) fn is_only() -> bool {
    let flag: *const AtomicU8 =
        ptr::with_exposed_provenance(weak_address!("__libc_single_threaded"));
    // SAFETY: null, or a byte of glibc's that is 1 as long as there is one thread.
    unsafe { flag.as_ref() }.is_some_and(|flag| flag.load(Ordering::Relaxed) != 0)
}

/// Starts a detached thread that calls `run` with `argument`; returns false if that fails.
///
/// The C library allocates meanwhile and takes the lock of its list of stacks. So the caller must
/// hold no lock of hz3, and the C library must not have called hz3.
pub(crate) fn start(run: extern "C" fn(*mut c_void) -> *mut c_void, argument: *mut c_void) -> bool {
    super::order::check_may_call("pthread_create");
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
    // A thread starts with its creator's signal mask.
    let before = set_signals(&signals());
    let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
    // SAFETY: the attributes are initialized, and `run` is a thread's function.
    let made = unsafe { libc::pthread_create(thread.as_mut_ptr(), place, run, argument) } == 0;
    set_signals(&before);
    // SAFETY: the attributes are initialized and not used again.
    unsafe { libc::pthread_attr_destroy(place) };
    made
}

/// Gives the calling thread ordinary priority, the CPUs of [`note_cpus`] and a name. The system may
/// refuse each call; hz3 does not depend on them.
pub(crate) fn set_up(name: &core::ffi::CStr) {
    let real_time = [libc::SCHED_FIFO, libc::SCHED_RR];
    // SAFETY: the call only reads the calling thread's policy.
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
    // The name comes last: it shows that the thread is set up.
    call(libc::SYS_prctl, [libc::PR_SET_NAME as usize, name.as_ptr().expose_provenance(), 0]);
}

/// Returns the kernel's id of the calling thread, in its own namespace.
pub(crate) fn id() -> u32 {
    number(libc::SYS_gettid)
}

/// Returns the kernel's id of the process, in its own namespace; 0 if the kernel does not say.
pub(crate) fn process_id() -> u32 {
    number(libc::SYS_getpid)
}

/// Makes a call that has no argument and changes nothing. Returns its number; 0 if there is none.
fn number(which: c_long) -> u32 {
    // SAFETY: the call has no argument.
    let id = unsafe { syscall(which, [0; 6]) };
    id.ok().and_then(|id| u32::try_from(id).ok()).unwrap_or(0)
}

/// Returns whether a process has no thread with this number; false if the kernel does not say.
pub(crate) fn is_gone(process: u32, thread: u32) -> bool {
    // SAFETY: signal 0 is none; the kernel only looks for the thread.
    let sent =
        unsafe { syscall_error(libc::SYS_tgkill, [process as usize, thread as usize, 0, 0, 0, 0]) };
    sent == Err(libc::ESRCH)
}

/// Sleeps while `word` holds `value`, until a wake-up, a signal, or at most `ms` milliseconds.
///
/// Returns false only if the system refuses to let the thread sleep.
pub(crate) fn sleep(word: &AtomicU32, value: u32, ms: u32) -> bool {
    let time =
        libc::timespec { tv_sec: i64::from(ms / 1000), tv_nsec: i64::from(ms % 1000) * 1_000_000 };
    let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    let limit = &raw const time;
    // SAFETY: the word outlives the call, and the time is valid.
    let refused = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, limit) };
    let expected = [libc::EAGAIN, libc::EINTR, libc::ETIMEDOUT];
    if refused == 0 || expected.contains(&errno::get()) {
        return true;
    }
    // A filter of system calls refuses the futex, so the thread cannot be woken early.
    // SAFETY: the time is valid; the remaining time is not asked for.
    let slept = unsafe { libc::nanosleep(&raw const time, ptr::null_mut()) } == 0;
    slept || errno::get() == libc::EINTR
}

/// Makes a system call with valid arguments and ignores its result.
fn call(number: c_long, [first, second, third]: [usize; 3]) {
    // SAFETY: only called above, with valid arguments.
    let _ = unsafe { syscall(number, [first, second, third, 0, 0, 0]) };
}

/// Returns all signals except [`OWN_SIGNALS`] and those that the C library reserves.
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

/// Sets the calling thread's mask of blocked signals; returns the previous mask.
fn set_signals(set: &libc::sigset_t) -> libc::sigset_t {
    let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: both sets are valid.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, set, before.as_mut_ptr()) };
    // SAFETY: the call has written the set; all zeros would be valid too.
    unsafe { before.assume_init() }
}
