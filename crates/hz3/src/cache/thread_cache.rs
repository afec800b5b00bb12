//! The cache of one thread: its stacks, its counters, and the layout of its mapping.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicI64, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use super::capacity::{Capacity, max_blocks};
use super::runs::RunCache;
use super::stack::{PADDING, Stack};
#[cfg(feature = "experiments")]
use super::surplus::Surplus;
use crate::base::class_set::ClassSet;
use crate::base::list::Member;
use crate::base::size_class::{CLASSES, ENTRY_BYTES, SizeClass};
use crate::base::sync::Slot;
use crate::base::units::{CHUNK_SHIFT, PAGE_BYTES, to_usize};
use crate::os::lock::Lock;
use crate::os::{Os, Span, rank};
use crate::segment::tables::ClassEntry;

/// One thread's cache. A hit of malloc or free reads only the fields up to `stacks`.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct ThreadCache {
    arena_base: *mut u8,
    /// 0 in a sentinel, so that no address lies in the arena and every free misses.
    arena_bytes: usize,
    class_map: *const ClassEntry,
    /// Bytes until the owner's next sample, while the stacks are sealed; negative if it is due.
    /// Written by the owner, and by a thread that starts the profile.
    pub(crate) countdown: AtomicI64,
    pub(crate) stacks: [Stack; CLASSES],
    /// Locked by the owner in its cold path and by a thief.
    pub(crate) cold: Lock<ColdState, { rank::CACHE }>,
    /// The next cache in the registry's list of all caches.
    next: AtomicPtr<ThreadCache>,
    /// The next cache in a list of unused ones. Guarded by the lock of that list.
    pub(super) next_unused: AtomicPtr<ThreadCache>,
    /// The slots for the stacks' arrays, behind this header.
    slots: *mut Slot,
    pub(crate) counts: Counts,
    /// Runs of large blocks that the owner freed.
    pub(crate) runs: RunCache,
}

// SAFETY: the pointers are fixed at creation. The other fields are `Sync`, atomics or behind the
// lock. The contract of `Stack` says which thread may pop and push.
unsafe impl Sync for ThreadCache {}

/// Single-writer counters: the owner writes them, any thread may sum them.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) refills: AtomicU64,
    pub(crate) flushes: AtomicU64,
    /// Slow paths of the owner that found their stack's slow path armed.
    pub(super) armed_misses: AtomicU64,
    /// [`ThreadCache::slow_paths`] at the last tick. Written by the reclaimer alone.
    pub(super) at_last_tick: AtomicU64,
    /// [`ThreadCache::slow_paths`] at the owner's last epoch by count.
    #[cfg(feature = "experiments")]
    epoch_at: AtomicU64,
    /// The owner's slow paths and large frees at its last estimate of the memory that could go
    /// back.
    estimate_at: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) frees: AtomicU64,
    pub(crate) large_allocs: AtomicU64,
    pub(crate) large_frees: AtomicU64,
    /// The kernel's id of the owner's thread, in its own namespace; 0 without an owner.
    pub(crate) owner: AtomicU32,
}

/// The state that a cache's lock protects.
#[derive(Debug)]
pub(crate) struct ColdState {
    pub(crate) capacity: Capacity,
    /// State of the decay (S58).
    #[cfg(feature = "experiments")]
    pub(super) surplus: [Surplus; CLASSES],
    /// Classes with a slow path of the owner since the last tick.
    pub(super) active: ClassSet,
    /// Whether the owner has only freed since `shrink_to_initial`. If so, classes hardly grow.
    pub(super) only_frees: bool,
    /// Classes that a tick emptied because the owner used only others.
    pub(super) idle: ClassSet,
    /// Whether the stacks are sealed for the heap profile.
    sealed: bool,
    /// Length of each stack's array: log2 of its slots, plus one; 0 for no array.
    arrays: [u8; CLASSES],
    /// Slots handed out to arrays so far.
    used_slots: usize,
}

/// Slots for the arrays of all classes. Each class's arrays double up to [`max_blocks`], so they
/// take less than twice the last one together, and the padding of each.
const SLOTS: usize = {
    let mut slots = 0;
    let mut class = 1;
    while class < CLASSES {
        let last = max_blocks(SizeClass::block_bytes_of(class));
        slots += 2 * last + PADDING * (to_usize(last.ilog2()) + 1);
        class += 1;
    }
    slots
};
/// Offset of the header in its mapping, in bytes. Programs often write to the start of a page
/// first, because blocks of 4 KiB and more start there. A CPU that compares only the low 12 bits of
/// addresses delays a load at the same offset of another page. So the fields that every malloc and
/// free reads lie at another offset.
const HEADER_AT: usize = 64 * 5;
const HEADER_BYTES: usize = size_of::<ThreadCache>().next_multiple_of(64);
/// Length of a cache's mapping, in bytes. Most of it is never touched.
pub(crate) const CACHE_BYTES: usize =
    (HEADER_AT + HEADER_BYTES + SLOTS * size_of::<Slot>()).next_multiple_of(16 * PAGE_BYTES);

impl Counts {
    const fn new() -> Counts {
        Counts {
            refills: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
            armed_misses: AtomicU64::new(0),
            at_last_tick: AtomicU64::new(0),
            #[cfg(feature = "experiments")]
            epoch_at: AtomicU64::new(0),
            estimate_at: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            frees: AtomicU64::new(0),
            large_allocs: AtomicU64::new(0),
            large_frees: AtomicU64::new(0),
            owner: AtomicU32::new(0),
        }
    }

    /// Returns whether `interval` slow paths have passed since the last epoch; if so, an epoch
    /// starts now. For the owner alone.
    #[cfg(feature = "experiments")]
    pub(crate) fn take_epoch_due(&self, slow_paths: u64, interval: u64) -> bool {
        Self::take_due(&self.epoch_at, slow_paths, interval)
    }

    /// Returns whether `interval` slow paths have passed since the last estimate; if so, counts
    /// anew. For the owner alone.
    pub(crate) fn take_estimate_due(&self, slow_paths: u64, interval: u64) -> bool {
        Self::take_due(&self.estimate_at, slow_paths, interval)
    }

    /// Returns whether `interval` slow paths have passed since `last`; if so, sets `last` to now.
    fn take_due(last: &AtomicU64, slow_paths: u64, interval: u64) -> bool {
        let is_due = slow_paths.wrapping_sub(last.load(Ordering::Relaxed)) >= interval;
        if is_due {
            last.store(slow_paths, Ordering::Relaxed);
        }
        is_due
    }

    /// Adds one to a counter that only this thread writes.
    pub(crate) fn count(counter: &AtomicU64) {
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

impl Member for ThreadCache {
    fn next(&self) -> &AtomicPtr<ThreadCache> {
        &self.next
    }
}

impl ThreadCache {
    /// Makes a cache in which every operation misses. A thread uses it before its first allocation
    /// and after its end.
    pub(crate) const fn sentinel() -> ThreadCache {
        ThreadCache {
            arena_base: core::ptr::null_mut(),
            arena_bytes: 0,
            class_map: core::ptr::null(),
            countdown: AtomicI64::new(-1),
            stacks: [const { Stack::sentinel() }; CLASSES],
            cold: Lock::new(ColdState {
                capacity: Capacity::new(0),
                #[cfg(feature = "experiments")]
                surplus: [Surplus::new(); CLASSES],
                active: ClassSet::EMPTY,
                only_frees: false,
                idle: ClassSet::EMPTY,
                sealed: false,
                arrays: [0; CLASSES],
                used_slots: 0,
            }),
            next: AtomicPtr::new(core::ptr::null_mut()),
            next_unused: AtomicPtr::new(core::ptr::null_mut()),
            slots: core::ptr::null_mut(),
            counts: Counts::new(),
            runs: RunCache::new(),
        }
    }

    /// Makes a cache in a fresh mapping of [`CACHE_BYTES`].
    ///
    /// # Safety
    /// The mapping has that length, is page-aligned, belongs to the caller and is never unmapped.
    pub(crate) unsafe fn create<'a>(
        mapping: NonNull<u8>,
        arena_base: NonNull<u8>,
        arena_bytes: usize,
        class_map: NonNull<ClassEntry>,
    ) -> &'a ThreadCache {
        /// Copied from here, because a cache that is built on the call stack takes 8 KiB of it: as
        /// much as many programs give a signal handler.
        static BLANK: ThreadCache = ThreadCache::sentinel();
        // SAFETY: the offset lies in the mapping of `CACHE_BYTES`.
        let slots: NonNull<Slot> = unsafe { mapping.add(HEADER_AT + HEADER_BYTES) }.cast();
        // SAFETY: the offset lies in the mapping of `CACHE_BYTES`.
        let mut place: NonNull<ThreadCache> = unsafe { mapping.add(HEADER_AT) }.cast();
        // SAFETY: the caller promises room, alignment and ownership. No code writes to `BLANK`, and
        // a cache owns nothing that a copy would share.
        unsafe { place.copy_from_nonoverlapping(NonNull::from(&BLANK), 1) };
        // SAFETY: just written; the caller owns the mapping.
        let cache = unsafe { place.as_mut() };
        cache.slots = slots.as_ptr();
        cache.arena_base = arena_base.as_ptr();
        cache.arena_bytes = arena_bytes;
        cache.class_map = class_map.as_ptr();
        for class in SizeClass::all() {
            cache.stacks[class.index()].set_starts(class.start_test());
        }
        cache
    }

    /// Resets the stacks of a fresh or drained cache to no capacity: slow start for the next owner.
    /// Unless `all` is set, writes only to the stacks of classes that were in use.
    ///
    /// # Safety
    /// No thread owns the cache, and it holds no blocks.
    pub(super) unsafe fn reset(&self, cold: &mut ColdState, all: bool) {
        for class in SizeClass::all() {
            // A thread that does not exist in a forked child may have lowered `top` by a failed
            // pop.
            let stack = self.stack(class);
            if all || cold.capacity.of(class) > 0 || stack.has_moved_from(self.no_array()) {
                // SAFETY: an array without slots; the stack holds no blocks and has no owner.
                unsafe { stack.reset_at(self.no_array(), cold.sealed) };
            }
        }
        if all {
            // SAFETY: as above; class 0 never gets room.
            unsafe { self.stack(SizeClass::NONE).reset_at(self.no_array(), cold.sealed) };
        }
        self.runs.reset();
        cold.capacity = Capacity::new(0);
        #[cfg(feature = "experiments")]
        {
            cold.surplus = [Surplus::new(); CLASSES];
        }
        cold.active = ClassSet::EMPTY;
        cold.only_frees = false;
        cold.idle = ClassSet::EMPTY;
        cold.arrays = [0; CLASSES];
        cold.used_slots = 0;
    }

    /// In a forked child: ends the pop or push in which the fork found the owner; see
    /// [`Stack::end_interrupted`].
    ///
    /// # Safety
    /// The owner does not exist in this process.
    pub(super) unsafe fn end_interrupted(&self) {
        let cold = self.cold.lock();
        for class in SizeClass::all() {
            let array = cold.arrays[class.index()];
            let slots = if array > 0 { 1 << (array - 1) } else { 0 };
            // SAFETY: the caller's promise; the lock is held.
            unsafe { self.stack(class).end_interrupted(slots) };
        }
    }

    /// Seals the stacks of all classes or ends that; see [`Stack::set_sealed`]. The owner's next
    /// allocation then begins a new countdown, also if the stacks are sealed already, because the
    /// mean may have changed. Only an owner that is counting at this moment goes on. `cold` proves
    /// that the caller holds the cache's lock.
    pub(super) fn set_sealed(&self, cold: &mut ColdState, sealed: bool) {
        self.countdown.store(-1, Ordering::Relaxed);
        if core::mem::replace(&mut cold.sealed, sealed) == sealed {
            return;
        }
        for class in SizeClass::all() {
            self.stack(class).set_sealed(sealed);
        }
    }

    /// Returns the empty array of stacks without slots. Padding precedes it, because `push` reads
    /// below an empty stack too.
    fn no_array(&self) -> *mut Slot {
        self.slots.wrapping_add(PADDING)
    }

    /// Returns the mapping that the cache lies in.
    pub(crate) fn span<O: Os>(&self, os: &O) -> Span {
        let header: NonNull<u8> = NonNull::from(self).cast();
        // SAFETY: `create` put the cache at that offset of its mapping.
        let start = unsafe { header.sub(HEADER_AT) };
        Span { start, bytes: CACHE_BYTES.next_multiple_of(os.page_size()) }
    }

    /// Purges the slots that share no page with the header. A refusal of the system is harmless.
    ///
    /// # Safety
    /// No thread owns the cache, and its stacks have no arrays.
    pub(super) unsafe fn purge_slots<O: Os>(&self, os: &O) {
        let all = self.span(os);
        let kept = (HEADER_AT + HEADER_BYTES).next_multiple_of(os.page_size());
        // SAFETY: the header is shorter than the mapping.
        let start = unsafe { all.start.add(kept) };
        let slots = Span { start, bytes: all.bytes - kept };
        // SAFETY: no thread reads a slot before `fit_array` hands it out and it is written.
        let _refused = unsafe { os.purge(slots) };
    }

    /// Returns how many allocations of the owner went to central or the page heap, large blocks
    /// included.
    pub(crate) fn allocation_misses(&self) -> u64 {
        let Counts { refills, large_allocs, .. } = &self.counts;
        refills.load(Ordering::Relaxed) + large_allocs.load(Ordering::Relaxed)
    }

    /// Returns the number of slow paths so far, a measure of the owner's activity.
    pub(crate) fn slow_paths(&self) -> u64 {
        let Counts { refills, flushes, armed_misses, .. } = &self.counts;
        [refills, flushes, armed_misses].map(|count| count.load(Ordering::Relaxed)).iter().sum()
    }

    /// Returns the number of large blocks that the owner has freed.
    pub(crate) fn large_frees(&self) -> u64 {
        self.counts.large_frees.load(Ordering::Relaxed)
    }

    /// Returns whether the owner ran a slow path since the last [`ThreadCache::take_activity`].
    pub(crate) fn is_active(&self) -> bool {
        self.slow_paths() != self.counts.at_last_tick.load(Ordering::Relaxed)
    }

    /// Returns [`ThreadCache::is_active`] and starts a new period. For the reclaimer alone.
    pub(crate) fn take_activity(&self) -> bool {
        let now = self.slow_paths();
        let is_active = self.counts.at_last_tick.load(Ordering::Relaxed) != now;
        self.counts.at_last_tick.store(now, Ordering::Relaxed);
        is_active
    }

    /// Returns the stack of a class.
    #[inline(always)]
    pub(crate) fn stack(&self, class: SizeClass) -> &Stack {
        const { assert!(size_of::<Stack>() == ENTRY_BYTES) }
        let first: *const Stack = self.stacks.as_ptr();
        // SAFETY: a `SizeClass` is below `CLASSES`: it comes from the const-proved table, or from
        // the class map, which is written from `SizeClass` values only.
        let stack = unsafe { first.byte_add(class.entry_offset()) };
        // SAFETY: as above, it is one of the stacks, whose size is that of an entry.
        unsafe { &*stack }
    }

    /// Returns the offset of an address in the arena: `None` outside.
    #[inline(always)]
    pub(crate) fn offset_of(&self, block: *mut u8) -> Option<usize> {
        let offset = block.addr().wrapping_sub(self.arena_base.addr());
        (offset < self.arena_bytes).then_some(offset)
    }

    /// Returns the class of the slab that an address lies in: `None` outside the arena,
    /// [`SizeClass::NONE`] where there is no slab.
    #[inline(always)]
    pub(crate) fn class_of(&self, block: *mut u8) -> Option<SizeClass> {
        let offset = self.offset_of(block)?;
        let entry = self.class_map.wrapping_add(offset >> CHUNK_SHIFT);
        // SAFETY: I-4: the class map is readable for every chunk of the arena. In a sentinel every
        // address is outside the arena.
        let entry = unsafe { &*entry };
        Some(SizeClass::from_raw(entry.load(Ordering::Relaxed)))
    }
}

impl ColdState {
    /// Gives the class's stack a longer array if its present one has fewer than `capacity` slots.
    ///
    /// # Safety
    /// The caller owns `cache`, holds its lock, which guards `self`, and uses no batch of the
    /// stack.
    pub(crate) unsafe fn fit_array(
        &mut self,
        cache: &ThreadCache,
        class: SizeClass,
        capacity: usize,
    ) {
        let present = self.arrays[class.index()];
        if present > 0 && capacity <= 1 << (present - 1) {
            return;
        }
        let slots = capacity.next_power_of_two();
        #[expect(clippy::cast_possible_truncation, reason = "a logarithm")]
        let rank = slots.ilog2() as u8 + 1;
        self.arrays[class.index()] = rank;
        debug_assert!(self.used_slots + PADDING + slots <= SLOTS);
        let array = cache.slots.wrapping_add(self.used_slots + PADDING);
        self.used_slots += PADDING + slots;
        // SAFETY: no array has had these slots of the cache's mapping (`SLOTS` bounds the sum); the
        // rest is the caller's promise.
        unsafe { cache.stack(class).relocate(array, capacity) };
    }
}
