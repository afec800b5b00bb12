//! The operating system as the allocator needs it, and the lock that sleeps in it.
//!
//! Life of a range of the arena's window, as [`Os`] sees it:
//!
//! ```text
//!              commit                purge
//!  unmapped ----------> committed ----------> committed, and reads as zero
//!                       (read, write)         (the same state: a write makes it dirty again)
//! ```
//!
//! The window is address space that hz3 chose and nobody used at that time. Nothing is mapped
//! there before it is committed, so it costs no address space, no commit charge and no room in a
//! core file, and somebody else may take a part of it first: `commit` then says so. A committed
//! range stays mapped until the process ends; what goes back to the kernel is the memory behind it.

#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod fatal;
pub(crate) mod held;
pub(crate) mod linux;
pub(crate) mod lock;
pub(crate) mod order;
pub(crate) mod pin;
pub(crate) mod rank;
pub(crate) mod stdio;
pub(crate) mod syscall;
pub(crate) mod thread;
pub(crate) mod weak;

use core::ptr::NonNull;

/// A range of bytes, aligned to the OS page size at both ends unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) start: NonNull<u8>,
    pub(crate) bytes: usize,
}

/// The OS refused; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// Why a range of the window was not committed; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotCommitted {
    /// Somebody else has a mapping there.
    Occupied,
    /// The OS refused.
    Refused,
}

impl From<NotCommitted> for Refused {
    fn from(_: NotCommitted) -> Refused {
        Refused
    }
}

/// What the allocator asks of the operating system.
///
/// Every call may fail and none allocates from the heap. `purge` is the only way in which memory
/// of the arena is given back; mappings of their own end by `unmap`.
pub(crate) trait Os: Sync {
    /// Bytes of an OS page: a power of two, at least 4096.
    fn page_size(&self) -> usize;

    /// Bytes of memory that the process could ever use: the machine's, with its swap, or the limit
    /// on the process's address space where that is less.
    fn memory_bytes(&self) -> usize;

    /// Chooses a window of address space that nobody uses, for the arena. Aligned to a chunk.
    fn choose_window(&self, bytes: usize) -> Option<NonNull<u8>>;

    /// Makes a range of the window usable; it reads as zero.
    ///
    /// # Safety
    /// The range lies in the window and was never committed.
    unsafe fn commit(&self, span: Span) -> Result<(), NotCommitted>;

    /// Gives the memory of a committed range back; it reads as zero afterwards. After a refusal
    /// its contents are undefined.
    ///
    /// # Safety
    /// The range is committed or mapped, and nobody else reads or writes it during the call.
    unsafe fn purge(&self, span: Span) -> Result<(), Refused>;

    /// Brings memory to a range, as writes to all its pages would; its contents stay.
    ///
    /// # Safety
    /// The range is committed.
    unsafe fn prefault(&self, span: Span) -> Result<(), Refused>;

    /// Asks for huge pages in a range of whole huge pages.
    ///
    /// # Safety
    /// The range is committed.
    unsafe fn prefer_huge(&self, span: Span) -> Result<(), Refused>;

    /// Asks for small pages in the range of one huge page, and splits the huge page that may be
    /// there, so that a purge of a part of it gives that part's memory back.
    ///
    /// # Safety
    /// The range is committed.
    unsafe fn prefer_small(&self, span: Span) -> Result<(), Refused>;

    /// Moves the memory of a committed range out of the arena without copying, into a mapping as
    /// [`Os::map`] makes them; the range reads as zero afterwards.
    ///
    /// # Safety
    /// As for [`Os::purge`].
    unsafe fn move_out(&self, span: Span) -> Option<NonNull<u8>>;

    /// Maps zeroed memory outside the arena, at a multiple of `align` (a power of two).
    fn map(&self, bytes: usize, align: usize) -> Option<NonNull<u8>>;

    /// Changes the length of a mapping made by [`Os::map`], moving it if need be.
    ///
    /// # Safety
    /// The span is such a mapping and belongs to the caller; no pointer into it is used again.
    unsafe fn resize(&self, span: Span, bytes: usize) -> Option<NonNull<u8>>;

    /// Ends a mapping made by [`Os::map`].
    ///
    /// # Safety
    /// The span is such a mapping and nobody uses it any more.
    unsafe fn unmap(&self, span: Span);

    /// Bytes of a range that are backed by memory; 0 when the system does not say.
    ///
    /// The range is committed or mapped.
    fn resident_bytes(&self, span: Span) -> usize;

    /// The number of CPUs this process may run on, at least 1.
    fn cpus(&self) -> usize;

    /// The CPU this thread runs on, as a hint.
    fn cpu(&self) -> usize;

    /// Nanoseconds of a clock that only goes forward.
    fn now_ns(&self) -> u64;

    /// Milliseconds of the same clock.
    fn now_ms(&self) -> u64 {
        self.now_ns() / 1_000_000
    }

    /// Milliseconds that the process has run on CPUs.
    fn cpu_ms(&self) -> u64;

    /// Runs a full memory barrier on every thread of the process; false when the system has none.
    fn barrier(&self) -> bool;
}
