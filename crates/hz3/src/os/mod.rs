//! The operating system's calls that the allocator needs, and the lock.
//!
//! The states of a range of the arena's window:
//!
//! ```text
//!              commit                purge
//!  unmapped ----------> committed ----------> committed, and reads as zero
//!                       (read, write)         (the same state: a write makes it dirty again)
//! ```
//!
//! The window is address space that hz3 chose while no mapping used it. An uncommitted range is not
//! mapped, so it costs no address space, no commit charge and no space in a core file. A foreign
//! mapping may take a part of it; then `commit` fails with `Occupied`. A committed range stays
//! mapped until the process ends; only its memory goes back to the kernel.

pub(crate) mod errno;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod fatal;
pub(crate) mod futex;
pub(crate) mod held;
pub(crate) mod linux;
pub(crate) mod lock;
mod lock_list;
pub(crate) mod order;
pub(crate) mod pin;
pub(crate) mod rank;
pub(crate) mod static_tls;
pub(crate) mod stdio;
pub(crate) mod stuck_fork;
pub(crate) mod syscall;
pub(crate) mod thread;
pub(crate) mod weak;

use core::ptr::NonNull;

/// A range of bytes, both ends aligned to the OS page size unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) start: NonNull<u8>,
    pub(crate) bytes: usize,
}

/// The error of a refused system call; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// The reason why a range of the window was not committed; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotCommitted {
    /// A foreign mapping lies there.
    Occupied,
    /// The system refused.
    Refused,
}

impl From<NotCommitted> for Refused {
    fn from(_: NotCommitted) -> Refused {
        Refused
    }
}

/// The operating system's interface for the allocator.
///
/// Every call may fail, and none allocates from the heap. Only `purge` gives memory of the arena
/// back; `unmap` gives back mappings outside the arena.
pub(crate) trait Os: Sync {
    /// Returns the bytes of an OS page: a power of two, at least 4096.
    fn page_size(&self) -> usize;

    /// Returns the most memory that the process could use, in bytes: the machine's memory and swap,
    /// or the limit on the process's address space if that is lower.
    fn memory_bytes(&self) -> usize;

    /// Chooses an unused window of address space for the arena, aligned to a chunk.
    fn choose_window(&self, bytes: usize) -> Option<NonNull<u8>>;

    /// Makes a range of the window usable; it reads as zero.
    ///
    /// # Safety
    /// The range lies in the window and was never committed.
    unsafe fn commit(&self, span: Span) -> Result<(), NotCommitted>;

    /// Gives the memory of a committed range back. The range reads as zero afterwards; after a
    /// refusal its contents are undefined.
    ///
    /// # Safety
    /// The range is committed or mapped, and no other thread reads or writes it during the call.
    unsafe fn purge(&self, span: Span) -> Result<(), Refused>;

    /// Prefaults a range, as writes to all its pages would; its contents stay.
    ///
    /// # Safety
    /// The range is committed.
    unsafe fn prefault(&self, span: Span) -> Result<(), Refused>;

    /// Advises the kernel to use huge pages in a range, which consists of whole huge pages.
    ///
    /// # Safety
    /// The range is committed.
    unsafe fn prefer_huge(&self, span: Span) -> Result<(), Refused>;

    /// Advises the kernel to use small pages in the range of one huge page, and splits a huge page
    /// there. Then a purge of a part gives that part's memory back.
    ///
    /// # Safety
    /// The range is committed.
    unsafe fn prefer_small(&self, span: Span) -> Result<(), Refused>;

    /// Moves the memory of a committed range into a mapping outside the arena, without copying. The
    /// range reads as zero afterwards; [`Os::unmap`] ends the mapping.
    ///
    /// # Safety
    /// As for [`Os::purge`].
    unsafe fn move_out(&self, span: Span) -> Option<NonNull<u8>>;

    /// Maps zeroed memory outside the arena, at a multiple of `align` (a power of two).
    fn map(&self, bytes: usize, align: usize) -> Option<NonNull<u8>>;

    /// Changes the length of a mapping made by [`Os::map`]; may move it.
    ///
    /// # Safety
    /// The span is such a mapping and belongs to the caller, which uses no pointer into it
    /// afterwards.
    unsafe fn resize(&self, span: Span, bytes: usize) -> Option<NonNull<u8>>;

    /// Unmaps a mapping made by [`Os::map`].
    ///
    /// # Safety
    /// The span is such a mapping and is not used any more.
    unsafe fn unmap(&self, span: Span);

    /// Maps address space outside the arena that is inaccessible until [`Os::open`].
    fn map_closed(&self, bytes: usize) -> Option<NonNull<u8>>;

    /// Makes a closed range readable and writable.
    ///
    /// # Safety
    /// The range lies in a mapping of [`Os::map_closed`] and belongs to the caller.
    unsafe fn open(&self, span: Span) -> Result<(), Refused>;

    /// Makes an open range inaccessible and gives its memory back. After a refusal it is open.
    ///
    /// # Safety
    /// As for [`Os::open`]; nothing but a faulty program uses the range any more.
    unsafe fn close(&self, span: Span) -> Result<(), Refused>;

    /// Returns the resident bytes of a range, which is committed or mapped; 0 if unknown.
    fn resident_bytes(&self, span: Span) -> usize;

    /// Returns the number of CPUs that this process may run on, at least 1.
    fn cpus(&self) -> usize;

    /// Returns the CPU that this thread runs on; only a hint.
    fn cpu(&self) -> usize;

    /// Returns the nanoseconds of a monotonic clock.
    fn now_ns(&self) -> u64;

    /// Returns the milliseconds of the same clock.
    fn now_ms(&self) -> u64 {
        self.now_ns() / 1_000_000
    }

    /// Returns the CPU time of the process, in milliseconds.
    fn cpu_ms(&self) -> u64;

    /// Runs a full memory barrier on every thread of the process; returns false if the system has
    /// none.
    fn barrier(&self) -> bool;
}
