//! Ends a deadlock between a fork and a thread that waits for the heap.
//!
//! The forking thread holds the heap's locks from its handler on. Afterwards `fork` takes locks of
//! the C library's (the list of fork handlers, the name service's data), and handlers that were
//! registered before hz3's take locks of other libraries. A thread that holds one of those may be
//! in `malloc` and wait for the heap: neither thread would ever go on.
//!
//! So a thread that waits for a lock of the heap checks now and then whether the forking thread is
//! asleep. If it is, the waiting thread releases the heap's locks in its place. The parent goes on
//! as if nothing had happened. The child may have been copied in the middle of an operation, so the
//! heap is closed there, as after a fork in a signal handler.
//!
//! The child must know whether its copy of the heap is whole. While the kernel copies a process,
//! its other threads run and may write to pages that are not copied yet: the child could see an
//! early state and late contents. The kernel holds the lock of the address space while it copies,
//! and `mmap` waits for that lock. So the state becomes [`BREAKING`] first, then one page is
//! mapped, and then the locks are released. A copy that began before the state changed is complete
//! by then, and shows the heap at rest. A copy that begins later shows the new state.

use core::ffi::CStr;
use core::fmt::Write;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use super::Os;
use super::futex::futex_wait_for;
use super::linux::Linux;
use super::syscall::syscall;
use crate::base::fixed_buffer::FixedBuffer;

/// The lowest two bits of [`STATE`]; the others count the forks.
const PHASE: u32 = 3;
/// No fork is under way, or it does not hold the locks yet.
const NONE: u32 = 0;
/// The forking thread holds all locks of the heap, and the heap is at rest.
const HELD: u32 = 1;
/// Another thread is about to release the locks.
const BREAKING: u32 = 2;
/// Another thread released the locks.
const BROKEN: u32 = 3;

/// Milliseconds between two checks. A fork is broken after at least twice that time.
pub(super) const WAIT_MS: u32 = 50;
/// Milliseconds of one sleep while another thread breaks the caller's fork.
const BREAKING_MS: u32 = 5;
/// How long a fork is left alone if /proc does not say whether its thread is asleep, in
/// milliseconds.
const UNKNOWN_MS: u64 = 2000;

static STATE: AtomicU32 = AtomicU32::new(NONE);
/// The forking thread's number.
static FORKER: AtomicU32 = AtomicU32::new(0);
/// A `fn()` that releases the heap's locks; null before the first fork.
static RELEASE: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Notes that the calling thread, which is about to fork, holds all locks of the heap. `release`
/// releases them, on whichever thread it is called. One fork at a time.
pub(crate) fn begin(release: fn()) {
    // SAFETY: gettid takes no arguments.
    let forker = unsafe { syscall(libc::SYS_gettid, [0; 6]) }.unwrap_or(0);
    FORKER.store(u32::try_from(forker).unwrap_or(0), Ordering::Relaxed);
    RELEASE.store(release as *mut (), Ordering::Relaxed);
    let number = (STATE.load(Ordering::Relaxed) & !PHASE).wrapping_add(PHASE + 1);
    // Release pairs with the acquire load in `Watch::check`, whose thread may release the locks:
    // all that was done under them happened before.
    STATE.store(number | HELD, Ordering::Release);
}

/// Ends [`begin`] in the parent. Returns whether the calling thread still holds the locks.
pub(crate) fn end() -> bool {
    loop {
        let state = STATE.load(Ordering::Relaxed);
        let over = state & !PHASE | NONE;
        match state & PHASE {
            HELD => {
                // A thread that breaks the fork begins with an exchange too, so only one succeeds.
                if STATE.compare_exchange(state, over, Ordering::Relaxed, Ordering::Relaxed).is_ok()
                {
                    return true;
                }
            }
            // A few system calls of another thread.
            BREAKING => futex_wait_for(&STATE, state, BREAKING_MS),
            _ => {
                STATE.store(over, Ordering::Relaxed);
                return false;
            }
        }
    }
}

/// Ends [`begin`] in the child. Returns false if another thread released the locks or was about to:
/// the heap may be in the middle of an operation.
pub(crate) fn end_in_child() -> bool {
    let state = STATE.load(Ordering::Relaxed);
    STATE.store(state & !PHASE | NONE, Ordering::Relaxed);
    !matches!(state & PHASE, BREAKING | BROKEN)
}

/// The observations of a thread that waits for a heap lock: does the fork that may hold it go on?
pub(super) struct Watch {
    /// [`STATE`] at the last check.
    state: u32,
    /// When that was first seen, in milliseconds.
    since_ms: u64,
    /// Whether the forking thread was asleep at the last check.
    was_asleep: bool,
}

impl Watch {
    pub(super) const fn new() -> Watch {
        Watch { state: NONE, since_ms: 0, was_asleep: false }
    }

    /// Checks on the fork, after each sleep. Releases the locks if the forking thread was asleep at
    /// two checks, at least [`WAIT_MS`] apart.
    #[cold]
    pub(super) fn check(&mut self) {
        // Acquire pairs with the release store in `begin`.
        let state = STATE.load(Ordering::Acquire);
        if state & PHASE != HELD {
            return;
        }
        let now = Linux.now_ms();
        if state != self.state {
            *self = Watch { state, since_ms: now, was_asleep: false };
            return;
        }
        let waited_ms = now.saturating_sub(self.since_ms);
        if waited_ms < u64::from(WAIT_MS) * (1 + u64::from(self.was_asleep)) {
            return;
        }
        let is_asleep =
            is_asleep(FORKER.load(Ordering::Relaxed)).unwrap_or(waited_ms >= UNKNOWN_MS);
        if is_asleep && self.was_asleep {
            break_fork(state);
        }
        self.was_asleep = is_asleep;
    }
}

/// Releases the locks of the fork with this state, unless it is over.
fn break_fork(state: u32) {
    let number = state & !PHASE;
    let breaking = number | BREAKING;
    if STATE.compare_exchange(state, breaking, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return;
    }
    if !wait_for_copies() {
        // An exchange, so that an acquire load of this value still pairs with `begin`.
        STATE.swap(state, Ordering::Relaxed);
        return;
    }
    let release = RELEASE.load(Ordering::Relaxed);
    // SAFETY: null or a `fn()`, which `begin` stored before the state.
    let release = unsafe { core::mem::transmute::<*mut (), Option<fn()>>(release) };
    if let Some(release) = release {
        release();
    }
    STATE.store(number | BROKEN, Ordering::Relaxed);
}

/// Waits until the kernel has finished a copy of this address space that is under way. Returns
/// false if the system refuses.
fn wait_for_copies() -> bool {
    let (bytes, protection) = (Linux.page_size(), libc::PROT_NONE.cast_unsigned() as usize);
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS).cast_unsigned() as usize;
    // SAFETY: without MAP_FIXED, mmap touches no existing mapping.
    let page = unsafe { syscall(libc::SYS_mmap, [0, bytes, protection, flags, usize::MAX, 0]) };
    let Ok(page) = page else { return false };
    // SAFETY: the page was just mapped, and nobody knows of it.
    let _ = unsafe { syscall(libc::SYS_munmap, [page, bytes, 0, 0, 0, 0]) };
    true
}

/// Returns whether a thread of the process sleeps; `None` if /proc does not say.
fn is_asleep(thread: u32) -> Option<bool> {
    let mut path = FixedBuffer::<48>::new();
    // The number has at most ten digits, so nothing is cut off.
    let _ = write!(path, "/proc/self/task/{thread}/stat\0");
    let mut text = [0u8; 128];
    let path = CStr::from_bytes_with_nul(path.as_bytes()).ok()?;
    let read = read_start(path, &mut text)?;
    state_letter(text.get(..read)?).map(|letter| letter == b'S')
}

/// Returns the state in a line of `/proc/PID/stat`: the letter after the name, which may contain
/// any characters.
fn state_letter(line: &[u8]) -> Option<u8> {
    let end = line.iter().rposition(|&byte| byte == b')')?;
    line.get(end + 2).copied()
}

/// Reads the start of a file into `room` and returns the number of bytes.
fn read_start(path: &CStr, room: &mut [u8]) -> Option<usize> {
    let directory = libc::AT_FDCWD.cast_unsigned() as usize;
    let flags = (libc::O_RDONLY | libc::O_CLOEXEC).cast_unsigned() as usize;
    let path = path.as_ptr().expose_provenance();
    // SAFETY: the path is a terminated string.
    let file = unsafe { syscall(libc::SYS_openat, [directory, path, flags, 0, 0, 0]) }.ok()?;
    let (start, bytes) = (room.as_mut_ptr().expose_provenance(), room.len());
    // SAFETY: the kernel writes at most `bytes` bytes into the room.
    let read = unsafe { syscall(libc::SYS_read, [file, start, bytes, 0, 0, 0]) };
    // SAFETY: the file was opened here and is not used again.
    let _ = unsafe { syscall(libc::SYS_close, [file, 0, 0, 0, 0, 0]) };
    read.ok()
}

#[cfg(test)]
mod tests {
    use super::{is_asleep, state_letter};

    #[test]
    fn the_state_follows_the_name() {
        assert_eq!(state_letter(b"12 (name) S 1 12"), Some(b'S'));
        assert_eq!(state_letter(b"12 (a) R (b)) D 1 12"), Some(b'D'));
        assert_eq!(state_letter(b"12 (cut o"), None);
        assert_eq!(state_letter(b"12 (name)"), None);
        assert_eq!(state_letter(b""), None);
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no /proc")]
    fn threads_are_seen_asleep_and_awake() {
        // SAFETY: gettid has no precondition.
        let gettid = || u32::try_from(unsafe { libc::gettid() }).expect("a thread's number");
        assert_eq!(is_asleep(gettid()), Some(false), "it runs this test");
        let (send, receive) = std::sync::mpsc::channel();
        let (end, wait) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                send.send(gettid()).expect("the test waits");
                let _ = wait.recv();
            });
            let other = receive.recv().expect("the thread sends its number");
            while is_asleep(other) != Some(true) {
                std::thread::yield_now();
            }
            drop(end);
        });
        assert_eq!(is_asleep(u32::MAX), None, "no such thread");
    }
}
