//! Thread caches: what makes malloc and free of a small block a matter of a few instructions.
//!
//! A cache holds one `Stack` of block pointers a class. A freed block goes into the cache of the
//! thread that frees it, whoever allocated it, and from there in batches to central. Any thread
//! can empty another's cache (see [`steal`]); the owner pays nothing for that.
//!
//! The header with the stacks and the pointer arrays lie in one mapping of their own. Arrays are
//! small at first and are replaced by larger ones as a class's capacity grows, so a thread that
//! touches every class has a few pages here and not its worst case.

#[cfg(not(loom))]
pub(crate) mod below;
#[cfg(not(loom))]
pub(crate) mod capacity;
#[cfg(all(not(loom), feature = "experiments"))]
mod experiments;
#[cfg(not(loom))]
mod owned;
#[cfg(not(loom))]
pub(crate) mod refill;
#[cfg(not(loom))]
pub(crate) mod registry;
#[cfg(not(loom))]
pub(crate) mod runs;
#[cfg(all(test, not(loom)))]
#[expect(clippy::undocumented_unsafe_blocks, reason = "a test plays the thread that owns a cache")]
pub(crate) mod stand;
pub(crate) mod steal;
#[cfg(all(test, not(loom)))]
#[expect(clippy::undocumented_unsafe_blocks, reason = "a test plays the thread that owns a cache")]
mod tests;

#[cfg(not(loom))]
pub(crate) use thread_cache::{CACHE_BYTES, ColdState, Counts, Front, ThreadCache};

#[cfg(not(loom))]
mod thread_cache {
    use core::ptr::NonNull;
    use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

    use super::capacity::{Capacity, most};
    #[cfg(feature = "experiments")]
    use super::experiments::Surplus;
    use super::runs::RunCache;
    use super::steal::{PADDING, Slot, Stack};
    use crate::base::class_set::ClassSet;
    use crate::base::list::Member;
    use crate::base::size_class::{CLASSES, ENTRY_BYTES, SizeClass};
    use crate::base::units::{CHUNK_SHIFT, PAGE_BYTES, to_usize};
    use crate::os::lock::Lock;
    use crate::os::{Os, Span, rank};
    use crate::segment::tables::ClassEntry;

    /// One thread's cache. The first fields are all that malloc and free of a cached class read.
    #[repr(C, align(64))]
    #[derive(Debug)]
    pub(crate) struct ThreadCache {
        arena_base: *mut u8,
        /// 0 in a sentinel: then no address is in the arena and every free misses.
        arena_bytes: usize,
        class_map: *const ClassEntry,
        pub(crate) stacks: [Stack; CLASSES],
        /// Held by the owner in its cold path and by a thief.
        pub(crate) cold: Lock<ColdState, { rank::CACHE }>,
        /// The next cache of the registry.
        next: AtomicPtr<ThreadCache>,
        /// The next unused cache. Guarded by the registry's lock.
        pub(super) next_unused: AtomicPtr<ThreadCache>,
        /// The slots for the stacks' arrays, behind this header.
        slots: *mut Slot,
        pub(crate) counts: Counts,
        /// Runs of large blocks that the owner freed.
        pub(crate) runs: RunCache,
    }

    // SAFETY: the pointers are fixed at creation and lead to the arena; everything else is made of
    // atomics or behind the lock. Who may pop and push is the contract of `Stack`.
    unsafe impl Sync for ThreadCache {}

    /// The thread's cache, or what serves in its place before its first call and after its end.
    #[derive(Clone, Copy, Debug)]
    pub(crate) enum Front<'a> {
        /// The calling thread's own cache.
        Cache(&'a ThreadCache),
        /// No cache: single blocks go to and from central.
        Direct,
    }

    impl<'a> Front<'a> {
        /// The thread's own cache, if it has one.
        pub(crate) fn cache(self) -> Option<&'a ThreadCache> {
            match self {
                Front::Cache(cache) => Some(cache),
                Front::Direct => None,
            }
        }
    }

    /// Single-writer counters: written by the owner, summed by whoever asks.
    #[derive(Debug, Default)]
    pub(crate) struct Counts {
        pub(crate) refills: AtomicU64,
        pub(crate) flushes: AtomicU64,
        /// Misses that found their stack closed.
        pub(super) openings: AtomicU64,
        /// The slow paths at the last tick; written by the reclaimer alone.
        pub(super) seen: AtomicU64,
        /// The slow paths at the owner's last epoch by count.
        #[cfg(feature = "experiments")]
        epoch_at: AtomicU64,
        /// The slow paths at the owner's last estimate of what could be given back.
        estimate_at: AtomicU64,
        pub(crate) requests: AtomicU64,
        pub(crate) frees: AtomicU64,
        pub(crate) large_allocs: AtomicU64,
        pub(crate) large_frees: AtomicU64,
    }

    /// What a cache's lock protects.
    #[derive(Debug)]
    pub(crate) struct ColdState {
        pub(crate) capacity: Capacity,
        /// What decay remembers.
        #[cfg(feature = "experiments")]
        pub(super) surplus: [Surplus; CLASSES],
        /// Classes of which the owner ran a slow path since the last tick.
        pub(super) active: ClassSet,
        /// The owner has only freed since the cache was shed, and gains nothing from larger classes.
        pub(super) only_frees: bool,
        /// Classes that a tick emptied because the owner, at work in others, did not want them.
        pub(super) idle: ClassSet,
        /// The array of each stack, as log2 of its slots plus one; 0 for none.
        arrays: [u8; CLASSES],
        /// Slots handed out to arrays so far.
        used_slots: usize,
    }

    /// Slots for the arrays of all classes: each class's arrays double from a few slots to its
    /// most, and together take less than twice the last.
    const SLOTS: usize = {
        let mut slots = 0;
        let mut class = 1;
        while class < CLASSES {
            let last = most(SizeClass::block_bytes_of(class));
            slots += 2 * last + PADDING * (to_usize(last.ilog2()) + 1);
            class += 1;
        }
        slots
    };
    /// Where the header starts in its mapping. Blocks of 4 KiB and more tend to start at the start
    /// of a page, where programs write first; a CPU that compares the low 12 bits of addresses
    /// takes a load from the same place of another page for a load of that store. So the fields
    /// that every malloc and free reads lie elsewhere in their page.
    const HEADER_AT: usize = 64 * 5;
    const HEADER_BYTES: usize = size_of::<ThreadCache>().next_multiple_of(64);
    /// Bytes of a cache's mapping: address space, most of which is never touched.
    pub(crate) const CACHE_BYTES: usize =
        (HEADER_AT + HEADER_BYTES + SLOTS * size_of::<Slot>()).next_multiple_of(16 * PAGE_BYTES);

    impl Counts {
        const fn new() -> Counts {
            Counts {
                refills: AtomicU64::new(0),
                flushes: AtomicU64::new(0),
                openings: AtomicU64::new(0),
                seen: AtomicU64::new(0),
                #[cfg(feature = "experiments")]
                epoch_at: AtomicU64::new(0),
                estimate_at: AtomicU64::new(0),
                requests: AtomicU64::new(0),
                frees: AtomicU64::new(0),
                large_allocs: AtomicU64::new(0),
                large_frees: AtomicU64::new(0),
            }
        }

        /// Whether `interval` slow paths have passed since the last epoch. For the owner alone.
        #[cfg(feature = "experiments")]
        pub(crate) fn is_epoch_due(&self, slow_paths: u64, interval: u64) -> bool {
            Self::is_due(&self.epoch_at, slow_paths, interval)
        }

        /// Whether `interval` slow paths have passed since the last estimate. For the owner alone.
        pub(crate) fn is_estimate_due(&self, slow_paths: u64, interval: u64) -> bool {
            Self::is_due(&self.estimate_at, slow_paths, interval)
        }

        /// Whether `interval` slow paths have passed since it last said so.
        fn is_due(last: &AtomicU64, slow_paths: u64, interval: u64) -> bool {
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
        /// A cache in which every operation misses: what a thread has before its first
        /// allocation and after its end.
        pub(crate) const fn sentinel() -> ThreadCache {
            ThreadCache {
                arena_base: core::ptr::null_mut(),
                arena_bytes: 0,
                class_map: core::ptr::null(),
                stacks: [const { Stack::sentinel() }; CLASSES],
                cold: Lock::new(ColdState {
                    capacity: Capacity::new(0),
                    #[cfg(feature = "experiments")]
                    surplus: [Surplus::new(); CLASSES],
                    active: ClassSet::EMPTY,
                    only_frees: false,
                    idle: ClassSet::EMPTY,
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
        /// The mapping is that long, page-aligned, and the caller's; it is never unmapped.
        pub(crate) unsafe fn create<'a>(
            mapping: NonNull<u8>,
            arena_base: NonNull<u8>,
            arena_bytes: usize,
            class_map: NonNull<ClassEntry>,
        ) -> &'a ThreadCache {
            // SAFETY: the mapping is longer than that.
            let slots: NonNull<Slot> = unsafe { mapping.add(HEADER_AT + HEADER_BYTES) }.cast();
            let mut cache = ThreadCache {
                slots: slots.as_ptr(),
                arena_base: arena_base.as_ptr(),
                arena_bytes,
                class_map: class_map.as_ptr(),
                ..ThreadCache::sentinel()
            };
            for class in SizeClass::all() {
                cache.stacks[class.index()].set_starts(class.start_test());
            }
            // SAFETY: the mapping is longer than that.
            let place: NonNull<ThreadCache> = unsafe { mapping.add(HEADER_AT) }.cast();
            // SAFETY: the caller promises room, alignment and ownership.
            unsafe { place.write(cache) };
            // SAFETY: just written; the mapping stays for ever.
            unsafe { place.as_ref() }
        }

        /// Makes a fresh or retired cache's stacks empty and without capacity, so that the next
        /// owner starts slowly. Writes only to the stacks of classes that were in use.
        ///
        /// # Safety
        /// No thread owns the cache, and it holds no blocks.
        pub(super) unsafe fn reset(&self, cold: &mut ColdState, all: bool) {
            for class in SizeClass::all() {
                // A thread that a fork left behind may have lowered `top` before its first miss.
                let stack = self.stack(class);
                if all || cold.capacity.of(class) > 0 || stack.is_displaced(self.no_array()) {
                    // SAFETY: an array without slots; the stack holds no blocks and has no owner.
                    unsafe { stack.restart(self.no_array()) };
                }
            }
            if all {
                // SAFETY: as above; class 0 never gets room.
                unsafe { self.stack(SizeClass::NONE).restart(self.no_array()) };
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

        /// The array of a stack without slots. It has the padding of any array, because the owner
        /// reads below an empty stack too.
        fn no_array(&self) -> *mut Slot {
            self.slots.wrapping_add(PADDING)
        }

        /// The cache's mapping.
        pub(crate) fn span<O: Os>(&self, os: &O) -> Span {
            let header: NonNull<u8> = NonNull::from(self).cast();
            // SAFETY: the cache was created that far into its mapping.
            let start = unsafe { header.sub(HEADER_AT) };
            Span { start, bytes: CACHE_BYTES.next_multiple_of(os.page_size()) }
        }

        /// Gives the memory of the slots back, as far as they share no page with the header. Nothing is
        /// lost if the system refuses.
        ///
        /// # Safety
        /// No thread owns the cache, and its stacks have no arrays.
        pub(super) unsafe fn purge_slots<O: Os>(&self, os: &O) {
            let all = self.span(os);
            let kept = (HEADER_AT + HEADER_BYTES).next_multiple_of(os.page_size());
            // SAFETY: the header is shorter than the mapping.
            let start = unsafe { all.start.add(kept) };
            let slots = Span { start, bytes: all.bytes - kept };
            // SAFETY: nobody reads a slot before it is handed out to an array and written.
            let _refused = unsafe { os.purge(slots) };
        }

        /// How many allocations of the owner went to central or the page heap, large blocks included.
        pub(crate) fn takes(&self) -> u64 {
            let Counts { refills, large_allocs, .. } = &self.counts;
            refills.load(Ordering::Relaxed) + large_allocs.load(Ordering::Relaxed)
        }

        /// Slow paths of the cache so far: a clock of its owner's activity.
        pub(crate) fn slow_paths(&self) -> u64 {
            let Counts { refills, flushes, openings, .. } = &self.counts;
            [refills, flushes, openings].map(|count| count.load(Ordering::Relaxed)).iter().sum()
        }

        /// Number of large blocks that the owner freed.
        pub(crate) fn large_frees(&self) -> u64 {
            self.counts.large_frees.load(Ordering::Relaxed)
        }

        /// Whether the owner ran a slow path since the last [`ThreadCache::was_active`].
        pub(crate) fn is_active(&self) -> bool {
            self.slow_paths() != self.counts.seen.load(Ordering::Relaxed)
        }

        /// As [`ThreadCache::is_active`], and begins anew. For the reclaimer alone.
        pub(crate) fn was_active(&self) -> bool {
            let now = self.slow_paths();
            let was_active = self.counts.seen.load(Ordering::Relaxed) != now;
            self.counts.seen.store(now, Ordering::Relaxed);
            was_active
        }

        /// The stack of a class.
        #[inline(always)]
        pub(crate) fn stack(&self, class: SizeClass) -> &Stack {
            const { assert!(size_of::<Stack>() == ENTRY_BYTES) }
            let first: *const Stack = self.stacks.as_ptr();
            // SAFETY: a `SizeClass` is below `CLASSES`: it comes from the const-proved table, or
            // from the class map, which is written from `SizeClass` values only.
            let stack = unsafe { first.byte_add(class.entry_offset()) };
            // SAFETY: as above, it is one of the stacks, whose size is that of an entry.
            unsafe { &*stack }
        }

        /// The class of the slab that a block lies in: `None` outside the arena,
        /// [`SizeClass::NONE`] where there is no slab.
        #[inline(always)]
        pub(crate) fn class_of(&self, block: *mut u8) -> Option<SizeClass> {
            let offset = block.addr().wrapping_sub(self.arena_base.addr());
            if offset >= self.arena_bytes {
                return None;
            }
            let entry = self.class_map.wrapping_add(offset >> CHUNK_SHIFT);
            // SAFETY: I-4: the class map is readable for every chunk of the arena, and in a
            // sentinel no offset gets here.
            let entry = unsafe { &*entry };
            Some(SizeClass::from_raw(entry.load(Ordering::Relaxed)))
        }
    }

    impl ColdState {
        /// Gives `stack` an array for `capacity` slots if its present one is smaller.
        ///
        /// # Safety
        /// The caller owns `cache`, whose policy this is, and no batch of the stack is in use.
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
            // SAFETY: the slots are fresh ones of the cache's own mapping (SLOTS bounds the sum);
            // the rest is the caller's promise.
            unsafe { cache.stack(class).relocate(array, capacity) };
        }
    }
}
