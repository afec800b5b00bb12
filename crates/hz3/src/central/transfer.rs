//! Transfer caches: blocks on their way from one thread cache to another, in order of arrival.
//!
//! A batch that one cache flushes is often what another one, or the same one, wants next. Here it
//! waits as a row of addresses: to pass it on is a copy, where the way through a slab walks
//! bitmaps and moves slabs in their order. Every (shard, class) has one, before its bin.
//!
//! It earns its room: nothing may wait until a flush has found no room *and* a refill afterwards
//! no block; every time that happens again, the limit doubles. At each tick what nobody has
//! wanted since the last one goes to the slabs. So a program that only frees leaves nothing here.
//!
//! A lock that is held is passed over, on both sides: whoever holds it may not be running.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::Slot;
use super::slot_layout::{SLOTS, WaitingSlots, max_waiting};
use crate::base::size_class::{CLASSES, SizeClass};
use crate::base::units::{to_u32, to_u64, to_usize};
use crate::os::lock::Lock;
use crate::os::{Os, Refused, Span, rank};

/// The limit that a transfer cache starts with once it is wanted: this part of its most.
const FIRST_LIMIT_DIVISOR: u32 = 8;
/// Blocks that leave under one hold of the lock.
const DRAIN_BATCH: usize = 64;

/// The transfer caches of all shards and classes.
#[derive(Debug)]
pub(super) struct Transfers {
    cells: NonNull<Transfer>,
    slots: NonNull<Slot>,
    shards: usize,
}

// SAFETY: the pointers are fixed at start and lead to cells, which are `Sync`, and to atomics.
unsafe impl Sync for Transfers {}
// SAFETY: as above.
unsafe impl Send for Transfers {}

/// The cell of one transfer cache; a cache line of its own. All zero bytes are an empty one.
#[derive(Debug)]
#[repr(C, align(64))]
struct Transfer {
    state: Lock<State, { rank::TRANSFER }>,
    /// Blocks that wait here. Written under the lock, a hint without.
    len: AtomicU32,
    /// A flush found no room since the last growth. Written under the lock, a hint without.
    overflowed: AtomicBool,
}

/// What the lock of a transfer cache protects, besides its slots.
#[derive(Debug)]
struct State {
    /// Blocks that may wait here.
    limit: u32,
    /// The fewest blocks that waited since the last tick.
    low_water: u32,
    /// Whether any came or went since the last tick.
    was_used: bool,
}

/// What a tick found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TransferTick {
    /// Bytes of the blocks that went to the slabs.
    pub(crate) drained_bytes: u64,
    /// Whether blocks still wait.
    pub(crate) left: bool,
}

impl Transfer {
    fn len(&self) -> u32 {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether a refill may find blocks here, or should make itself felt; a hint.
    fn is_wanted(&self) -> bool {
        self.len() > 0 || self.overflowed.load(Ordering::Relaxed)
    }
}

impl Transfers {
    /// Maps the cells and their slots, all empty.
    pub(super) fn create<O: Os>(os: &O, shards: usize) -> Result<Transfers, Refused> {
        let bytes = Self::bytes_for(os, shards);
        // Fresh memory is zero, and an all-zero cell is an empty one.
        let cells: NonNull<Transfer> = os.map(bytes, os.page_size()).ok_or(Refused)?.cast();
        // SAFETY: the mapping holds that many cells, and the slots behind them.
        let slots = unsafe { cells.add(shards * CLASSES) }.cast();
        Ok(Transfers { cells, slots, shards })
    }

    /// Unmaps the cells and slots of a heap that does not come to be.
    pub(super) fn unmap<O: Os>(self, os: &O) {
        let bytes = Self::bytes_for(os, self.shards);
        // SAFETY: the mapping came from `map` in `create`; the value that led to it is consumed.
        unsafe { os.unmap(Span { start: self.cells.cast(), bytes }) };
    }

    /// Bytes of the mapping.
    fn bytes_for<O: Os>(os: &O, shards: usize) -> usize {
        let slots = shards * SLOTS;
        let bytes = shards * CLASSES * size_of::<Transfer>() + slots * size_of::<Slot>();
        bytes.next_multiple_of(os.page_size())
    }

    /// Bytes of the cells and slots.
    pub(super) fn table_bytes<O: Os>(&self, os: &O) -> u64 {
        to_u64(Self::bytes_for(os, self.shards))
    }

    /// Those of them that are backed by memory.
    pub(super) fn resident_table_bytes<O: Os>(&self, os: &O) -> u64 {
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

    /// Leaves blocks here, from the first of the batch on, as many as there is room for. Returns
    /// how many.
    pub(super) fn put(&self, shard: usize, class: SizeClass, batch: &[Slot]) -> usize {
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

    /// Takes the blocks that came last, the very last into the end of `out`. Returns how many.
    pub(super) fn take(&self, shard: usize, class: SizeClass, out: &[Slot]) -> usize {
        let cell = self.cell(shard, class);
        if !cell.is_wanted() {
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

    /// Takes the blocks that came first out, at most `out.len()` and `most` of them.
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

    /// Passes the `most` oldest blocks of one transfer cache to `each`, batch by batch, without
    /// its lock. Returns their number.
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

    /// Passes all blocks to `each`, class by class. Returns their bytes.
    pub(super) fn drain_all(&self, each: impl Fn(SizeClass, &[Slot])) -> u64 {
        let drain = |(shard, class): (usize, SizeClass)| {
            let drained =
                self.drain(shard, class, self.cell(shard, class).len(), &|batch: &[Slot]| {
                    each(class, batch);
                });
            drained * to_u64(class.block_bytes())
        };
        self.indices().map(drain).sum()
    }

    /// Ends a tick: passes what nobody has wanted since the last one to `each`, and lowers the
    /// limits by it.
    pub(super) fn drain_unwanted(&self, each: impl Fn(SizeClass, &[Slot])) -> TransferTick {
        let mut settled = TransferTick::default();
        for (shard, class) in self.indices() {
            let cell = self.cell(shard, class);
            if !cell.is_wanted() {
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
            settled.drained_bytes += drained * to_u64(class.block_bytes());
            settled.left |= cell.len() > 0;
        }
        settled
    }

    /// Bytes of the blocks that wait; a hint.
    pub(super) fn waiting_bytes(&self) -> u64 {
        let bytes = |(shard, class): (usize, SizeClass)| {
            u64::from(self.cell(shard, class).len()) * to_u64(class.block_bytes())
        };
        self.indices().map(bytes).sum()
    }

    /// How often the lock of a transfer cache was met held.
    pub(super) fn contended(&self) -> u64 {
        self.indices().map(|(shard, class)| self.cell(shard, class).state.contended()).sum()
    }

    fn indices(&self) -> impl Iterator<Item = (usize, SizeClass)> + use<> {
        let shards = self.shards;
        (0..shards).flat_map(|shard| SizeClass::all().map(move |class| (shard, class)))
    }

    /// Takes every lock, for fork.
    pub(super) fn acquire_all(&self) {
        for (shard, class) in self.indices() {
            self.cell(shard, class).state.acquire();
        }
    }

    /// Releases what [`Transfers::acquire_all`] took, perhaps in a forked child.
    pub(super) fn release_all(&self) {
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

#[cfg(test)]
mod tests {
    use core::ops::Deref;
    use std::sync::Mutex;
    use std::vec::Vec;

    use super::super::slot_layout::max_waiting;
    use super::{FIRST_LIMIT_DIVISOR, Slot, Transfers};
    use crate::base::size_class::SizeClass;
    use crate::os::fake::Fake;

    const BATCH: usize = 16;

    /// Transfer caches and the system whose mapping they live in.
    struct Mapped {
        transfers: Transfers,
        _system: Fake,
    }

    impl Deref for Mapped {
        type Target = Transfers;

        fn deref(&self) -> &Transfers {
            &self.transfers
        }
    }

    fn transfers(shards: usize) -> Mapped {
        let system = Fake::new(4096, shards, 1 << 30);
        Mapped { transfers: Transfers::create(&system, shards).unwrap(), _system: system }
    }

    fn class() -> SizeClass {
        SizeClass::of_size(64)
    }

    /// Slots with the given numbers as addresses.
    fn batch(numbers: impl IntoIterator<Item = usize>) -> Vec<Slot> {
        numbers.into_iter().map(|n| Slot::new(core::ptr::without_provenance_mut(n))).collect()
    }

    fn numbers(slots: &[Slot]) -> Vec<usize> {
        slots.iter().map(|slot| slot.load(super::Ordering::Relaxed).addr()).collect()
    }

    /// A transfer cache that has proved to be wanted.
    fn wanted() -> Mapped {
        let transfers = transfers(1);
        assert_eq!(transfers.put(0, class(), &batch(1..=BATCH)), 0);
        assert_eq!(transfers.take(0, class(), &batch([0; BATCH])), 0);
        transfers
    }

    #[test]
    fn who_only_frees_leaves_nothing_here() {
        let transfers = transfers(2);
        for _ in 0..100 {
            assert_eq!(transfers.put(1, class(), &batch(1..=BATCH)), 0);
        }
        assert_eq!(transfers.waiting_bytes(), 0);
    }

    #[test]
    fn the_last_to_come_is_the_first_to_be_handed_out() {
        let transfers = wanted();
        assert_eq!(transfers.put(0, class(), &batch(1..=BATCH)), BATCH);
        let out = batch([0; 4]);
        assert_eq!(transfers.take(0, class(), &out), 4);
        assert_eq!(numbers(&out), [13, 14, 15, 16]);
        assert_eq!(transfers.waiting_bytes(), 12 * 64);
    }

    #[test]
    fn the_limit_doubles_with_the_proof_and_ends() {
        let transfers = wanted();
        let most = max_waiting(class().index());
        let mut limit = most / FIRST_LIMIT_DIVISOR as usize;
        loop {
            assert_eq!(transfers.put(0, class(), &batch(1..=2 * most)), limit);
            let out = batch(std::iter::repeat_n(0, 2 * most));
            assert_eq!(transfers.take(0, class(), &out), limit);
            if limit == most {
                break;
            }
            limit *= 2;
        }
    }

    #[test]
    fn a_tick_drains_what_nobody_wanted_oldest_first() {
        let transfers = wanted();
        let drained = Mutex::new(Vec::new());
        let settle = || {
            transfers.drain_unwanted(|of, slots| {
                assert_eq!(of, class());
                drained.lock().unwrap().extend(numbers(slots));
            })
        };
        transfers.put(0, class(), &batch(1..=BATCH));
        // The fewest since the start were none.
        assert!(settle().left);
        transfers.take(0, class(), &batch([0; 4]));
        transfers.put(0, class(), &batch(101..=104));
        // Now twelve were never wanted.
        let settled = settle();
        assert_eq!((settled.drained_bytes, settled.left), (12 * 64, true));
        assert_eq!(*drained.lock().unwrap(), (1..=12).collect::<Vec<_>>());
        // Nothing came or went: the rest goes too, and the limit is gone.
        assert!(!settle().left);
        assert_eq!(drained.lock().unwrap()[12..], [101, 102, 103, 104]);
        assert_eq!(transfers.put(0, class(), &batch(1..=BATCH)), 0);
    }

    #[test]
    fn everything_can_be_had_at_once() {
        let transfers = wanted();
        transfers.put(0, class(), &batch(1..=BATCH));
        let seen = Mutex::new(0);
        let bytes = transfers.drain_all(|_, slots| *seen.lock().unwrap() += slots.len());
        assert_eq!((bytes, *seen.lock().unwrap()), (16 * 64, BATCH));
        assert_eq!(transfers.waiting_bytes(), 0);
    }

    #[test]
    fn a_held_lock_is_passed_over() {
        let transfers = wanted();
        transfers.put(0, class(), &batch(1..=4));
        transfers.acquire_all();
        assert_eq!(transfers.put(0, class(), &batch(1..=BATCH)), 0);
        assert_eq!(transfers.take(0, class(), &batch([0; BATCH])), 0);
        assert_eq!(transfers.contended(), 2);
        transfers.release_all();
        assert_eq!(transfers.take(0, class(), &batch([0; BATCH])), 4);
    }
}
