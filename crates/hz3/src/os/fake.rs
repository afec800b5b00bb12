//! A fake operating system for tests, which also runs under Miri.
//!
//! Its memory comes from the test's own allocator. It enforces the state diagram of [`Os`], counts
//! calls, and fails on demand.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::vec;
use std::vec::Vec;

use super::{NotCommitted, Os, Refused, Span, order};
use crate::base::units::CHUNK_BYTES;

/// The size of the units whose state is tracked, in bytes: the smallest OS page.
const PAGE: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unmapped,
    Occupied,
    Committed,
}

#[derive(Debug)]
struct Window {
    backing: Backing,
    pages: Vec<State>,
}

#[derive(Debug, Default)]
struct Memory {
    window: Option<Window>,
    mappings: BTreeMap<usize, (Backing, usize)>,
    /// The pages of mappings that [`Os::open`] opened.
    open: BTreeSet<usize>,
}

// SAFETY: the pointers lead to allocations that the fake system owns.
unsafe impl Send for Memory {}

/// The fake operating system.
#[derive(Debug)]
pub(crate) struct Fake {
    memory: Mutex<Memory>,
    page_size: usize,
    cpus: usize,
    cpu: AtomicUsize,
    /// How many calls that may fail were made so far.
    calls: AtomicUsize,
    /// The first call that fails, and the first one after it that succeeds again.
    fails_from: AtomicUsize,
    fails_until: AtomicUsize,
    limit: usize,
    /// How many mappings exist outside the window. It outlives the system, so that a test can count
    /// the mappings that the system leaked.
    mapped: Arc<AtomicUsize>,
}

/// Which calls the system refuses; 1 is the next call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusals {
    None,
    /// One call.
    Once(usize),
    /// This call and all that follow.
    From(usize),
}

/// Zeroed memory from the test's allocator.
#[derive(Debug)]
struct Backing {
    start: NonNull<u8>,
    origin: NonNull<u8>,
    layout: Layout,
}

impl Backing {
    /// Allocates zeroed memory at a multiple of `align`.
    fn new(bytes: usize, align: usize) -> Option<Backing> {
        // The test's allocator would zero aligned memory by writing all of it, so this takes an
        // aligned part of a larger block. Miri writes in any case, and treats a pointer as aligned
        // only if the allocation has that alignment.
        let layout = if cfg!(miri) {
            Layout::from_size_align(bytes, align)
        } else {
            Layout::from_size_align(bytes.checked_add(align)?, 16)
        };
        let layout = layout.ok()?;
        // SAFETY: the layout is not empty.
        let origin = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let skipped = origin.addr().get().next_multiple_of(align) - origin.addr().get();
        // SAFETY: less than `align` bytes are skipped.
        Some(Backing { start: unsafe { origin.add(skipped) }, origin, layout })
    }

    fn free(self) {
        // SAFETY: the allocation was made with this layout; the value is consumed.
        unsafe { dealloc(self.origin.as_ptr(), self.layout) };
    }
}

impl Fake {
    /// Creates a system with `cpus` CPUs, pages of `page_size` bytes and `limit` bytes of memory.
    pub(crate) fn new(page_size: usize, cpus: usize, limit: usize) -> Fake {
        Fake {
            memory: Mutex::default(),
            page_size,
            cpus,
            cpu: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            fails_from: AtomicUsize::new(usize::MAX),
            fails_until: AtomicUsize::new(usize::MAX),
            limit,
            mapped: Arc::default(),
        }
    }

    /// Sets the CPU that [`Os::cpu`] returns from now on.
    pub(crate) fn move_to_cpu(&self, cpu: usize) {
        self.cpu.store(cpu % self.cpus, Ordering::Relaxed);
    }

    /// Makes only these calls fail.
    pub(crate) fn refuse(&self, refusals: Refusals) {
        let made = self.calls.load(Ordering::Relaxed);
        let (from, until) = match refusals {
            Refusals::None => (usize::MAX, usize::MAX),
            Refusals::Once(nth) => (made + nth, made + nth + 1),
            Refusals::From(nth) => (made + nth, usize::MAX),
        };
        self.fails_from.store(from, Ordering::Relaxed);
        self.fails_until.store(until, Ordering::Relaxed);
    }

    /// Makes only the `nth` call from now on fail; 1 is the next one.
    pub(crate) fn fail_call(&self, nth: usize) {
        self.refuse(Refusals::Once(nth));
    }

    /// Makes every call fail if `exhausted`, otherwise none.
    pub(crate) fn exhaust(&self, exhausted: bool) {
        self.refuse(if exhausted { Refusals::From(1) } else { Refusals::None });
    }

    /// Returns whether a call failed because of [`Fake::refuse`].
    pub(crate) fn has_refused(&self) -> bool {
        self.calls.load(Ordering::Relaxed) >= self.fails_from.load(Ordering::Relaxed)
    }

    /// Returns how many mappings exist outside the window.
    pub(crate) fn mappings(&self) -> usize {
        Self::count(&self.mapped)
    }

    /// Returns the counter of mappings, for [`Fake::count`] after the system was dropped.
    pub(crate) fn mapped(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.mapped)
    }

    pub(crate) fn count(mapped: &AtomicUsize) -> usize {
        mapped.load(Ordering::Relaxed)
    }

    fn fails(&self) -> bool {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let fails =
            self.fails_from.load(Ordering::Relaxed)..self.fails_until.load(Ordering::Relaxed);
        fails.contains(&call)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plays a foreign mapping in the window.
    pub(crate) fn occupy(&self, span: Span) {
        self.change(span, State::Unmapped, State::Occupied);
    }

    /// Returns how many pages [`Os::open`] opened that are still open.
    pub(crate) fn open_pages(&self) -> usize {
        self.memory().open.len()
    }

    fn set_open(&self, span: Span, is_open: bool) {
        let mut memory = self.memory();
        let start = span.start.addr().get();
        assert!((start | span.bytes).is_multiple_of(self.page_size), "parts of a page");
        for page in (start..start + span.bytes).step_by(self.page_size) {
            let changed =
                if is_open { memory.open.insert(page) } else { memory.open.remove(&page) };
            assert!(changed, "the page is in that state already");
        }
    }

    /// Calls `access` with the states of a span of the window.
    fn states<R>(&self, span: Span, access: impl FnOnce(&mut [State]) -> R) -> R {
        let mut memory = self.memory();
        let window = memory.window.as_mut().expect("a window");
        let start = span.start.addr().get() - window.backing.start.addr().get();
        assert!(start.is_multiple_of(self.page_size), "span starts inside a page");
        assert!(span.bytes.is_multiple_of(self.page_size) && span.bytes > 0, "odd span");
        access(&mut window.pages[start / PAGE..(start + span.bytes) / PAGE])
    }

    /// Asserts that the whole span is in state `from`, and changes its state to `to`.
    fn change(&self, span: Span, from: State, to: State) {
        self.states(span, |states| {
            for state in states {
                assert_eq!(*state, from, "the state of a page that becomes {to:?}");
                *state = to;
            }
        });
    }
}

impl Os for Fake {
    fn page_size(&self) -> usize {
        self.page_size
    }

    fn memory_bytes(&self) -> usize {
        self.limit
    }

    fn choose_window(&self, bytes: usize) -> Option<NonNull<u8>> {
        if self.fails() {
            return None;
        }
        let backing = Backing::new(bytes, CHUNK_BYTES)?;
        let start = backing.start;
        let pages = vec![State::Unmapped; bytes / PAGE];
        self.memory().window = Some(Window { backing, pages });
        Some(start)
    }

    unsafe fn commit(&self, span: Span) -> Result<(), NotCommitted> {
        if self.fails() {
            return Err(NotCommitted::Refused);
        }
        if self.states(span, |states| states.contains(&State::Occupied)) {
            return Err(NotCommitted::Occupied);
        }
        self.change(span, State::Unmapped, State::Committed);
        Ok(())
    }

    unsafe fn purge(&self, span: Span) -> Result<(), Refused> {
        order::check_may_call("madvise");
        if self.fails() {
            return Err(Refused);
        }
        self.change(span, State::Committed, State::Committed);
        // SAFETY: the caller owns the range.
        unsafe { span.start.write_bytes(0, span.bytes) };
        Ok(())
    }

    unsafe fn prefault(&self, span: Span) -> Result<(), Refused> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.prefer_huge(span) }
    }

    unsafe fn prefer_huge(&self, span: Span) -> Result<(), Refused> {
        if self.fails() {
            return Err(Refused);
        }
        self.change(span, State::Committed, State::Committed);
        Ok(())
    }

    unsafe fn prefer_small(&self, span: Span) -> Result<(), Refused> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.prefer_huge(span) }
    }

    unsafe fn move_out(&self, span: Span) -> Option<NonNull<u8>> {
        order::check_may_call("mremap");
        let target = self.map(span.bytes, self.page_size)?;
        self.change(span, State::Committed, State::Committed);
        // SAFETY: the caller owns the span; the target is a fresh mapping of the same length.
        unsafe { target.copy_from_nonoverlapping(span.start, span.bytes) };
        // SAFETY: the caller owns the range.
        unsafe { span.start.write_bytes(0, span.bytes) };
        Some(target)
    }

    fn map(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        if self.fails() || bytes > self.limit {
            return None;
        }
        assert!(bytes.is_multiple_of(self.page_size) && align.is_multiple_of(self.page_size));
        let backing = Backing::new(bytes, align)?;
        let start = backing.start;
        self.memory().mappings.insert(start.addr().get(), (backing, bytes));
        self.mapped.fetch_add(1, Ordering::Relaxed);
        Some(start)
    }

    unsafe fn resize(&self, span: Span, bytes: usize) -> Option<NonNull<u8>> {
        order::check_may_call("mremap");
        let target = self.map(bytes, self.page_size)?;
        // SAFETY: both mappings have at least that length.
        unsafe { target.copy_from_nonoverlapping(span.start, span.bytes.min(bytes)) };
        // SAFETY: the caller gave the old mapping up.
        unsafe { self.unmap(span) };
        Some(target)
    }

    unsafe fn unmap(&self, span: Span) {
        let removed = self.memory().mappings.remove(&span.start.addr().get());
        let (backing, bytes) = removed.expect("a mapping starts there");
        assert_eq!(bytes, span.bytes, "a mapping is unmapped whole");
        self.mapped.fetch_sub(1, Ordering::Relaxed);
        backing.free();
    }

    fn map_closed(&self, bytes: usize) -> Option<NonNull<u8>> {
        self.map(bytes, self.page_size)
    }

    unsafe fn open(&self, span: Span) -> Result<(), Refused> {
        if self.fails() {
            return Err(Refused);
        }
        self.set_open(span, true);
        Ok(())
    }

    unsafe fn close(&self, span: Span) -> Result<(), Refused> {
        if self.fails() {
            return Err(Refused);
        }
        self.set_open(span, false);
        // SAFETY: the caller owns the range.
        unsafe { span.start.write_bytes(0, span.bytes) };
        Ok(())
    }

    fn resident_bytes(&self, span: Span) -> usize {
        span.bytes
    }

    fn cpus(&self) -> usize {
        self.cpus
    }

    fn cpu(&self) -> usize {
        self.cpu.load(Ordering::Relaxed)
    }

    fn now_ns(&self) -> u64 {
        // Tests call the ticks themselves.
        0
    }

    fn cpu_ms(&self) -> u64 {
        0
    }

    fn barrier(&self) -> bool {
        // Tests on this system run all their simulated threads on one thread.
        true
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let memory = self.memory.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = memory.window.take() {
            window.backing.free();
        }
        for (backing, _) in core::mem::take(&mut memory.mappings).into_values() {
            backing.free();
        }
    }
}
