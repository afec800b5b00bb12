//! A system for tests: its memory comes from the test's own allocator, it enforces the state
//! diagram of [`Os`], counts calls, and fails on demand. It runs under Miri.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec;
use std::vec::Vec;

use super::{NotCommitted, Os, Refused, Span, order};
use crate::base::units::CHUNK_BYTES;

/// Grain of the states that are tracked: the smallest OS page.
const PAGE: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unmapped,
    Occupied,
    Committed,
}

#[derive(Debug)]
struct Window {
    start: NonNull<u8>,
    layout: Layout,
    pages: Vec<State>,
}

#[derive(Debug, Default)]
struct Memory {
    window: Option<Window>,
    mappings: BTreeMap<usize, (NonNull<u8>, Layout)>,
}

// SAFETY: the pointers are those of allocations that the system owns.
unsafe impl Send for Memory {}

/// The fake system.
#[derive(Debug)]
pub(crate) struct Fake {
    memory: Mutex<Memory>,
    page_size: usize,
    cpus: usize,
    cpu: AtomicUsize,
    /// Calls that may fail and were made so far.
    calls: AtomicUsize,
    /// The call that fails, once; 0 for none.
    fail_at: AtomicUsize,
    /// Every call fails while this is set.
    exhausted: AtomicBool,
    limit: usize,
}

impl Fake {
    /// A system with `cpus` CPUs whose pages have `page_size` bytes and which have `limit` bytes of memory.
    pub(crate) fn new(page_size: usize, cpus: usize, limit: usize) -> Fake {
        Fake {
            memory: Mutex::default(),
            page_size,
            cpus,
            cpu: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            fail_at: AtomicUsize::new(0),
            exhausted: AtomicBool::new(false),
            limit,
        }
    }

    /// The CPU that the calling thread is on from now on.
    pub(crate) fn move_to_cpu(&self, cpu: usize) {
        self.cpu.store(cpu % self.cpus, Ordering::Relaxed);
    }

    /// Makes the `nth` call from now on fail; 1 is the next one.
    pub(crate) fn fail_call(&self, nth: usize) {
        self.fail_at.store(self.calls.load(Ordering::Relaxed) + nth, Ordering::Relaxed);
    }

    /// Makes every call fail, or none.
    pub(crate) fn exhaust(&self, exhausted: bool) {
        self.exhausted.store(exhausted, Ordering::Relaxed);
        self.fail_at.store(0, Ordering::Relaxed);
    }

    fn fails(&self) -> bool {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        self.exhausted.load(Ordering::Relaxed) || self.fail_at.load(Ordering::Relaxed) == call
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody else maps a part of the window.
    pub(crate) fn occupy(&self, span: Span) {
        self.change(span, State::Unmapped, State::Occupied);
    }

    /// Looks at the states of a span of the window.
    fn states<R>(&self, span: Span, look: impl FnOnce(&mut [State]) -> R) -> R {
        let mut memory = self.memory();
        let window = memory.window.as_mut().expect("a window");
        let start = span.start.addr().get() - window.start.addr().get();
        assert!(start.is_multiple_of(self.page_size), "span starts inside a page");
        assert!(span.bytes.is_multiple_of(self.page_size) && span.bytes > 0, "odd span");
        look(&mut window.pages[start / PAGE..(start + span.bytes) / PAGE])
    }

    /// Checks that the whole span is in `from` and moves it to `to`.
    fn change(&self, span: Span, from: State, to: State) {
        self.states(span, |states| {
            for state in states {
                assert_eq!(*state, from, "state of a page on its way to {to:?}");
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
        let layout = Layout::from_size_align(bytes, CHUNK_BYTES).ok()?;
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let pages = vec![State::Unmapped; bytes / PAGE];
        self.memory().window = Some(Window { start, layout, pages });
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
        order::may_call("madvise");
        if self.fails() {
            return Err(Refused);
        }
        self.change(span, State::Committed, State::Committed);
        // SAFETY: the caller owns the range.
        unsafe { span.start.write_bytes(0, span.bytes) };
        Ok(())
    }

    unsafe fn populate(&self, span: Span) -> Result<(), Refused> {
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
        order::may_call("mremap");
        let target = self.map(span.bytes, self.page_size)?;
        self.change(span, State::Committed, State::Committed);
        // SAFETY: the caller owns the span; the target is fresh and as long.
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
        let layout = Layout::from_size_align(bytes, align).ok()?;
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        self.memory().mappings.insert(start.addr().get(), (start, layout));
        Some(start)
    }

    unsafe fn resize(&self, span: Span, bytes: usize) -> Option<NonNull<u8>> {
        order::may_call("mremap");
        let target = self.map(bytes, self.page_size)?;
        // SAFETY: both are mappings of at least that length.
        unsafe { target.copy_from_nonoverlapping(span.start, span.bytes.min(bytes)) };
        // SAFETY: the caller gave the old mapping up.
        unsafe { self.unmap(span) };
        Some(target)
    }

    unsafe fn unmap(&self, span: Span) {
        let removed = self.memory().mappings.remove(&span.start.addr().get());
        let (start, layout) = removed.expect("unmap of what is not mapped");
        assert_eq!(layout.size(), span.bytes, "a mapping is unmapped whole");
        // SAFETY: the allocation was made by `map` with this layout.
        unsafe { dealloc(start.as_ptr(), layout) };
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
        // Tests make the ticks themselves.
        0
    }

    fn barrier(&self) -> bool {
        // Tests on this system play their threads on one thread.
        true
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let memory = self.memory.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = memory.window.take() {
            // SAFETY: the allocation was made by `choose_window` with this layout.
            unsafe { dealloc(window.start.as_ptr(), window.layout) };
        }
        for (start, layout) in core::mem::take(&mut memory.mappings).into_values() {
            // SAFETY: the allocation was made by `map` with this layout.
            unsafe { dealloc(start.as_ptr(), layout) };
        }
    }
}
