//! Sampled guards: places for sampled blocks, each beside inaccessible pages.
//!
//! ```text
//!  | closed | place 0: 32 KiB | closed | place 1 | closed | ...
//!                   [block    ]          or   [block    ]
//!                   ends the place            begins it
//! ```
//!
//! All places are closed at first. A block opens only its own pages: those at the start or those at
//! the end of its place, chosen at random. So an access before or beyond it faults. A free closes
//! the pages again, so a later access faults too. The other bytes of the open pages hold
//! [`CANARY`], and the free checks them. Free places wait in a queue, so that the oldest one is
//! used next, and at least [`PLACES`] minus [`MAX_LIVE`] places wait.
//!
//! A place is fresh, live or freed. The thread that allocates or frees a block writes the place's
//! record, while the program does not have the block. The handler of the fault reads the records
//! without a lock. If the program frees a block on one thread and misuses it on another at that
//! moment, the report may mix the two states.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use super::table::{FreshMemory, Zeroed};
use crate::base::size_class::{MAX_SMALL, MIN_ALIGN};
use crate::os::lock::Lock;
use crate::os::{Os, Refused, Span, rank, thread};

/// Places of the mapping. Each has at most two mappings of the kernel's, of 65,530 by default.
const PLACES: usize = 1024;
/// The most places that are live at once; further samples are ordinary blocks.
const MAX_LIVE: usize = 768;
/// The frames of a stack that a record keeps, innermost first.
const KEPT_FRAMES: usize = 32;
/// The value of the bytes between a block and the ends of its pages.
const CANARY: u8 = 0xa7;
/// The end of the queue.
const NONE: u32 = u32::MAX;

const FRESH: u32 = 0;
const LIVE: u32 = 1;
const FREED: u32 = 2;

/// Counts from 0, in the order of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(usize);

/// The rule that the program broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An access beyond the end of a block.
    Overflow,
    /// An access before the start of a block.
    Underflow,
    /// An access to a freed block, or its use as an argument.
    UseAfterFree,
    DoubleFree,
    /// A free, or another call, with an address that is not the start of a block.
    NotABlock,
    /// Bytes behind the block were found changed.
    WrittenBehind,
    /// Bytes before the block were found changed.
    WrittenBefore,
}

/// A misuse of the block in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Misuse {
    pub(crate) kind: Kind,
    pub(crate) place: Place,
    pub(crate) address: usize,
}

/// The call misused a block; [`Guards::take_misuse`] has the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Noted;

/// A thread and its stack, when it allocated or freed a block.
#[derive(Debug)]
pub(crate) struct Event {
    thread: AtomicU32,
    count: AtomicUsize,
    frames: [AtomicUsize; KEPT_FRAMES],
}

/// The block of a place and its history. All zeros is a fresh place.
#[derive(Debug)]
pub(crate) struct PlaceRecord {
    state: AtomicU32,
    /// The number of the profile's sample; 0 for none.
    sample: AtomicU32,
    start: AtomicUsize,
    /// Requested bytes.
    size: AtomicUsize,
    pub(crate) allocated: Event,
    pub(crate) freed: Event,
    /// The next place in the queue.
    next: AtomicU32,
}

// SAFETY: it consists of atomics.
unsafe impl Zeroed for PlaceRecord {}

/// The queue of free places.
#[derive(Debug)]
struct Queue {
    first: u32,
    last: u32,
    /// Places that were never used, from this number on.
    fresh: usize,
    live: usize,
    misuse: Option<Misuse>,
}

/// The guards of a heap.
#[derive(Debug)]
pub(crate) struct Guards {
    /// The first place; null until they are mapped.
    start: AtomicPtr<u8>,
    records: AtomicPtr<PlaceRecord>,
    /// Bytes of a page, and of a place with the closed page behind it.
    page: AtomicUsize,
    stride: AtomicUsize,
    /// Whether [`Guards::take_notice`] has something to say.
    has_notice: AtomicBool,
    /// Whether a fault was found and the process ends.
    is_ending: AtomicBool,
    queue: Lock<Queue, { rank::GUARDS }>,
}

impl Event {
    fn set(&self, stack: &[usize]) {
        self.thread.store(thread::id(), Ordering::Relaxed);
        self.count.store(stack.len().min(KEPT_FRAMES), Ordering::Relaxed);
        for (kept, &frame) in self.frames.iter().zip(stack) {
            kept.store(frame, Ordering::Relaxed);
        }
    }

    pub(crate) fn thread(&self) -> u32 {
        self.thread.load(Ordering::Relaxed)
    }

    /// Returns the return addresses, innermost first.
    pub(crate) fn stack(&self) -> impl Iterator<Item = usize> {
        let count = self.count.load(Ordering::Relaxed);
        self.frames.iter().take(count).map(|frame| frame.load(Ordering::Relaxed))
    }
}

impl PlaceRecord {
    pub(crate) fn start(&self) -> usize {
        self.start.load(Ordering::Relaxed)
    }

    pub(crate) fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    pub(crate) fn is_freed(&self) -> bool {
        self.state() == FREED
    }

    fn state(&self) -> u32 {
        self.state.load(Ordering::Relaxed)
    }

    /// Returns how far an address is from the block: 0 if it lies inside.
    fn distance(&self, address: usize) -> usize {
        let (start, end) = (self.start(), self.start() + self.size().max(1));
        start.saturating_sub(address).max(address.saturating_sub(end - 1))
    }
}

impl Guards {
    pub(crate) const fn new() -> Guards {
        Guards {
            start: AtomicPtr::new(core::ptr::null_mut()),
            records: AtomicPtr::new(core::ptr::null_mut()),
            page: AtomicUsize::new(0),
            stride: AtomicUsize::new(0),
            has_notice: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
            queue: Lock::new(Queue { first: NONE, last: NONE, fresh: 0, live: 0, misuse: None }),
        }
    }

    /// Maps the places and their records, unless they exist. Two threads must not call it at once.
    pub(super) fn map<O: Os>(&self, os: &O) -> Result<(), Refused> {
        if self.are_mapped() {
            return Ok(());
        }
        let page = os.page_size();
        let stride = MAX_SMALL.next_multiple_of(page) + page;
        let bytes = page + PLACES * stride;
        let start = os.map_closed(bytes).ok_or(Refused)?;
        let record_bytes = (PLACES * size_of::<PlaceRecord>()).next_multiple_of(page);
        let Some(records) = os.map(record_bytes, page) else {
            // SAFETY: the mapping was just made and is not used.
            unsafe { os.unmap(Span { start, bytes }) };
            return Err(Refused);
        };
        // SAFETY: a fresh mapping of that length, which is never unmapped.
        let mut memory = unsafe { FreshMemory::new(records, record_bytes) };
        let records = memory.cut::<PlaceRecord>(PLACES);
        self.records.store(records.as_mut_ptr(), Ordering::Relaxed);
        self.page.store(page, Ordering::Relaxed);
        self.stride.store(stride, Ordering::Relaxed);
        // Release pairs with the acquire load in `base`.
        self.start.store(start.as_ptr().wrapping_add(page), Ordering::Release);
        Ok(())
    }

    /// Returns the first place, if the places are mapped.
    fn base(&self) -> Option<NonNull<u8>> {
        // Acquire pairs with the release store in `map`.
        NonNull::new(self.start.load(Ordering::Acquire))
    }

    pub(crate) fn are_mapped(&self) -> bool {
        self.base().is_some()
    }

    /// Returns whether an address lies in the mapping of the places, or in the page before it.
    pub(crate) fn contains(&self, address: usize) -> bool {
        self.place_of(address).is_some()
    }

    /// Returns the place in which an address lies, with the closed page behind it.
    pub(crate) fn place_of(&self, address: usize) -> Option<Place> {
        let start = self.base()?.addr().get();
        let page = self.page.load(Ordering::Relaxed);
        let offset = address.checked_sub(start - page)?;
        let number = offset.saturating_sub(page) / self.stride.load(Ordering::Relaxed);
        (number < PLACES).then_some(Place(number))
    }

    /// Returns the record of a place.
    pub(crate) fn record(&self, Place(number): Place) -> &PlaceRecord {
        debug_assert!(number < PLACES);
        let records = self.records.load(Ordering::Relaxed);
        // SAFETY: a place exists only after `map` made the records, and there are that many.
        let record = unsafe { records.add(number) };
        // SAFETY: a record is made of atomics, in a mapping that is never unmapped.
        unsafe { &*record }
    }

    /// Allocates a block of `size` bytes at a multiple of `align`, a power of two, for the thread
    /// with this stack. Returns `None` if it fits no place, or if no place is free.
    pub(crate) fn allocate<O: Os>(
        &self,
        os: &O,
        size: usize,
        align: usize,
        random: u64,
        stack: &[usize],
    ) -> Option<(NonNull<u8>, Place)> {
        let base = self.base()?;
        let page = self.page.load(Ordering::Relaxed);
        if size > MAX_SMALL || align > page || self.is_ending.load(Ordering::Relaxed) {
            return None;
        }
        let place = self.take()?;
        let bytes = size.max(1).next_multiple_of(page);
        let ends_the_place = random & 1 == 1;
        let stride = self.stride.load(Ordering::Relaxed);
        let skipped = if ends_the_place { stride - page - bytes } else { 0 };
        // SAFETY: the place and its length lie in the mapping.
        let start = unsafe { base.add(place.0 * stride + skipped) };
        let span = Span { start, bytes };
        // SAFETY: the place is this call's, and closed.
        if unsafe { os.open(span) }.is_err() {
            self.put(place, false);
            return None;
        }
        let room = bytes - size.max(1);
        let before = if ends_the_place { room & !(align.max(MIN_ALIGN) - 1) } else { 0 };
        // SAFETY: the block lies in the open pages.
        let block = unsafe { start.add(before) };
        // SAFETY: these bytes lie in the open pages, which are this call's.
        unsafe { start.write_bytes(CANARY, before) };
        // SAFETY: as above.
        let behind = unsafe { block.add(size) };
        // SAFETY: as above.
        unsafe { behind.write_bytes(CANARY, bytes - before - size) };
        let record = self.record(place);
        record.sample.store(0, Ordering::Relaxed);
        record.start.store(block.addr().get(), Ordering::Relaxed);
        record.size.store(size, Ordering::Relaxed);
        record.allocated.set(stack);
        record.freed.set(&[]);
        record.state.store(LIVE, Ordering::Relaxed);
        self.has_notice.store(true, Ordering::Relaxed);
        Some((block, place))
    }

    /// Notes the number of the profile's sample that the block of a place is.
    pub(crate) fn set_sample(&self, place: Place, number: u32) {
        self.record(place).sample.store(number, Ordering::Relaxed);
    }

    /// Frees the block at an address of the mapping, by the thread with this stack. Returns the
    /// number of its sample, 0 for none; `None` after a misuse, which is noted.
    pub(crate) fn free<O: Os>(&self, os: &O, address: usize, stack: &[usize]) -> Option<u32> {
        let place = self.place_of(address)?;
        let record = self.record(place);
        let is_start = record.start() == address;
        if !is_start || record.state() == FRESH {
            self.note(Misuse { kind: Kind::NotABlock, place, address });
            return None;
        }
        // Of two threads that free the block one fails.
        if record.state.compare_exchange(LIVE, FREED, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            self.note(Misuse { kind: Kind::DoubleFree, place, address });
            return None;
        }
        let sample = record.sample.load(Ordering::Relaxed);
        record.freed.set(stack);
        let span = self.open_pages(record)?;
        if let Some(misuse) = Self::find_damage(place, record, span) {
            self.note(misuse);
        }
        // If the system refuses, a use of the freed block is not noticed.
        // SAFETY: the program gave the block up.
        let _refused = unsafe { os.close(span) };
        self.put(place, true);
        Some(sample)
    }

    /// Returns the pages that a live block opened.
    fn open_pages(&self, record: &PlaceRecord) -> Option<Span> {
        let (base, page) = (self.base()?, self.page.load(Ordering::Relaxed));
        let first = record.start() / page * page;
        // SAFETY: the block lies in the mapping.
        let start = unsafe { base.add(first - base.addr().get()) };
        Some(Span { start, bytes: record.size().max(1).next_multiple_of(page) })
    }

    /// Looks for bytes around a block that are no canaries any more.
    fn find_damage(place: Place, record: &PlaceRecord, span: Span) -> Option<Misuse> {
        let before = record.start() - span.start.addr().get();
        let behind = before + record.size();
        let damaged = |from: usize, to: usize| {
            (from..to).find(|&at| {
                // SAFETY: the pages of a live block are open, and these bytes are not the block's.
                let byte = unsafe { span.start.add(at) };
                // SAFETY: as above.
                unsafe { byte.read_volatile() != CANARY }
            })
        };
        let (kind, at) = damaged(behind, span.bytes)
            .map(|at| (Kind::WrittenBehind, at))
            .or_else(|| damaged(0, before).map(|at| (Kind::WrittenBefore, at)))?;
        Some(Misuse { kind, place, address: span.start.addr().get() + at })
    }

    /// Returns the size of the live block at an address; `None` for an address outside the mapping.
    ///
    /// # Errors
    /// [`Noted`]: a misuse.
    pub(crate) fn size_at(&self, address: usize) -> Result<Option<usize>, Noted> {
        let Some(place) = self.place_of(address) else { return Ok(None) };
        let record = self.record(place);
        let kind = match record.state() {
            LIVE if record.start() == address => return Ok(Some(record.size())),
            FREED if record.start() == address => Kind::UseAfterFree,
            _ => Kind::NotABlock,
        };
        self.note(Misuse { kind, place, address });
        Err(Noted)
    }

    /// Returns the size of the live block at an address of the mapping, and notes no misuse.
    pub(crate) fn live_size(&self, address: usize) -> Option<usize> {
        let record = self.record(self.place_of(address)?);
        (record.state() == LIVE && record.start() == address).then(|| record.size())
    }

    /// Returns the size of the block in whose place an address lies, and takes no lock; `None` for
    /// an address outside the mapping.
    pub(crate) fn size_in_place(&self, address: usize) -> Option<usize> {
        self.place_of(address).map(|place| self.record(place).size())
    }

    /// Says which block a faulting access at an address misused; `None` for an address outside the
    /// mapping, or far from every block. Takes no lock, and ends further allocations here.
    pub(crate) fn fault_at(&self, address: usize) -> Option<Misuse> {
        let Place(near) = self.place_of(address)?;
        self.is_ending.store(true, Ordering::Relaxed);
        let known = (near.saturating_sub(1)..=near + 1).filter(|&number| number < PLACES);
        let known = known.map(Place).filter(|&place| self.record(place).state() != FRESH);
        // An access inside a freed block is more likely than one far beyond a live block, but not
        // one beside a freed block.
        let order = |&place: &Place| {
            let (record, distance) = (self.record(place), self.record(place).distance(address));
            (record.is_freed() && distance > 0, distance)
        };
        let place = known.min_by_key(order)?;
        let record = self.record(place);
        let kind = if record.is_freed() {
            Kind::UseAfterFree
        } else if address < record.start() {
            Kind::Underflow
        } else {
            Kind::Overflow
        };
        Some(Misuse { kind, place, address })
    }

    fn note(&self, misuse: Misuse) {
        self.is_ending.store(true, Ordering::Relaxed);
        self.queue.lock().misuse.get_or_insert(misuse);
        self.has_notice.store(true, Ordering::Relaxed);
    }

    /// Returns whether blocks were guarded or a misuse was noted since the last call.
    #[inline]
    pub(crate) fn take_notice(&self) -> bool {
        self.has_notice.load(Ordering::Relaxed) && self.has_notice.swap(false, Ordering::Relaxed)
    }

    /// Returns the misuse that a call noted first, once.
    pub(crate) fn take_misuse(&self) -> Option<Misuse> {
        self.queue.lock().misuse.take()
    }

    /// Takes a free place, the one that is free for the longest time.
    fn take(&self) -> Option<Place> {
        let mut queue = self.queue.lock();
        if queue.live >= MAX_LIVE {
            return None;
        }
        let place = if queue.fresh < PLACES {
            queue.fresh += 1;
            Place(queue.fresh - 1)
        } else {
            let first = Place(usize::try_from(queue.first).ok().filter(|&first| first < PLACES)?);
            queue.first = self.record(first).next.load(Ordering::Relaxed);
            if queue.first == NONE {
                queue.last = NONE;
            }
            first
        };
        queue.live += 1;
        Some(place)
    }

    /// Puts a place at the end of the queue.
    fn put(&self, place: Place, was_used: bool) {
        let mut queue = self.queue.lock();
        queue.live -= 1;
        if !was_used {
            self.record(place).state.store(FRESH, Ordering::Relaxed);
        }
        self.record(place).next.store(NONE, Ordering::Relaxed);
        let number = u32::try_from(place.0).unwrap_or(NONE);
        match usize::try_from(queue.last).ok().filter(|&last| last < PLACES) {
            Some(last) => self.record(Place(last)).next.store(number, Ordering::Relaxed),
            None => queue.first = number,
        }
        queue.last = number;
    }

    pub(crate) fn acquire_all(&self) {
        self.queue.acquire();
    }

    pub(crate) fn release_all(&self) {
        self.queue.release();
    }
}
