//! The owner's cold path: operations on a cache whose lock the owner holds. Only the owner changes
//! capacities.

use core::sync::atomic::Ordering;

use super::below::Below;
#[cfg(any(test, feature = "check"))]
use super::below::check_block;
use super::capacity::Shortage;
use super::{ColdState, Counts, OwnCache, ThreadCache};
use crate::base::size_class::SizeClass;
use crate::base::sync::Slot;
use crate::os::lock::Guard;
use crate::os::{Os, rank};

/// A cache that its owner has locked, by [`Owned::lock`].
pub(super) struct Owned<'a, O> {
    pub(super) cache: &'a ThreadCache,
    pub(super) cold: Guard<'a, ColdState, { rank::CACHE }>,
    pub(super) below: Below<'a, O>,
}

impl<'a, O: Os> Owned<'a, O> {
    /// Locks the calling thread's cache.
    pub(super) fn lock(own: OwnCache<'a>, below: Below<'a, O>) -> Owned<'a, O> {
        let cache = own.shared();
        Owned { cache, cold: cache.cold.lock(), below }
    }

    /// Returns half of a class's capacity, in blocks; at least 1.
    fn half(&self, class: SizeClass) -> usize {
        self.cold.capacity.half(class)
    }

    /// Disarms the slow path of a class if it is armed, and counts that as a slow path, so that the
    /// reclaimer sees an active owner.
    pub(super) fn disarm(&mut self, class: SizeClass) {
        let stack = self.cache.stack(class);
        let capacity = self.cold.capacity.of(class);
        if stack.capacity() != capacity {
            stack.set_capacity(capacity);
            Counts::count(&self.cache.counts.armed_misses);
        }
    }

    /// Notes that the owner runs a slow path of a class. Returns whether the last steal found the
    /// class idle; then its capacity falls by half.
    pub(super) fn note_active(&mut self, class: SizeClass) -> bool {
        self.cold.active.insert(class);
        let was_idle = self.cold.idle.remove(class);
        if was_idle {
            let capacity = self.cold.capacity.of(class);
            self.lower(class, (capacity / 2).max(self.cold.capacity.initial(class)).min(capacity));
        }
        was_idle
    }

    /// Halves the capacity of a class and flushes the blocks above it. Returns false, and does
    /// nothing, if the class would fall below its initial capacity.
    pub(super) fn shrink(&mut self, class: SizeClass) -> bool {
        let capacity = self.cold.capacity.of(class).saturating_sub(self.half(class));
        if capacity < self.cold.capacity.initial(class) {
            return false;
        }
        self.lower(class, capacity);
        true
    }

    /// Sets a lower capacity, in blocks, and flushes the blocks above it.
    fn lower(&mut self, class: SizeClass, capacity: usize) {
        let surplus = self.cache.stack(class).len().saturating_sub(capacity);
        if surplus > 0 {
            self.flush(class, surplus);
        }
        // SAFETY: this thread owns the cache and holds its lock; no batch is in use.
        unsafe { self.cache.stack(class).compact() };
        self.cache.stack(class).set_capacity(capacity);
        self.record_capacity(class, capacity);
    }

    /// Records a capacity in the cache and in the sum over all caches.
    fn record_capacity(&mut self, class: SizeClass, blocks: usize) {
        let before = self.cold.capacity.granted_bytes();
        self.cold.capacity.set(class, blocks);
        let change = self.cold.capacity.granted_bytes().wrapping_sub(before);
        self.below.granted.fetch_add(change, Ordering::Relaxed);
    }

    /// Raises the capacity of a class that ran empty or full. Returns false if it stays as it is.
    pub(super) fn grow(&mut self, class: SizeClass, shortage: Shortage) -> bool {
        let target = self.cold.capacity.next_capacity(class, shortage);
        if target == self.cold.capacity.of(class) {
            return false;
        }
        if !self.cold.capacity.fits(class, target) {
            self.take_from_others(class);
            if !self.cold.capacity.fits(class, target) {
                return false;
            }
        }
        self.record_capacity(class, target);
        // SAFETY: this thread owns the cache and holds its lock; no batch is in use.
        unsafe { self.cold.fit_array(self.cache, class, target) };
        self.cache.stack(class).set_capacity(target);
        true
    }

    /// Halves the capacity of some other classes, and flushes the blocks above it.
    fn take_from_others(&mut self, class: SizeClass) {
        for (victim, capacity) in self.cold.capacity.victims(class).into_iter().flatten() {
            self.lower(victim, capacity);
        }
    }

    /// Fills an empty, compacted stack with a batch from central; with nothing if memory is
    /// exhausted.
    pub(super) fn fetch(&mut self, class: SizeClass) {
        let stack = self.cache.stack(class);
        // SAFETY: this thread owns the cache, holds its lock, and does not pop or push meanwhile.
        let room = unsafe { stack.room() };
        let batch = &room[..self.cold.capacity.batch(class).min(room.len())];
        let count = self.below.fetch(class, batch);
        #[cfg(any(test, feature = "check"))]
        for slot in &batch[..count] {
            check_block(self.below, class, slot.load(Ordering::Relaxed));
        }
        // SAFETY: this thread owns the cache and holds its lock; the fetch filled these slots.
        unsafe { stack.raise_top(count) };
    }

    /// Passes the `count` oldest blocks of a class to central, or all if there are fewer.
    pub(super) fn flush(&mut self, class: SizeClass, count: usize) {
        self.pass_oldest(class, count, |below, slots| below.flush(class, slots));
        Counts::count(&self.cache.counts.flushes);
    }

    /// Takes the `count` oldest blocks of a class, or all if there are fewer, and calls `pass` with
    /// their slots, which it may reorder. Returns how many there were.
    pub(super) fn pass_oldest(
        &mut self,
        class: SizeClass,
        count: usize,
        pass: impl FnOnce(Below<'_, O>, &[Slot]),
    ) -> usize {
        let stack = self.cache.stack(class);
        let batch = stack.take_oldest(count);
        // SAFETY: this thread is the owner and holds the lock, and does not push meanwhile.
        let slots = unsafe { batch.slots() };
        pass(self.below, slots);
        // The newest block may have moved. A forked child would take the slot for that of an
        // interrupted pop.
        // SAFETY: this thread is the owner, or there is none, and the lock is held.
        unsafe { stack.reload_newest() };
        slots.len()
    }
}
