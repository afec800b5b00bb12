//! The real system, but for purges that it refuses at random.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::random::Random;
use crate::os::linux::Linux;
use crate::os::{NotCommitted, Os, Refused, Span};

/// Refuses one purge in so many: half of these before anything happened, half of them halfway, as
/// the kernel does it when a range has a hole.
pub(super) struct Refusing {
    seed: u64,
    one_in: u64,
    calls: AtomicU64,
    relented: AtomicBool,
}

impl Refusing {
    /// Refuses one purge in `one_in`; none when that is 0.
    pub(super) fn new(seed: u64, one_in: u64) -> Refusing {
        Refusing { seed, one_in, calls: AtomicU64::new(0), relented: AtomicBool::new(one_in == 0) }
    }

    /// From now on every purge succeeds.
    pub(super) fn stop_refusing(&self) {
        self.relented.store(true, Ordering::Relaxed);
    }
}

impl Os for Refusing {
    unsafe fn purge(&self, span: Span) -> Result<(), Refused> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if self.relented.load(Ordering::Relaxed) {
            // SAFETY: the caller's promise.
            return unsafe { Linux.purge(span) };
        }
        let mut random = Random(self.seed.wrapping_add(call << 33));
        random.next();
        let pick = random.next();
        if !pick.is_multiple_of(self.one_in) {
            // SAFETY: the caller's promise.
            return unsafe { Linux.purge(span) };
        }
        let half = (span.bytes / 2) & !(self.page_size() - 1);
        if pick.is_multiple_of(2 * self.one_in) && half > 0 {
            // SAFETY: a part of the caller's span.
            unsafe { Linux.purge(Span { bytes: half, ..span }) }?;
        }
        Err(Refused)
    }

    fn page_size(&self) -> usize {
        Linux.page_size()
    }

    fn memory_bytes(&self) -> usize {
        Linux.memory_bytes()
    }

    fn choose_window(&self, bytes: usize) -> Option<NonNull<u8>> {
        Linux.choose_window(bytes)
    }

    unsafe fn commit(&self, span: Span) -> Result<(), NotCommitted> {
        // SAFETY: the caller's promise.
        unsafe { Linux.commit(span) }
    }

    unsafe fn prefault(&self, span: Span) -> Result<(), Refused> {
        // SAFETY: the caller's promise.
        unsafe { Linux.prefault(span) }
    }

    unsafe fn prefer_huge(&self, span: Span) -> Result<(), Refused> {
        // SAFETY: the caller's promise.
        unsafe { Linux.prefer_huge(span) }
    }

    unsafe fn prefer_small(&self, span: Span) -> Result<(), Refused> {
        // SAFETY: the caller's promise.
        unsafe { Linux.prefer_small(span) }
    }

    unsafe fn move_out(&self, span: Span) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise.
        unsafe { Linux.move_out(span) }
    }

    fn map(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        Linux.map(bytes, align)
    }

    unsafe fn resize(&self, span: Span, bytes: usize) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise.
        unsafe { Linux.resize(span, bytes) }
    }

    unsafe fn unmap(&self, span: Span) {
        // SAFETY: the caller's promise.
        unsafe { Linux.unmap(span) };
    }

    fn map_closed(&self, bytes: usize) -> Option<NonNull<u8>> {
        Linux.map_closed(bytes)
    }

    unsafe fn open(&self, span: Span) -> Result<(), Refused> {
        // SAFETY: the caller's promise.
        unsafe { Linux.open(span) }
    }

    unsafe fn close(&self, span: Span) -> Result<(), Refused> {
        // SAFETY: the caller's promise.
        unsafe { Linux.close(span) }
    }

    fn resident_bytes(&self, span: Span) -> usize {
        Linux.resident_bytes(span)
    }

    fn cpus(&self) -> usize {
        Linux.cpus()
    }

    fn cpu(&self) -> usize {
        Linux.cpu()
    }

    fn now_ns(&self) -> u64 {
        Linux.now_ns()
    }

    fn cpu_ms(&self) -> u64 {
        Linux.cpu_ms()
    }

    fn barrier(&self) -> bool {
        Linux.barrier()
    }
}
