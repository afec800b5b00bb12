//! Central: thread caches get batches of blocks here and put them back.
//!
//! Every (shard, class) has a transfer cache, where batches wait for the next thread cache, and
//! behind it a bin of slabs. A thread uses the shard of its CPU. So the memory here grows with the
//! number of cores, and a thread that ends leaves none behind. A slab serves the shard that opened
//! it until another shard runs out of blocks and adopts it.
//!
//! | doors | file | for |
//! |---|---|---|
//! | `fetch`, `flush` | here | thread caches: batches in and out |
//! | `put` | here | blocks that bypass the transfer caches |
//! | `check_in_use`, `refuse`, `end_if_faulty` | here | a free that fits no block in use |
//! | `drain_unwanted_transfers`, `drain_transfers`, `retire` | here | reclaim: blocks, slabs |
//! | `claim_holes`, `release_holes`, `holes_from` | `holes` | reclaim: pages of part-used slabs |
//! | `free_bytes_hint`, `free_and_dissolved`, `transfer_bytes` | here | the driver of reclaim |
//! | `slab_counts`, `free_pages`, `table_bytes`, `resident_table_bytes` | both | statistics |
//! | `create`, `unmap`, `acquire_all`, `release_all`, `validate` | here | start, fork, tests |
//!
//! Locks: one transfer cache, alone; one bin, or two of one class in the order of their shards
//! (adoption); under one bin the page heap may be locked. No system call is made under these.
//!
//! **I-7.** A block is in exactly one place: held by the program, in one cache (a slot between
//! `base` and `top`), in one transfer cache, free in its slab's bitmap, or claimed by the purge of
//! a hole. On its way between two of these it is in a batch: under the lock of the cache, the
//! transfer cache or the bin, or in the tick that drains a transfer cache. A claimed block counts
//! as used.

pub(crate) mod bin;
pub(crate) mod blocks;
mod grouping;
pub(crate) mod holes;
mod policy;
pub(crate) mod slab;
mod slot_layout;
pub(crate) mod transfer;

use core::ptr::NonNull;

#[cfg(any(test, feature = "check"))]
use crate::base::class_set::ClassSet;
use crate::base::size_class::{CLASSES, SizeClass};
use crate::base::sync::AtomicPtr;
use crate::base::units::{ChunkIndex, Pages, to_u64, to_usize};
use crate::options::Config;
use crate::os::fatal::fatal_small;
use crate::os::lock::Lock;
use crate::os::{Os, Refused, Span, rank};
use crate::segment::Segments;
use crate::segment::pages::Fit;
use bin::{Bin, BinState, BinView, Put, Retired};
use blocks::{BadBlock, Blocks};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use slab::Slab;
use transfer::{TransferTick, Transfers};

/// Holds the address of a block in a thread cache or a batch.
pub(crate) type Slot = AtomicPtr<u8>;

/// The largest number of shards. More would waste part-used slabs and hardly relieve the locks.
const MAX_SHARDS: usize = 64;
/// Other shards whose transfer caches a refill tries before the slabs.
const NEIGHBOUR_SHARDS: usize = 4;

/// The transfer caches and bins of all shards and classes.
#[derive(Debug)]
pub(crate) struct Central {
    bins: NonNull<Bin>,
    transfers: Transfers,
    shards: usize,
    /// Bytes of all slabs opened so far.
    opened: AtomicU64,
    /// Bytes of all slabs whose runs went back so far.
    dissolved: AtomicU64,
    /// The first block that could not be put back.
    fault: Lock<Option<(BadBlock, SizeClass, usize)>, { rank::FAULT }>,
    /// Whether `fault` is set. Written under its lock.
    is_faulty: AtomicBool,
}

// SAFETY: the pointer is fixed at start and leads to bins, which are `Sync`.
unsafe impl Sync for Central {}
// SAFETY: as above.
unsafe impl Send for Central {}

/// Counts over all slabs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SlabCounts {
    pub(crate) slabs: u64,
    /// Bytes of the slabs' runs.
    pub(crate) slab_bytes: u64,
    /// Bytes of free blocks that lie in slabs.
    pub(crate) free_bytes: u64,
    /// Bytes of blocks in use by caches or the program.
    pub(crate) used_bytes: u64,
    /// How often a thread found the lock of a bin held.
    pub(crate) contended_bins: u64,
    /// How often a thread found the lock of a transfer cache held.
    pub(crate) contended_transfers: u64,
}

/// Free and used bytes of all slabs; a hint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FreeBytes {
    pub(crate) free: u64,
    /// In blocks that are not free in their slab: those of the program and those in caches.
    pub(crate) used: u64,
    /// Bytes of all slabs that became empty and left their bins so far; `free` does not include
    /// them.
    pub(crate) dissolved: u64,
}

/// Ends the process because of an invalid free. The caller holds no lock, because a handler of
/// SIGABRT may wait for threads that need it.
#[cold]
pub(crate) fn refuse(reason: BadBlock, class: SizeClass, address: usize) -> ! {
    let bytes = class.block_bytes();
    match reason {
        BadBlock::NoSlab => fatal_small("double free", bytes, "of a slab that is gone", address),
        BadBlock::AlreadyFree => fatal_small("double free", bytes, "free in its slab", address),
        BadBlock::NotInUse => {
            let reason = "double free, or free of a block that was never handed out";
            fatal_small(reason, bytes, "free in its slab", address)
        }
        BadBlock::NoBlockStart => {
            fatal_small("free of an address inside a block", bytes, "no block starts here", address)
        }
    }
}

impl Central {
    /// Maps the bins and transfer caches: as many shards as the user sets or as there are CPUs,
    /// rounded up to a power of two, at most [`MAX_SHARDS`].
    pub(crate) fn create<O: Os>(os: &O, config: &Config) -> Result<Central, Refused> {
        let wanted = config.shards.map(|shards| to_usize(shards.get()));
        let shards = wanted.unwrap_or_else(|| os.cpus()).clamp(1, MAX_SHARDS).next_power_of_two();
        let bytes = Self::bytes_for(os, shards);
        // Fresh memory is zero, and an all-zero bin is an empty one.
        let bins: NonNull<Bin> = os.map(bytes, os.page_size()).ok_or(Refused)?.cast();
        let transfers = Transfers::create(os, shards).inspect_err(|_| {
            // SAFETY: the mapping was just made and no other thread has its address.
            unsafe { os.unmap(Span { start: bins.cast(), bytes }) };
        })?;
        Ok(Central {
            bins,
            transfers,
            shards,
            opened: AtomicU64::new(0),
            dissolved: AtomicU64::new(0),
            fault: Lock::new(None),
            is_faulty: AtomicBool::new(false),
        })
    }

    /// Unmaps the bins and transfer caches after the creation of a heap failed.
    pub(crate) fn unmap<O: Os>(self, os: &O) {
        let bins = Span { start: self.bins.cast(), bytes: Self::bytes_for(os, self.shards) };
        // SAFETY: the mapping came from `map` in `create`; the value that led to it is consumed.
        unsafe { os.unmap(bins) };
        self.transfers.unmap(os);
    }

    /// Returns the bytes of the bins' mapping.
    fn bytes_for<O: Os>(os: &O, shards: usize) -> usize {
        (shards * CLASSES * size_of::<Bin>()).next_multiple_of(os.page_size())
    }

    /// Returns the bytes of the bins and transfer caches.
    pub(crate) fn table_bytes<O: Os>(&self, os: &O) -> u64 {
        to_u64(Self::bytes_for(os, self.shards)) + self.transfers.table_bytes(os)
    }

    /// Returns the resident bytes of the bins and transfer caches.
    pub(crate) fn resident_table_bytes<O: Os>(&self, os: &O) -> u64 {
        let bins = Span { start: self.bins.cast(), bytes: Self::bytes_for(os, self.shards) };
        to_u64(os.resident_bytes(bins)) + self.transfers.resident_table_bytes(os)
    }

    fn bin(&self, shard: usize, class: SizeClass) -> &Bin {
        let index = shard * CLASSES + class.index();
        debug_assert!(shard < self.shards);
        // SAFETY: the table holds a bin for every shard below `shards` and every class.
        let bin = unsafe { self.bins.add(index) };
        // SAFETY: as above; a bin is shared by its lock and atomics.
        unsafe { bin.as_ref() }
    }

    fn shard_of_this_cpu<O: Os>(&self, os: &O) -> usize {
        os.cpu() & (self.shards - 1)
    }

    /// Takes up to `out.len()` blocks of a class into `out`; the last one should be handed out
    /// first. Returns how many; 0 if there is no memory.
    pub(crate) fn fetch<O: Os>(
        &self,
        segments: &Segments<O>,
        class: SizeClass,
        out: &[Slot],
    ) -> usize {
        let shard = self.shard_of_this_cpu(segments.os());
        let taken = self.take_transferred(shard, class, out);
        if taken > out.len() / 2 {
            return taken;
        }
        let taken = taken + self.fetch_from(segments, shard, class, &out[taken..]);
        if taken > 0 {
            return taken;
        }
        if !self.adopt(segments, shard, class) && !self.open_slab(segments, shard, class) {
            return 0;
        }
        // Another thread may have emptied the new slab; then open one more. Each round that fails
        // has served another thread, so the loop ends.
        loop {
            let taken = self.fetch_from(segments, shard, class, out);
            if taken > 0 || !self.open_slab(segments, shard, class) {
                return taken;
            }
        }
    }

    /// Takes blocks from the transfer caches of this shard and then of its neighbours, until more
    /// than half of `out` is filled. Returns how many.
    fn take_transferred(&self, shard: usize, class: SizeClass, out: &[Slot]) -> usize {
        let mut taken = 0;
        for step in 0..self.shards.min(1 + NEIGHBOUR_SHARDS) {
            let from = (shard + step) & (self.shards - 1);
            taken += self.transfers.take(from, class, &out[taken..]);
            if taken > out.len() / 2 {
                break;
            }
        }
        taken
    }

    /// Takes blocks from the slabs of one bin, the lowest one last, so that it is handed out first.
    /// Returns how many.
    fn fetch_from<O: Os>(
        &self,
        segments: &Segments<O>,
        shard: usize,
        class: SizeClass,
        out: &[Slot],
    ) -> usize {
        let bin = self.bin(shard, class);
        let arena = segments.arena();
        let mut state = bin.state.lock();
        let mut view = BinView { bin, state: &mut state, tables: segments.tables(), class };
        let taken = view.take(out, |slab| arena.address(slab.offset()));
        move_to_front(out, taken);
        taken
    }

    /// Opens a slab for the shard. Returns false if there are no pages for it.
    fn open_slab<O: Os>(&self, segments: &Segments<O>, shard: usize, class: SizeClass) -> bool {
        let Some(run) = segments.take(class.slab_pages(), Fit::Chunks) else { return false };
        let bin = self.bin(shard, class);
        let should_prefault = policy::should_prefault(class, || bin.state.lock().slabs());
        let prefaulted = should_prefault && segments.prefault(run);
        let first = Blocks::lay(segments.tables(), run, class, shard_id(shard));
        let mut state = bin.state.lock();
        Slab::of(segments.tables(), first).mark_dirty(segments.tables(), first, class, prefaulted);
        BinView { bin, state: &mut state, tables: segments.tables(), class }.enter(first);
        self.opened.fetch_add(to_u64(class.slab_pages().bytes()), Ordering::Relaxed);
        true
    }

    /// Moves a slab with free blocks from another shard to this one. Returns false if there is
    /// none.
    fn adopt<O: Os>(&self, segments: &Segments<O>, shard: usize, class: SizeClass) -> bool {
        (1..self.shards).map(|step| (shard + step) & (self.shards - 1)).any(|other| {
            self.bin(other, class).has_blocks() && self.move_slab(segments, other, shard, class)
        })
    }

    fn move_slab<O: Os>(
        &self,
        segments: &Segments<O>,
        from: usize,
        to: usize,
        class: SizeClass,
    ) -> bool {
        let tables = segments.tables();
        let (source, target) = (self.bin(from, class), self.bin(to, class));
        // Two bins are locked in the order of their shards.
        let (mut source_state, mut target_state);
        if from < to {
            source_state = source.state.lock();
            target_state = target.state.lock();
        } else {
            target_state = target.state.lock();
            source_state = source.state.lock();
        }
        let mut source = BinView { bin: source, state: &mut source_state, tables, class };
        let Some(first) = source.take_for_adoption() else { return false };
        Slab::of(tables, first).set_shard(shard_id(to));
        BinView { bin: target, state: &mut target_state, tables, class }.enter(first);
        true
    }

    /// Takes a batch of one class from a thread cache. The transfer cache takes as many blocks as
    /// it has room for; the others go to their slabs. The slots are unspecified afterwards.
    pub(crate) fn flush<O: Os>(&self, segments: &Segments<O>, class: SizeClass, batch: &[Slot]) {
        let shard = self.shard_of_this_cpu(segments.os());
        let passed_on = self.transfers.put(shard, class, batch);
        self.put(segments, class, &batch[passed_on..]);
    }

    /// Ends a tick for the transfer caches: moves the blocks that no refill wanted since the last
    /// call to their slabs.
    pub(crate) fn drain_unwanted_transfers<O: Os>(&self, segments: &Segments<O>) -> TransferTick {
        self.transfers.drain_unwanted(|class, batch| self.put(segments, class, batch))
    }

    /// Moves all blocks from the transfer caches to their slabs. Returns their bytes.
    pub(crate) fn drain_transfers<O: Os>(&self, segments: &Segments<O>) -> u64 {
        self.transfers.drain_all(|class, batch| self.put(segments, class, batch))
    }

    /// Returns the bytes of the blocks in the transfer caches; a hint.
    pub(crate) fn transfer_bytes(&self) -> u64 {
        self.transfers.waiting_bytes()
    }

    /// Returns the number of blocks of a class in the transfer caches; a hint.
    pub(crate) fn transfer_blocks(&self, class: SizeClass) -> u64 {
        self.transfers.waiting_blocks(class)
    }

    /// Puts blocks of one class back into their slabs, with one lock per shard. Reorders `batch`.
    ///
    /// A bin keeps one slab that becomes empty; the runs of the others go back to the segments.
    pub(crate) fn put<O: Os>(&self, segments: &Segments<O>, class: SizeClass, batch: &[Slot]) {
        grouping::group(class, batch);
        let mut rest = batch;
        while let Some(slot) = rest.first() {
            let block = slot.load(Ordering::Relaxed);
            let Some(first) = Self::locate(segments, class, block) else {
                self.note_fault(BadBlock::NoSlab, class, block.addr());
                rest = &rest[1..];
                continue;
            };
            let shard = Slab::of(segments.tables(), first).shard();
            rest = &rest[..self.put_shard(segments, class, shard, rest)];
        }
    }

    /// Records that a block cannot be put back. The first fault ends the process as soon as the
    /// thread that noticed it holds no lock. Until then the block is lost.
    #[cold]
    fn note_fault(&self, reason: BadBlock, class: SizeClass, address: usize) {
        let mut fault = self.fault.lock();
        fault.get_or_insert((reason, class, address));
        // Set under the lock, because `report_fault` clears it when it takes the fault.
        self.is_faulty.store(true, Ordering::Relaxed);
    }

    /// Ends the process if a block could not be put back. The caller holds no lock.
    #[inline]
    pub(crate) fn end_if_faulty(&self) {
        if self.is_faulty.load(Ordering::Relaxed) {
            self.report_fault();
        }
    }

    #[cold]
    fn report_fault(&self) {
        // One thread takes the fault. The others go on, because a handler of SIGABRT may wait for
        // them.
        let fault = {
            let mut fault = self.fault.lock();
            self.is_faulty.store(false, Ordering::Relaxed);
            fault.take()
        };
        if let Some((reason, class, address)) = fault {
            refuse(reason, class, address);
        }
    }

    /// Puts the blocks back whose slabs belong to `shard`, and moves the others to the front of the
    /// batch. Returns how many others there are.
    fn put_shard<O: Os>(
        &self,
        segments: &Segments<O>,
        class: SizeClass,
        shard: usize,
        batch: &[Slot],
    ) -> usize {
        let tables = segments.tables();
        let bin = self.bin(shard, class);
        let mut state = bin.state.lock();
        let mut view = BinView { bin, state: &mut state, tables, class };
        let (mut at, mut others) = (0, 0);
        while let Some(slot) = batch.get(at) {
            let block = slot.load(Ordering::Relaxed);
            let Some(first) = Self::locate(segments, class, block) else {
                self.note_fault(BadBlock::NoSlab, class, block.addr());
                at += 1;
                continue;
            };
            // While the lock of a slab's bin is held, the slab stays in that bin.
            if Slab::of(tables, first).shard() != shard {
                batch[others].store(block, Ordering::Relaxed);
                others += 1;
                at += 1;
                continue;
            }
            let start = segments.arena().address(first.offset());
            match view.put(first, start, &batch[at..]) {
                Ok(Put { count, retired }) => {
                    at += count;
                    if let Some(retired) = retired {
                        self.give_back(segments, class, retired);
                    }
                    if count == 0 {
                        self.note_fault(BadBlock::NoBlockStart, class, block.addr());
                        at += 1;
                    }
                }
                Err((reason, address)) => {
                    self.note_fault(reason, class, address);
                    at += 1;
                }
            }
        }
        others
    }

    /// Returns the first chunk of a block's slab; `None` if there is no slab of the class.
    fn locate<O: Os>(
        segments: &Segments<O>,
        class: SizeClass,
        block: *mut u8,
    ) -> Option<ChunkIndex> {
        let offset = block.addr() - segments.arena().base().addr().get();
        let chunk = ChunkIndex::of_offset(offset);
        let tables = segments.tables();
        (tables.class(chunk) == class).then(|| Slab::first_chunk(tables, chunk))
    }

    /// Checks that a block of `class` starts at an offset in the arena and is not free in its slab.
    ///
    /// Exact for a block that the caller may free, because no other thread changes its bit. An
    /// invalid free may pass if another thread takes or puts back the same block meanwhile.
    ///
    /// # Errors
    /// [`BadBlock::NoBlockStart`] or [`BadBlock::NotInUse`].
    pub(crate) fn check_in_use<O: Os>(
        segments: &Segments<O>,
        class: SizeClass,
        offset: usize,
    ) -> Result<(), BadBlock> {
        let tables = segments.tables();
        let first = Slab::first_chunk(tables, ChunkIndex::of_offset(offset));
        let inside = to_u64(offset.wrapping_sub(first.offset()));
        let divisor = class.divisor();
        let block = if divisor.covers(inside) { divisor.block_at(inside) } else { None };
        let block = block.ok_or(BadBlock::NoBlockStart)?;
        if Blocks::of(tables, first, class).is_free(block) {
            return Err(BadBlock::NotInUse);
        }
        Ok(())
    }

    fn give_back<O: Os>(&self, segments: &Segments<O>, class: SizeClass, retired: Retired) {
        self.dissolved.fetch_add(to_u64(class.slab_pages().bytes()), Ordering::Relaxed);
        let (run, touched) = Slab::dissolve(segments.tables(), retired.0, class);
        segments.give(run, touched);
    }

    /// Gives the runs of all empty slabs back to the segments. Returns their pages.
    pub(crate) fn retire<O: Os>(&self, segments: &Segments<O>) -> Pages {
        let mut pages = Pages::ZERO;
        for (shard, class) in self.bins_by_shard() {
            let bin = self.bin(shard, class);
            let mut state = bin.state.lock();
            let mut view = BinView { bin, state: &mut state, tables: segments.tables(), class };
            while let Some(retired) = view.retire() {
                self.give_back(segments, class, retired);
                pages += class.slab_pages();
            }
        }
        pages
    }

    /// Returns the bytes of the free blocks in slabs; a hint, because it takes no lock.
    pub(crate) fn free_bytes_hint(&self) -> u64 {
        let free_bytes = |(shard, class): (usize, SizeClass)| {
            self.bin(shard, class).free_blocks() * to_u64(class.block_bytes())
        };
        self.bins_by_shard().map(free_bytes).sum()
    }

    /// Returns free, used and dissolved bytes; hints.
    pub(crate) fn free_and_dissolved(&self) -> FreeBytes {
        let dissolved = self.dissolved.load(Ordering::Relaxed);
        let slabs = self.opened.load(Ordering::Relaxed).saturating_sub(dissolved);
        let free = self.free_bytes_hint();
        FreeBytes { free, used: slabs.saturating_sub(free), dissolved }
    }

    fn bins_by_shard(&self) -> impl Iterator<Item = (usize, SizeClass)> {
        (0..self.shards).flat_map(|shard| SizeClass::all().map(move |class| (shard, class)))
    }

    /// Sums the counts of all bins, which it locks one by one. Calls `note` with the class, the
    /// slabs and the blocks in use of each bin.
    pub(crate) fn slab_counts(&self, mut note: impl FnMut(SizeClass, u64, u64)) -> SlabCounts {
        let contended_transfers = self.transfers.contended();
        let mut counts = SlabCounts { contended_transfers, ..SlabCounts::default() };
        for (shard, class) in self.bins_by_shard() {
            let bin = self.bin(shard, class);
            let (slabs, free) = {
                let state = bin.state.lock();
                (u64::from(state.slabs()), bin.free_blocks())
            };
            let block = to_u64(class.block_bytes());
            counts.contended_bins += bin.state.contended();
            counts.slabs += slabs;
            counts.slab_bytes += slabs * to_u64(class.slab_pages().bytes());
            counts.free_bytes += free * block;
            let used = slabs * u64::from(class.capacity()) - free;
            counts.used_bytes += used * block;
            note(class, slabs, used);
        }
        counts
    }

    /// Takes all locks of the layer, for fork.
    pub(crate) fn acquire_all(&self) {
        self.transfers.acquire_all();
        for (shard, class) in self.bins_by_shard() {
            self.bin(shard, class).state.acquire();
        }
        self.fault.acquire();
    }

    /// Releases the locks that [`Central::acquire_all`] took, in the parent or the forked child.
    pub(crate) fn release_all(&self) {
        self.fault.release();
        for (shard, class) in self.bins_by_shard() {
            self.bin(shard, class).state.release();
        }
        self.transfers.release_all();
    }

    /// Checks I-6 of every slab and bin; panics on a breach. Other threads may run meanwhile.
    #[cfg(any(test, feature = "check"))]
    pub(crate) fn validate<O: Os>(&self, segments: &Segments<O>) {
        let tables = segments.tables();
        let end = segments.arena().frontier().chunk().get();
        let slab_chunks = || (1..end).map(ChunkIndex::new);
        let classes: ClassSet = slab_chunks().map(|chunk| tables.published_class(chunk)).collect();
        for (shard, class) in self.bins_by_shard() {
            let bin = self.bin(shard, class);
            let state = bin.state.lock();
            if !classes.has(class) && state.slabs() == 0 {
                continue;
            }
            // Slabs that have not entered the bin yet, or have just left it, are empty too. So
            // empty slabs are taken from the count of the bin.
            let (mut used_slabs, mut used_free) = (0, 0);
            for chunk in slab_chunks().filter(|&chunk| tables.published_class(chunk) == class) {
                let slab = Slab::of(tables, chunk);
                if slab.starts_here() && slab.shard() == shard && slab.free() < class.capacity() {
                    Blocks::of(tables, chunk, class).validate();
                    used_slabs += 1;
                    used_free += u64::from(slab.free());
                }
            }
            let empty = u64::from(state.empty());
            let free = used_free + empty * u64::from(class.capacity());
            assert_eq!(bin.free_blocks(), free, "I-6: free blocks of {class:?}");
            assert_eq!(u64::from(state.slabs()), used_slabs + empty, "I-6: slabs of {class:?}");
        }
    }
}

/// Moves the last `count` addresses of a slice to its front.
fn move_to_front(slots: &[Slot], count: usize) {
    let start = slots.len() - count;
    if start > 0 {
        for (from, to) in slots[start..].iter().zip(slots) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// Converts a shard's number to the type that slab headers hold.
fn shard_id(shard: usize) -> u8 {
    #[expect(clippy::cast_possible_truncation, reason = "there are at most 64 shards")]
    let id = shard as u8;
    id
}

const _: () = {
    assert!(MAX_SHARDS <= 256);
    assert!(size_of::<Bin>() == 64);
    // An all-zero bin equals one that `Lock::new` makes with an empty state.
    assert!(align_of::<BinState>() <= 8);
};
