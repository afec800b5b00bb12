//! The process that owns this memory. A child of `vfork` runs on it with another id.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::options::{ProcessPath, ReportPath};
use crate::os::thread;

static PROCESS: AtomicU32 = AtomicU32::new(0);
/// The id that the kernel gave. Checkpointing tools restart a process as one with another id, and
/// make the C library return the first one.
static KERNELS: AtomicU32 = AtomicU32::new(0);
/// The id of the process that read the options.
static FIRST_PROCESS: AtomicU32 = AtomicU32::new(0);

/// Records the process. Called before the first allocation is served.
pub(super) fn note_first() {
    note();
    FIRST_PROCESS.store(id(), Ordering::Relaxed);
}

/// Records the process. Called again in a forked child, which is another process.
pub(super) fn note() {
    PROCESS.store(id(), Ordering::Relaxed);
    KERNELS.store(thread::process_id(), Ordering::Relaxed);
}

/// Returns the id of the process if the kernel still gives the one that [`note`] recorded last, so
/// that the recorded numbers of its threads are theirs.
pub(super) fn kernels_id() -> Option<u32> {
    Some(thread::process_id()).filter(|&id| id == KERNELS.load(Ordering::Relaxed))
}

/// Returns whether the process is the one that [`note`] recorded last.
pub(super) fn is_own() -> bool {
    id() == PROCESS.load(Ordering::Relaxed)
}

/// Returns the id of the process.
pub(super) fn id() -> u32 {
    // SAFETY: getpid has no precondition.
    unsafe { libc::getpid() }.cast_unsigned()
}

/// Returns the path of a file that this process writes: another one than its parent's.
pub(super) fn own_path(path: &ReportPath) -> ProcessPath {
    path.of_process(id(), id() != FIRST_PROCESS.load(Ordering::Relaxed))
}
