//! Central: where thread caches get batches of blocks and put them back.
//!
//! Two doors: [`Central::fetch`] and [`Central::flush`]. Behind them every (shard, class) has a
//! transfer cache, where batches wait for the next cache, and behind that a bin, which has slabs.
//! A shard follows the CPU that refills, not the thread, so that what lies here grows with the
//! cores of the machine and no thread's end strands anything. A slab serves the shard that opened
//! it until another shard, out of blocks, adopts it before opening a new one.
//!
//! Locks: one transfer cache, alone; one bin, or two of one class in the order of their shards
//! (adoption); under one bin the page heap may be locked. No system call is made under these.
//!
//! **I-7.** A block is in exactly one place: held by the program, in one cache (a slot between
//! `base` and `top`), in one transfer cache, free in its slab's bitmap, or claimed by the purge of
//! a hole. Between two of these it is in a batch, under the lock of the cache, the transfer cache
//! or the bin, or in the hands of the tick that drains a transfer cache. A claimed block counts as
//! used.

pub(crate) mod bin;
pub(crate) mod blocks;
mod grouping;
pub(crate) mod holes;
pub(crate) mod slab;
mod slot_layout;
pub(crate) mod transfer;

use core::ptr::NonNull;

#[cfg(any(test, feature = "check"))]
use crate::base::class_set::ClassSet;
use crate::base::size_class::{CLASSES, SizeClass};
use crate::base::sync::AtomicPtr;
use crate::base::units::{ChunkIndex, PAGE_BYTES, Pages, to_u64, to_usize};
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

/// A place for a block in a thread cache or a batch.
pub(crate) type Slot = AtomicPtr<u8>;

/// More shards than this would spread slabs thinner than they relieve locks.
const MAX_SHARDS: usize = 64;
/// Transfer caches of other shards that a refill looks into before it goes to the slabs.
const NEIGHBOUR_SHARDS: usize = 4;

/// A bin that needs one more slab than this will fill it too, or so it is taken: the slab is
/// prefaulted at once. What that can waste is one slab beside these.
const PROVEN_SLABS: u32 = 3;
/// Bytes of the longest block whose slabs are prefaulted: who writes to each such block writes to
/// each page, while of longer ones most pages may never be touched.
const MAX_PREFAULTED: usize = PAGE_BYTES;

/// The transfer caches and bins of all shards and classes.
#[derive(Debug)]
pub(crate) struct Central {
    bins: NonNull<Bin>,
    transfers: Transfers,
    shards: usize,
    /// Bytes of all slabs that were opened, and of those that gave their runs back, so far.
    opened: AtomicU64,
    dissolved: AtomicU64,
    /// The first block that could not be put back, and whether there is one.
    fault: Lock<Option<(BadBlock, SizeClass, usize)>, { rank::FAULT }>,
    is_faulty: AtomicBool,
}

// SAFETY: the pointer is fixed at start and leads to bins, which are `Sync`.
unsafe impl Sync for Central {}
// SAFETY: as above.
unsafe impl Send for Central {}

/// Sizes of the layer, in bytes unless said otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SlabCounts {
    /// Number of slabs.
    pub(crate) slabs: u64,
    /// Bytes of the slabs' runs.
    pub(crate) slab_bytes: u64,
    /// Bytes of free blocks that lie in slabs.
    pub(crate) free_bytes: u64,
    /// Bytes of blocks in use by caches or the program.
    pub(crate) used_bytes: u64,
    /// How often the lock of a bin was met held.
    pub(crate) contended_bins: u64,
    /// As `contended_bins`, of the transfer caches.
    pub(crate) contended_transfers: u64,
}

/// What is free in slabs, in bytes; a hint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FreeBytes {
    pub(crate) free: u64,
    /// Blocks in caches included.
    pub(crate) used: u64,
    /// All slabs that became empty and left so far: what was free in them is free no more.
    pub(crate) dissolved: u64,
}

/// Ends the process because a free does not fit the slab. The caller holds no lock: a handler of
/// SIGABRT may wait for threads that want it.
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
    /// Maps the bins: one shard a CPU (a power of two), or as many as wanted.
    pub(crate) fn create<O: Os>(os: &O, config: &Config) -> Result<Central, Refused> {
        let wanted = config.shards.map(|shards| to_usize(shards.get()));
        let shards = wanted.unwrap_or_else(|| os.cpus()).clamp(1, MAX_SHARDS).next_power_of_two();
        let bytes = Self::bytes_for(os, shards);
        // Fresh memory is zero, and an all-zero bin is an empty one.
        let bins: NonNull<Bin> = os.map(bytes, os.page_size()).ok_or(Refused)?.cast();
        let transfers = Transfers::create(os, shards).inspect_err(|_| {
            // SAFETY: the mapping was just made and nobody knows of it.
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

    /// Unmaps the tables of a heap that does not come to be.
    pub(crate) fn unmap<O: Os>(self, os: &O) {
        let bins = Span { start: self.bins.cast(), bytes: Self::bytes_for(os, self.shards) };
        // SAFETY: the mapping came from `map` in `create`; the value that led to it is consumed.
        unsafe { os.unmap(bins) };
        self.transfers.unmap(os);
    }

    /// Bytes of the mapping.
    fn bytes_for<O: Os>(os: &O, shards: usize) -> usize {
        (shards * CLASSES * size_of::<Bin>()).next_multiple_of(os.page_size())
    }

    /// Bytes of the bins and transfer caches.
    pub(crate) fn table_bytes<O: Os>(&self, os: &O) -> u64 {
        to_u64(Self::bytes_for(os, self.shards)) + self.transfers.table_bytes(os)
    }

    /// Bytes of the bins and transfer caches that are backed by memory.
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

    /// Takes up to `out.len()` blocks of a class into `out`, the best one to hand out first at the
    /// end. Returns how many; 0 means that no memory is to be had.
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
        // Another thread may have emptied what was just brought; then open a slab again. Each
        // round that fails has served somebody else, so this ends.
        loop {
            let taken = self.fetch_from(segments, shard, class, out);
            if taken > 0 || !self.open_slab(segments, shard, class) {
                return taken;
            }
        }
    }

    /// Blocks from transfer caches: this shard's, then its neighbours', until more than half of the places
    /// are filled.
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

    /// Blocks from the slabs of one bin, the lowest one last: it will be handed out first.
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

    /// Opens a slab for the shard; false when there are no pages for it.
    fn open_slab<O: Os>(&self, segments: &Segments<O>, shard: usize, class: SizeClass) -> bool {
        let Some(run) = segments.take(class.slab_pages(), Fit::Chunks) else { return false };
        let bin = self.bin(shard, class);
        let wanted = class.block_bytes() <= MAX_PREFAULTED;
        let wanted = wanted && bin.state.lock().slabs() >= PROVEN_SLABS;
        let prefaulted = wanted && segments.prefault(run);
        let first = Blocks::lay(segments.tables(), run, class, shard_id(shard));
        let mut state = bin.state.lock();
        Slab::of(segments.tables(), first).mark_dirty(segments.tables(), first, class, prefaulted);
        BinView { bin, state: &mut state, tables: segments.tables(), class }.enter(first);
        self.opened.fetch_add(to_u64(class.slab_pages().bytes()), Ordering::Relaxed);
        true
    }

    /// Moves a part-used slab of another shard to this one; false when no shard has any.
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

    /// Takes a batch of one class from a thread cache: what the transfer cache has no room for
    /// goes to the slabs. The slots hold nothing afterwards.
    pub(crate) fn flush<O: Os>(&self, segments: &Segments<O>, class: SizeClass, batch: &[Slot]) {
        let shard = self.shard_of_this_cpu(segments.os());
        let passed_on = self.transfers.put(shard, class, batch);
        self.put(segments, class, &batch[passed_on..]);
    }

    /// Ends a tick for the transfer caches: what nobody has wanted since the last one goes to the
    /// slabs.
    pub(crate) fn drain_unwanted_transfers<O: Os>(&self, segments: &Segments<O>) -> TransferTick {
        self.transfers.drain_unwanted(|class, batch| self.put(segments, class, batch))
    }

    /// Empties the transfer caches into the slabs. Returns the bytes of the blocks.
    pub(crate) fn drain_transfers<O: Os>(&self, segments: &Segments<O>) -> u64 {
        self.transfers.drain_all(|class, batch| self.put(segments, class, batch))
    }

    /// Bytes of the blocks in the transfer caches; a hint.
    pub(crate) fn transfer_bytes(&self) -> u64 {
        self.transfers.waiting_bytes()
    }

    /// Puts blocks of one class back into their slabs, one lock a shard. The slots hold nothing
    /// afterwards. Slabs that become empty give their runs back, but for one a bin.
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

    /// Notes that a block cannot be put back. The first fault ends the process as soon as the thread
    /// that noticed it holds no lock; the block is in nobody's hands until then.
    #[cold]
    fn note_fault(&self, reason: BadBlock, class: SizeClass, address: usize) {
        let mut fault = self.fault.lock();
        fault.get_or_insert((reason, class, address));
        // Under the lock, as a fault that is taken leaves none behind.
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
        // One thread takes it: the others, which a handler of SIGABRT may wait for, go on.
        let fault = {
            let mut fault = self.fault.lock();
            self.is_faulty.store(false, Ordering::Relaxed);
            fault.take()
        };
        if let Some((reason, class, address)) = fault {
            refuse(reason, class, address);
        }
    }

    /// Puts those blocks back whose slabs belong to `shard`, and moves the others to the front of
    /// the batch. Returns how many these are.
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
        let (mut at, mut kept) = (0, 0);
        while let Some(slot) = batch.get(at) {
            let block = slot.load(Ordering::Relaxed);
            let Some(first) = Self::locate(segments, class, block) else {
                self.note_fault(BadBlock::NoSlab, class, block.addr());
                at += 1;
                continue;
            };
            // While the lock of a slab's bin is held, the slab stays in that bin.
            if Slab::of(tables, first).shard() != shard {
                batch[kept].store(block, Ordering::Relaxed);
                kept += 1;
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
        kept
    }

    /// The first chunk of a block's slab; `None` where there is no slab of the class.
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

    /// Whether a block of the class can be freed that starts at an offset in the arena, of which the
    /// caller knows the class. Exact for a block that the caller may free: nobody else changes its
    /// bit. A wrong one may pass when another thread takes or puts back that block meanwhile.
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

    /// Gives the runs of all empty slabs back. Returns their pages.
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

    /// Bytes of free blocks that lie in slabs, and of the slabs; hints without the locks.
    pub(crate) fn free_bytes_hint(&self) -> u64 {
        let slack = |(shard, class): (usize, SizeClass)| {
            self.bin(shard, class).free_blocks() * to_u64(class.block_bytes())
        };
        self.bins_by_shard().map(slack).sum()
    }

    /// Free bytes in slabs, and what more there would be had no slab been dissolved; hints.
    pub(crate) fn free_and_dissolved(&self) -> FreeBytes {
        let dissolved = self.dissolved.load(Ordering::Relaxed);
        let slabs = self.opened.load(Ordering::Relaxed).saturating_sub(dissolved);
        let free = self.free_bytes_hint();
        FreeBytes { free, used: slabs.saturating_sub(free), dissolved }
    }

    fn bins_by_shard(&self) -> impl Iterator<Item = (usize, SizeClass)> {
        (0..self.shards).flat_map(|shard| SizeClass::all().map(move |class| (shard, class)))
    }

    /// What the layer holds, bin by bin.
    pub(crate) fn slab_counts(&self) -> SlabCounts {
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
            counts.used_bytes += (slabs * u64::from(class.capacity()) - free) * block;
        }
        counts
    }

    /// Takes every lock of the layer, for fork.
    pub(crate) fn acquire_all(&self) {
        self.transfers.acquire_all();
        for (shard, class) in self.bins_by_shard() {
            self.bin(shard, class).state.acquire();
        }
        self.fault.acquire();
    }

    /// Releases what [`Central::acquire_all`] took, perhaps in a forked child.
    pub(crate) fn release_all(&self) {
        self.fault.release();
        for (shard, class) in self.bins_by_shard() {
            self.bin(shard, class).state.release();
        }
        self.transfers.release_all();
    }

    /// Checks I-6 of every slab, and that the bins' counts are the sums over their slabs; panics on a
    /// breach. Other threads may be at work.
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
            // A slab that its creator has not entered yet is empty, as is one that just left: so
            // the empty ones are those that the bin counts.
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

/// Moves the last `count` addresses to the front.
fn move_to_front(slots: &[Slot], count: usize) {
    let start = slots.len() - count;
    if start > 0 {
        for (from, to) in slots[start..].iter().zip(slots) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// A shard's number as slab headers hold it.
fn shard_id(shard: usize) -> u8 {
    #[expect(clippy::cast_possible_truncation, reason = "there are at most 64 shards")]
    let id = shard as u8;
    id
}

const _: () = {
    assert!(MAX_SHARDS <= 256);
    assert!(size_of::<Bin>() == 64);
    // An all-zero bin is what `Lock::new(empty state)` is.
    assert!(align_of::<BinState>() <= 8);
};
