//! The heap: all layers together, and every operation that is not the fast path.
//!
//! | functions | file | for |
//! |---|---|---|
//! | `create` | here | the first call of the process |
//! | `attach`, `detach`, `take_back_caches` | here | a thread's first call, and its end |
//! | `allocate_miss`, `free_miss` | here | the fast path, after a miss |
//! | `allocate`, `allocate_aligned`, `allocate_zeroed`, `free` | here | all other requests |
//! | `allocate_from_cache`, `free_to_cache` | `large` | large blocks of the thread's cache |
//! | `reallocate` | `resize` | blocks that change their size |
//! | `usable_size`, `size_without_waiting`, `utilization` | `resize` | questions about a block |
//! | `after_slow_path`, `is_poll_due`, `after_thread_end` | here | reclaim by the calling thread |
//! | `driver`, `reclaimer_turn` | here | the reclaimer's thread |
//! | `collect`, `tick`, `release_for_system` | here | reclaim on request |
//! | `refusals`, `take_first_refusal`, `may_ask`, `note_asked` | `retry` | the memory limit |
//! | `start_profile`, `stop_profile`, `profile` | `sampling` | the heap profile |
//! | `reconfigure`, `reconfigure_limit`, `set_limit` | here | options that change later |
//! | `stats`, `slow_figures`, `observe`, `write_experiment_lines` | `statistics` | reports |
//! | `acquire_all`, `release_all`, `abandon_other_threads` | here | fork |
//!
//! When memory is exhausted, `retry` empties caches and tries once more.

mod exhaustion;
mod large;
mod resize;
mod retry;
mod sampling;
pub(crate) mod statistics;

use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::base::size_class::{MAX_SMALL, MIN_ALIGN, SizeClass};
use crate::cache::below::Below;
use crate::cache::registry::Registry;
use crate::cache::{Front, OwnCache, ThreadCache};
use crate::central::{self, Central};
use crate::options::{Config, Limit};
use crate::os::fatal::{fatal, fatal_small};
use crate::os::{Os, Refused};
use crate::profiler::Profile;
use crate::reclaim::driver::{Driver, Turns};
use crate::reclaim::source::Layers;
use crate::reclaim::{Next, Reclaim};
use crate::segment::Segments;
use crate::transfer::Transfers;

use exhaustion::Exhaustion;

/// The address is not one that hz3 manages. The call has changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign;

/// Events of blocks that do not come from slabs, except those that a cache counts.
#[derive(Debug, Default)]
struct LargeCounts {
    large_allocs: AtomicU64,
    large_frees: AtomicU64,
    huge_allocs: AtomicU64,
}

/// One heap over one operating system.
#[derive(Debug)]
pub(crate) struct Heap<O> {
    segments: Segments<O>,
    central: Central,
    transfers: Transfers,
    registry: Registry,
    reclaim: Reclaim,
    counts: LargeCounts,
    exhaustion: Exhaustion,
    /// The same for the program's function at the memory limit.
    asked: Exhaustion,
    profile: Profile,
}

impl<O: Os> Heap<O> {
    /// Reserves the arena and maps the bins and transfer caches.
    pub(crate) fn create(os: O, config: &Config) -> Result<Heap<O>, Refused> {
        let central = Central::create(&os, config)?;
        let Ok(transfers) = Transfers::create(&os, central.shards()) else {
            central.unmap(&os);
            return Err(Refused);
        };
        let segments = match Segments::reserve(os, config) {
            Ok(segments) => segments,
            Err(os) => {
                // The next attempt maps its own bins and transfer caches.
                transfers.unmap(&os);
                central.unmap(&os);
                return Err(Refused);
            }
        };
        Ok(Heap {
            segments,
            central,
            transfers,
            registry: Registry::new(config),
            reclaim: Reclaim::new(config),
            counts: LargeCounts::default(),
            exhaustion: Exhaustion::new(),
            asked: Exhaustion::new(),
            profile: Profile::new(config),
        })
    }

    fn below(&self) -> Below<'_, O> {
        let granted = self.registry.granted();
        Below {
            transfers: &self.transfers,
            central: &self.central,
            segments: &self.segments,
            granted,
        }
    }

    /// Returns the layers, for reclaim. The caller is in no cache operation.
    fn layers<'a>(&'a self, front: Front<'a>) -> Layers<'a, O> {
        Layers::new(&self.registry, self.below(), front)
    }

    pub(crate) fn os(&self) -> &O {
        self.segments.os()
    }

    /// Returns the driver, which decides on which thread memory goes back, and when a tick is due.
    pub(crate) fn driver(&self) -> &Driver {
        self.reclaim.driver()
    }

    /// Takes the options from a changed configuration that may change in a running process. Those
    /// of the memory limit are not among them.
    pub(crate) fn reconfigure(&self, config: &Config) {
        self.reclaim.reconfigure(config);
    }

    /// Takes another memory limit and its mode, and the bytes near which there is pressure.
    pub(crate) fn reconfigure_limit(&self, config: &Config, soft: Option<u64>) {
        self.segments.limit().reconfigure(config);
        self.set_limit(config.limit, soft);
    }

    /// Takes another memory limit, and the bytes near which there is pressure.
    pub(crate) fn set_limit(&self, limit: Limit, soft: Option<u64>) {
        self.segments.limit().set(limit, soft);
    }

    /// Gives everything free back because memory is short outside the heap, unless a policy decides
    /// otherwise.
    pub(crate) fn release_for_system(&self, front: Front<'_>) {
        self.reclaim.release_for_system(self.layers(front));
        self.central.end_if_faulty();
    }

    /// Returns a cache for the calling thread; `None` if there is no memory for one.
    pub(crate) fn attach(&self) -> Option<OwnCache<'_>> {
        self.registry.attach(self.below())
    }

    /// Takes back caches of threads that ended without [`Heap::detach`], if there are many caches;
    /// see [`Registry::take_back`].
    pub(crate) fn take_back_caches(&self, is_gone: impl Fn(u32) -> bool) {
        self.registry.take_back(self.below(), is_gone);
        self.central.end_if_faulty();
    }

    /// Takes back the cache of a thread that ends.
    ///
    /// # Safety
    /// The thread does not use its cache, which came from [`Heap::attach`], any more.
    pub(crate) unsafe fn detach(&self, own: OwnCache<'_>) {
        // SAFETY: the caller's promise.
        unsafe { self.registry.detach(own, self.below()) };
        self.reclaim.thread_ended(self.below());
        self.central.end_if_faulty();
    }

    /// Allocates at least `size` bytes, aligned to 16.
    pub(crate) fn allocate(&self, front: Front<'_>, size: usize) -> Option<NonNull<u8>> {
        if size > MAX_SMALL {
            return self.allocate_large(front, size, MIN_ALIGN);
        }
        self.allocate_small(front, SizeClass::of_size(size), size, MIN_ALIGN)
    }

    /// Allocates a block of `class` for a request of `size` bytes at a multiple of `align`.
    fn allocate_small(
        &self,
        front: Front<'_>,
        class: SizeClass,
        size: usize,
        align: usize,
    ) -> Option<NonNull<u8>> {
        if self.take_sample_due(front, size) {
            return self.allocate_sample(front, class, size, align);
        }
        self.allocate_unsampled(front, class)
    }

    /// Allocates a block of `class` that the heap profile does not count.
    fn allocate_unsampled(&self, front: Front<'_>, class: SizeClass) -> Option<NonNull<u8>> {
        let Front::Cache(cache) = front else {
            let fetch = || self.fetch_one(class);
            return self.or_make_room(front, class, fetch(), fetch);
        };
        // SAFETY: the cache is the calling thread's.
        match unsafe { cache.stack(class).pop_sealed() } {
            Some(block) => NonNull::new(block),
            // SAFETY: the pop has just failed.
            None => unsafe { self.refill(cache, class) },
        }
    }

    /// Allocates `size` bytes after `hot::malloc` failed.
    ///
    /// # Safety
    /// The fast path has just missed on this cache with this size.
    pub(crate) unsafe fn allocate_miss(
        &self,
        own: OwnCache<'_>,
        size: usize,
    ) -> Option<NonNull<u8>> {
        if size > MAX_SMALL {
            return self.allocate_large(Front::Cache(own), size, MIN_ALIGN);
        }
        let class = SizeClass::of_size(size);
        if self.profile.is_on() {
            // The pop may have failed only because the stack is sealed, so this counts the request
            // and pops again.
            own.stack(class).undo_pop();
            return self.allocate_small(Front::Cache(own), class, size, MIN_ALIGN);
        }
        // SAFETY: the caller's promise.
        unsafe { self.refill(own, class) }
    }

    /// # Safety
    /// A pop of the class has just failed on this cache.
    unsafe fn refill(&self, own: OwnCache<'_>, class: SizeClass) -> Option<NonNull<u8>> {
        let refill = || {
            // SAFETY: the caller's promise; for `again`, its own pop has just failed.
            let block = unsafe { own.refill(self.below(), class) };
            // The cache may have taken capacity from other classes and flushed their blocks.
            self.central.end_if_faulty();
            block.and_then(NonNull::new)
        };
        let again = || {
            // SAFETY: the cache is the calling thread's.
            let block = unsafe { own.stack(class).pop_sealed() };
            block.map_or_else(refill, NonNull::new)
        };
        self.or_make_room(Front::Cache(own), class, refill(), again)
    }

    /// Fetches one block directly from central, for a thread without a cache.
    fn fetch_one(&self, class: SizeClass) -> Option<NonNull<u8>> {
        let slot = [AtomicPtr::new(core::ptr::null_mut())];
        self.below().fetch(class, &slot);
        NonNull::new(slot[0].load(Ordering::Relaxed))
    }

    /// Returns `found`, or makes room and tries `again`. If that fails too, the block gets a run or
    /// a mapping of its own.
    fn or_make_room(
        &self,
        front: Front<'_>,
        class: SizeClass,
        found: Option<NonNull<u8>>,
        again: impl FnOnce() -> Option<NonNull<u8>>,
    ) -> Option<NonNull<u8>> {
        found
            .or_else(|| self.retry(front, || again().or_else(|| self.allocate_without_slab(class))))
    }

    /// Allocates at least `size` bytes at a multiple of `align`, a power of two.
    pub(crate) fn allocate_aligned(
        &self,
        front: Front<'_>,
        align: usize,
        size: usize,
    ) -> Option<NonNull<u8>> {
        match SizeClass::of_layout(size, align) {
            Some(class) => self.allocate_small(front, class, size, align),
            None => self.allocate_large(front, size.max(1), align),
        }
    }

    /// As [`Heap::allocate_aligned`], and the block reads as zero. Clean pages are not written.
    pub(crate) fn allocate_zeroed(
        &self,
        front: Front<'_>,
        align: usize,
        size: usize,
    ) -> Option<NonNull<u8>> {
        if let Some(class) = SizeClass::of_layout(size, align) {
            let block = self.allocate_small(front, class, size, align)?;
            // SAFETY: the block has at least `size` bytes and belongs to this call alone.
            unsafe { block.write_bytes(0, size) };
            return Some(block);
        }
        self.allocate_large_zeroed(front, size.max(1), align)
    }

    /// Frees a block after `hot::free` failed.
    ///
    /// # Safety
    /// A free of `block` on this front has just missed. The program does not use a block of hz3's
    /// again after this call.
    pub(crate) unsafe fn free_miss(&self, front: Front<'_>, block: *mut u8) -> Result<(), Foreign> {
        let Some(offset) = self.segments.arena().offset_of(block.addr()) else {
            return self.free_outside(front, block);
        };
        let class = self.segments.class_at(offset);
        if class == SizeClass::NONE {
            // Pages that the arena skipped belong to other mappings, which may be huge blocks.
            return self.free_large(front, offset).or_else(|_| self.free_outside(front, block));
        }
        if let Err(reason) = Central::check_in_use(&self.segments, class, offset) {
            central::refuse(reason, class, block.addr());
        }
        match front {
            Front::Cache(cache) => {
                // SAFETY: the block is of that class, and the caller frees it.
                if unsafe { cache.overflow(self.below(), class, block) }.is_err() {
                    let bytes = class.block_bytes();
                    fatal_small("double free", bytes, "in this thread's cache", block.addr());
                }
            }
            Front::Direct => {
                self.central.put(&self.segments, class, &[AtomicPtr::new(block)]);
            }
        }
        self.central.end_if_faulty();
        Ok(())
    }

    /// Frees a block that is no part of the arena.
    fn free_outside(&self, front: Front<'_>, block: *mut u8) -> Result<(), Foreign> {
        if block.is_null() || self.free_guarded(front, block) {
            return Ok(());
        }
        // First, because another thread's mapping may get the address.
        self.profile.leave_huge(self.os(), block.addr());
        if self.segments.free_huge(block.addr()) {
            return Ok(());
        }
        if self.segments.arena().offset_of(block.addr()).is_some() {
            fatal("free of an address that is no block, or free already", block.addr());
        }
        if self.segments.arena().contains(block.addr()) {
            fatal("free of an address that was never handed out", block.addr());
        }
        if self.segments.is_in_huge(block.addr()) {
            fatal("free of an address that is no block, but inside one", block.addr());
        }
        Err(Foreign)
    }

    /// Frees a block, by the cache if it has room.
    ///
    /// # Safety
    /// The program does not use the block again.
    pub(crate) unsafe fn free(&self, front: Front<'_>, block: *mut u8) -> Result<(), Foreign> {
        if let Front::Cache(cache) = front
            && let Some(class) = cache.class_of(block)
            // SAFETY: the cache is the calling thread's.
            && unsafe { cache.stack(class).push(block) }
        {
            return Ok(());
        }
        // SAFETY: the caller's promise; the push has just failed.
        unsafe { self.free_miss(front, block) }
    }

    /// Empties every cache, retires every empty slab, and purges free pages until at most `keep`
    /// bytes of them may hold memory. Returns the bytes given back.
    pub(crate) fn collect(&self, front: Front<'_>, keep: usize) -> usize {
        let given_back = self.reclaim.collect(self.layers(front), keep);
        self.central.end_if_faulty();
        given_back
    }

    /// Runs one tick of the default policy, or one epoch of an experiment.
    pub(crate) fn tick(&self, front: Front<'_>) -> Next {
        let next = self.reclaim.tick(self.layers(front));
        self.central.end_if_faulty();
        next
    }

    /// Reclaims, or asks for the reclaimer's thread, if enough memory is free. Call it after a slow
    /// path, with no lock held.
    #[inline]
    pub(crate) fn after_slow_path(&self, front: Front<'_>) {
        self.reclaim.after_slow_path(self.layers(front));
        self.central.end_if_faulty();
    }

    /// Returns whether [`Heap::after_slow_path`] is due after a large block was freed into the
    /// caller's cache.
    #[inline]
    pub(crate) fn is_poll_due(&self, own: &ThreadCache) -> bool {
        self.reclaim.is_poll_due(own)
    }

    /// As [`Heap::after_slow_path`], for a thread that has just given its cache back.
    pub(crate) fn after_thread_end(&self) {
        self.reclaim.after_thread_end(self.layers(Front::Direct));
        self.central.end_if_faulty();
    }

    /// Runs a turn of the reclaimer's thread. Returns whether the thread continues.
    pub(crate) fn reclaimer_turn(&self, turns: &mut Turns) -> bool {
        let goes_on = self.reclaim.thread_turn(self.layers(Front::Direct), turns);
        self.central.end_if_faulty();
        goes_on
    }

    /// Trims as a process without a reclaimer does, for tests.
    #[cfg(test)]
    pub(crate) fn trim(&self, front: Front<'_>, counts_slabs: bool) {
        self.reclaim.trim(self.layers(front), counts_slabs);
        self.central.end_if_faulty();
    }

    /// Takes every lock, in lock order, so that no operation is half done at a fork.
    pub(crate) fn acquire_all(&self) {
        self.reclaim.acquire_all();
        self.profile.acquire_all();
        self.registry.acquire_all();
        self.transfers.acquire_all();
        self.central.acquire_all();
        self.segments.acquire_all();
        self.profile.guards().acquire_all();
    }

    /// Releases the locks that [`Heap::acquire_all`] took, perhaps in the forked child.
    pub(crate) fn release_all(&self) {
        self.profile.guards().release_all();
        self.segments.release_all();
        self.central.release_all();
        self.transfers.release_all();
        self.registry.release_all();
        self.profile.release_all();
        self.reclaim.release_all();
    }

    /// In a forked child: takes over the blocks in the caches of the other threads.
    pub(crate) fn abandon_other_threads(&self, own: Option<OwnCache<'_>>) {
        self.reclaim.forget_other_threads();
        self.registry.adopt_orphans(own, self.below());
        self.central.end_if_faulty();
    }

    /// Returns the offset of a block in the arena, for tests.
    #[cfg(test)]
    pub(crate) fn offset_of(&self, block: NonNull<u8>) -> Option<usize> {
        self.segments.arena().offset_of(block.addr().get())
    }

    /// Returns the class of the slab at an offset of the arena, for tests.
    #[cfg(test)]
    pub(crate) fn class_at(&self, offset: usize) -> SizeClass {
        self.segments.class_at(offset)
    }

    /// Steals from a cache, for tests.
    #[cfg(test)]
    pub(crate) fn steal_from(&self, cache: &ThreadCache) -> Option<u64> {
        cache.steal(self.below())
    }

    /// Checks every invariant that can be checked from inside and panics if one is broken. No other
    /// thread may use the heap.
    #[cfg(test)]
    pub(crate) fn validate(&self) {
        self.validate_at_work(None);
        Central::validate_notes(&self.segments, crate::reclaim::system_page(self.os()));
        self.validate_statistics();
    }

    /// As [`Heap::validate`], while other threads use the heap: skips invariants that hold only at
    /// rest. The calling thread holds no lock; `own` is its cache.
    #[cfg(any(test, feature = "check"))]
    pub(crate) fn validate_at_work(&self, own: Option<OwnCache<'_>>) {
        self.segments.validate();
        self.central.validate(&self.segments);
        self.registry.validate(own);
        if let Some(own) = own {
            own.validate(self.below());
        }
    }
}
