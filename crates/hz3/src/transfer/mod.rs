//! Transfer caches: blocks on their way from one thread cache to another, in order of arrival.
//!
//! The next batch that a thread cache needs is often one that it or another cache has just flushed.
//! Such a batch waits here as an array of addresses, so passing it on is a copy. To put the blocks
//! into their slabs and take them again would change bitmaps and reorder slabs. Every (shard,
//! class) has a transfer cache in front of its bin in central.
//!
//! | functions | callers |
//! |---|---|
//! | `fetch`, `flush` | thread caches: batches in and out |
//! | `drain_unwanted`, `drain_all` | reclaim: blocks go to their slabs |
//! | `waiting_bytes` | reclaim |
//! | `waiting_blocks`, `contended`, `table_bytes`, `resident_table_bytes` | statistics |
//! | `create`, `unmap`, `acquire_all`, `release_all` | start, fork |
//!
//! The limit of a transfer cache is 0 at first. It grows each time a flush found no room *and* a
//! later refill found no block. At each tick the blocks that no refill has wanted since the last
//! tick go to their slabs. So the blocks of a program that only frees do not wait here.
//!
//! Flushes and refills skip a transfer cache whose lock is held, because the holder may not be
//! running. No other lock is taken under that of a transfer cache, and no system call is made.

mod slot_layout;
#[cfg(test)]
mod tests;

use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::base::size_class::{CLASSES, SizeClass};
use crate::base::sync::Slot;
use crate::base::units::{to_u32, to_u64, to_usize};
use crate::central::Central;
use crate::os::lock::Lock;
use crate::os::{Os, Refused, Span, rank};
use crate::segment::Segments;
use slot_layout::{SLOTS, WaitingSlots, max_waiting};

/// The first limit above 0 is [`max_waiting`] divided by this.
const FIRST_LIMIT_DIVISOR: u32 = 8;
/// Other shards whose transfer caches a refill tries before the slabs.
const NEIGHBOUR_SHARDS: usize = 4;
/// The most blocks that a drain takes out per acquisition of the lock.
const DRAIN_BATCH: usize = 64;

/// The transfer caches of all shards and classes.
#[derive(Debug)]
pub(crate) struct Transfers {
    cells: NonNull<Transfer>,
    slots: NonNull<Slot>,
    shards: usize,
}

// SAFETY: the pointers are fixed at start and lead to cells, which are `Sync`, and to atomics.
unsafe impl Sync for Transfers {}
// SAFETY: as above.
unsafe impl Send for Transfers {}

/// A transfer cache without its slots, in a cache line of its own. All zero bytes are an empty one.
#[derive(Debug)]
#[repr(C, align(64))]
struct Transfer {
    state: Lock<State, { rank::TRANSFER }>,
    /// Number of blocks that wait here. Written under the lock; a hint without it.
    len: AtomicU32,
    /// A flush found no room since the limit last grew. Written under the lock; a hint without it.
    overflowed: AtomicBool,
}

/// The state that the lock of a transfer cache protects, besides its slots.
#[derive(Debug)]
struct State {
    /// The most blocks that may wait here.
    limit: u32,
    /// The lowest number of blocks that waited since the last tick.
    low_water: u32,
    /// Whether a block came or went since the last tick.
    was_used: bool,
}

/// The result of [`Transfers::drain_unwanted`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TransferTick {
    /// Bytes of the blocks that went to their slabs.
    pub(crate) drained_bytes: u64,
    /// Whether blocks still wait.
    pub(crate) left: bool,
}

impl Transfer {
    fn len(&self) -> u32 {
        self.len.load(Ordering::Relaxed)
    }

    /// Returns whether there are blocks, or a limit that the next refill may raise; a hint.
    fn needs_visit(&self) -> bool {
        self.len() > 0 || self.overflowed.load(Ordering::Relaxed)
    }
}

impl Transfers {
    /// Maps the cells and their slots, all empty, for that many shards, which is a power of two.
    pub(crate) fn create<O: Os>(os: &O, shards: usize) -> Result<Transfers, Refused> {
        let bytes = Self::bytes_for(os, shards);
        // Fresh memory is zero, and an all-zero cell is an empty one.
        let cells: NonNull<Transfer> = os.map(bytes, os.page_size()).ok_or(Refused)?.cast();
        // SAFETY: the mapping holds that many cells, and the slots behind them.
        let slots = unsafe { cells.add(shards * CLASSES) }.cast();
        Ok(Transfers { cells, slots, shards })
    }

    /// Unmaps the cells and slots after the creation of a heap failed.
    pub(crate) fn unmap<O: Os>(self, os: &O) {
        let bytes = Self::bytes_for(os, self.shards);
        // SAFETY: the mapping came from `map` in `create`; the value that led to it is consumed.
        unsafe { os.unmap(Span { start: self.cells.cast(), bytes }) };
    }

    /// Returns the bytes of the mapping.
    fn bytes_for<O: Os>(os: &O, shards: usize) -> usize {
        let slots = shards * SLOTS;
        let bytes = shards * CLASSES * size_of::<Transfer>() + slots * size_of::<Slot>();
        bytes.next_multiple_of(os.page_size())
    }

    /// Returns the bytes of the cells and slots.
    pub(crate) fn table_bytes<O: Os>(&self, os: &O) -> u64 {
        to_u64(Self::bytes_for(os, self.shards))
    }

    /// Returns the resident bytes of the cells and slots.
    pub(crate) fn resident_table_bytes<O: Os>(&self, os: &O) -> u64 {
        let bytes = Self::bytes_for(os, self.shards);
        to_u64(os.resident_bytes(Span { start: self.cells.cast(), bytes }))
    }

    fn cell(&self, shard: usize, class: SizeClass) -> &Transfer {
        debug_assert!(shard < self.shards);
        // SAFETY: there is a cell for every shard below `shards` and every class.
        let cell = unsafe { self.cells.add(shard * CLASSES + class.index()) };
        // SAFETY: as above; a cell is shared by its lock and atomics.
        unsafe { cell.as_ref() }
    }

    fn waiting_slots(&self, shard: usize, class: SizeClass) -> WaitingSlots<'_> {
        debug_assert!(shard < self.shards);
        // SAFETY: the slots of every shard lie behind the cells.
        let start = unsafe { self.slots.add(shard * SLOTS) };
        // SAFETY: as above; they are atomics, zeroed at first, and stay mapped.
        unsafe { WaitingSlots::of(start, class) }
    }

    /// Takes up to `out.len()` blocks of a class into `out`, from here or from central; the last
    /// one should be handed out first. Returns how many; 0 if there is no memory.
    pub(crate) fn fetch<O: Os>(
        &self,
        central: &Central,
        segments: &Segments<O>,
        class: SizeClass,
        out: &[Slot],
    ) -> usize {
        let shard = central.shard_of_this_cpu(segments.os());
        match self.take_nearby(shard, class, out) {
            0 => central.fetch(segments, shard, class, out),
            taken if taken > out.len() / 2 => taken,
            taken => taken + central.take(segments, shard, class, &out[taken..]),
        }
    }

    /// Takes a batch of one class from a thread cache. The transfer cache of the calling thread's
    /// shard takes as many blocks as it has room for; the others go to their slabs. The slots are
    /// unspecified afterwards.
    pub(crate) fn flush<O: Os>(
        &self,
        central: &Central,
        segments: &Segments<O>,
        class: SizeClass,
        batch: &[Slot],
    ) {
        let shard = central.shard_of_this_cpu(segments.os());
        let passed_on = self.put(shard, class, batch);
        central.put(segments, class, &batch[passed_on..]);
    }

    /// Takes blocks from the transfer caches of this shard and then of its neighbours, until more
    /// than half of `out` is filled. Returns how many.
    fn take_nearby(&self, shard: usize, class: SizeClass, out: &[Slot]) -> usize {
        let mut taken = 0;
        for step in 0..self.shards.min(1 + NEIGHBOUR_SHARDS) {
            let from = (shard + step) & (self.shards - 1);
            taken += self.take(from, class, &out[taken..]);
            if taken > out.len() / 2 {
                break;
            }
        }
        taken
    }

    /// Copies leading blocks of the batch into the transfer cache, as many as there is room for.
    /// Returns how many.
    fn put(&self, shard: usize, class: SizeClass, batch: &[Slot]) -> usize {
        let cell = self.cell(shard, class);
        let Some(mut state) = cell.state.try_lock() else { return 0 };
        let len = cell.len();
        let count = to_usize(state.limit.saturating_sub(len)).min(batch.len());
        if count < batch.len() {
            cell.overflowed.store(true, Ordering::Relaxed);
        }
        if count > 0 {
            state.was_used = true;
            self.waiting_slots(shard, class).write(to_usize(len), &batch[..count]);
            cell.len.store(len + to_u32(count), Ordering::Relaxed);
        }
        count
    }

    /// Moves the blocks that came last into `out`, in order of arrival. Returns how many.
    fn take(&self, shard: usize, class: SizeClass, out: &[Slot]) -> usize {
        let cell = self.cell(shard, class);
        if !cell.needs_visit() {
            return 0;
        }
        let Some(mut state) = cell.state.try_lock() else { return 0 };
        let len = cell.len();
        let count = to_usize(len).min(out.len());
        if count < out.len() && cell.overflowed.load(Ordering::Relaxed) {
            cell.overflowed.store(false, Ordering::Relaxed);
            let most = to_u32(max_waiting(class.index()));
            state.limit = (state.limit * 2).clamp(most / FIRST_LIMIT_DIVISOR, most);
        }
        if count > 0 {
            let left = len - to_u32(count);
            self.waiting_slots(shard, class).read(to_usize(left), &out[..count]);
            cell.len.store(left, Ordering::Relaxed);
            state.was_used = true;
            state.low_water = state.low_water.min(left);
        }
        count
    }

    /// Moves the blocks that came first into `out`, at most `most`. Returns how many.
    fn take_oldest(&self, shard: usize, class: SizeClass, out: &[Slot], most: u32) -> usize {
        let cell = self.cell(shard, class);
        let mut state = cell.state.lock();
        let len = cell.len();
        let count = to_usize(len.min(most)).min(out.len());
        let slots = self.waiting_slots(shard, class);
        slots.read(0, &out[..count]);
        slots.shift(count, to_usize(len));
        cell.len.store(len - to_u32(count), Ordering::Relaxed);
        state.low_water = state.low_water.min(len - to_u32(count));
        count
    }

    /// Ends a tick: moves the blocks that no refill wanted since the last call to their slabs.
    pub(crate) fn drain_unwanted<O: Os>(
        &self,
        central: &Central,
        segments: &Segments<O>,
    ) -> TransferTick {
        self.drain_unwanted_into(|class, batch| central.put(segments, class, batch))
    }

    /// Moves all blocks to their slabs. Returns their bytes.
    pub(crate) fn drain_all<O: Os>(&self, central: &Central, segments: &Segments<O>) -> u64 {
        self.drain_all_into(|class, batch| central.put(segments, class, batch))
    }

    /// Takes up to `most` of the oldest blocks out and passes them to `each`, batch by batch,
    /// without holding the lock. Returns their number.
    fn drain(&self, shard: usize, class: SizeClass, most: u32, each: &impl Fn(&[Slot])) -> u64 {
        let batch = [const { Slot::new(core::ptr::null_mut()) }; DRAIN_BATCH];
        let mut drained = 0;
        while drained < most {
            let count = self.take_oldest(shard, class, &batch, most - drained);
            if count == 0 {
                break;
            }
            each(&batch[..count]);
            drained += to_u32(count);
        }
        u64::from(drained)
    }

    /// Takes all blocks out and passes them to `each`, batch by batch. Returns their bytes.
    fn drain_all_into(&self, each: impl Fn(SizeClass, &[Slot])) -> u64 {
        let drain = |(shard, class): (usize, SizeClass)| {
            let drained =
                self.drain(shard, class, self.cell(shard, class).len(), &|batch: &[Slot]| {
                    each(class, batch);
                });
            drained * to_u64(class.block_bytes())
        };
        self.indices().map(drain).sum()
    }

    /// Ends a tick: passes the blocks that no refill wanted since the last tick to `each`, and
    /// lowers the limits by their number.
    fn drain_unwanted_into(&self, each: impl Fn(SizeClass, &[Slot])) -> TransferTick {
        let mut tick = TransferTick::default();
        for (shard, class) in self.indices() {
            let cell = self.cell(shard, class);
            if !cell.needs_visit() {
                continue;
            }
            let surplus = {
                let mut state = cell.state.lock();
                let surplus = if state.was_used { state.low_water } else { u32::MAX };
                state.was_used = false;
                state.low_water = cell.len();
                state.limit = state.limit.saturating_sub(surplus);
                if state.limit == 0 {
                    cell.overflowed.store(false, Ordering::Relaxed);
                }
                surplus
            };
            let drained = self.drain(shard, class, surplus, &|batch: &[Slot]| each(class, batch));
            tick.drained_bytes += drained * to_u64(class.block_bytes());
            tick.left |= cell.len() > 0;
        }
        tick
    }

    /// Returns the bytes of the blocks that wait; a hint.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        let bytes = |(shard, class): (usize, SizeClass)| {
            u64::from(self.cell(shard, class).len()) * to_u64(class.block_bytes())
        };
        self.indices().map(bytes).sum()
    }

    /// Returns the number of blocks of a class that wait; a hint.
    pub(crate) fn waiting_blocks(&self, class: SizeClass) -> u64 {
        (0..self.shards).map(|shard| u64::from(self.cell(shard, class).len())).sum()
    }

    /// Returns how often a thread found the lock of a transfer cache held.
    pub(crate) fn contended(&self) -> u64 {
        self.indices().map(|(shard, class)| self.cell(shard, class).state.contended()).sum()
    }

    fn indices(&self) -> impl Iterator<Item = (usize, SizeClass)> + use<> {
        let shards = self.shards;
        (0..shards).flat_map(|shard| SizeClass::all().map(move |class| (shard, class)))
    }

    /// Takes all locks, for fork.
    pub(crate) fn acquire_all(&self) {
        for (shard, class) in self.indices() {
            self.cell(shard, class).state.acquire();
        }
    }

    /// Releases the locks that [`Transfers::acquire_all`] took, in the parent or the forked child.
    pub(crate) fn release_all(&self) {
        for (shard, class) in self.indices() {
            self.cell(shard, class).state.release();
        }
    }
}

const _: () = {
    assert!(size_of::<Transfer>() == 64);
    let mut class = 1;
    while class < CLASSES {
        assert!(max_waiting(class) >= FIRST_LIMIT_DIVISOR as usize);
        class += 1;
    }
};
