//! A cache in its owner's cold path: its lock is held, and nobody but the owner changes its capacities.

use core::sync::atomic::Ordering;

use super::below::Below;
#[cfg(any(test, feature = "check"))]
use super::below::check_block;
use super::capacity::Shortage;
use super::{ColdState, Counts, ThreadCache};
use crate::base::size_class::SizeClass;
use crate::os::lock::Guard;
use crate::os::{Os, rank};

/// A cache whose lock is held by its owner.
pub(super) struct Owned<'a, O> {
    pub(super) cache: &'a ThreadCache,
    pub(super) cold: Guard<'a, ColdState, { rank::CACHE }>,
    pub(super) below: Below<'a, O>,
}

impl<O: Os> Owned<'_, O> {
    /// Half of the blocks that a class may have.
    fn half(&self, class: SizeClass) -> usize {
        self.cold.capacity.half(class)
    }

    /// Gives a closed class its room back, and counts that as a slow path: who closed it sees that the
    /// owner is at work.
    pub(super) fn open(&mut self, class: SizeClass) {
        let stack = self.cache.stack(class);
        let capacity = self.cold.capacity.of(class);
        if stack.capacity() != capacity {
            stack.set_capacity(capacity);
            Counts::count(&self.cache.counts.openings);
        }
    }

    /// Notes that the owner runs a slow path of a class. When a tick found that it did not want the
    /// class before, its capacity falls by half. Returns whether a tick did.
    pub(super) fn note_active(&mut self, class: SizeClass) -> bool {
        self.cold.active.insert(class);
        let was_idle = self.cold.idle.remove(class);
        if was_idle {
            let capacity = self.cold.capacity.of(class);
            self.lower(class, (capacity / 2).max(self.cold.capacity.first(class)).min(capacity));
        }
        was_idle
    }

    /// Lowers the capacity of a class by half, and flushes what is above it; false when it has
    /// no more than its first blocks.
    pub(super) fn shrink(&mut self, class: SizeClass) -> bool {
        let capacity = self.cold.capacity.of(class).saturating_sub(self.half(class));
        if capacity < self.cold.capacity.first(class) {
            return false;
        }
        self.lower(class, capacity);
        true
    }

    /// Sets a lower capacity, and flushes what is above it.
    fn lower(&mut self, class: SizeClass, capacity: usize) {
        let surplus = self.cache.stack(class).len().saturating_sub(capacity);
        if surplus > 0 {
            self.flush(class, surplus);
        }
        // SAFETY: this thread owns the cache and holds its lock; no batch is in use.
        unsafe { self.cache.stack(class).compact() };
        self.cache.stack(class).set_capacity(capacity);
        self.grant(class, capacity);
    }

    /// Notes a capacity, here and in the sum of all caches.
    fn grant(&mut self, class: SizeClass, blocks: usize) {
        let before = self.cold.capacity.granted_bytes();
        self.cold.capacity.set(class, blocks);
        let change = self.cold.capacity.granted_bytes().wrapping_sub(before);
        self.below.granted.fetch_add(change, Ordering::Relaxed);
    }

    /// Raises the capacity of a class that ran empty or full; false when it stays what it is.
    pub(super) fn grow(&mut self, class: SizeClass, shortage: Shortage) -> bool {
        let target = self.cold.capacity.next_step(class, shortage);
        if target == self.cold.capacity.of(class) {
            return false;
        }
        if !self.cold.capacity.fits(class, target) {
            self.take_from_others(class);
            if !self.cold.capacity.fits(class, target) {
                return false;
            }
        }
        self.grant(class, target);
        // SAFETY: this thread owns the cache and holds its lock; no batch is in use.
        unsafe { self.cold.fit_array(self.cache, class, target) };
        self.cache.stack(class).set_capacity(target);
        true
    }

    /// Lowers the capacity of some other classes, and flushes what is above it.
    fn take_from_others(&mut self, class: SizeClass) {
        for (victim, capacity) in self.cold.capacity.victims(class).into_iter().flatten() {
            self.lower(victim, capacity);
        }
    }

    /// Fills an empty stack with a batch.
    pub(super) fn fetch(&mut self, class: SizeClass) {
        let stack = self.cache.stack(class);
        // SAFETY: this thread owns the cache, holds its lock, and does not pop or push meanwhile.
        let room = unsafe { stack.room() };
        let batch = &room[..self.cold.capacity.batch(class).min(room.len())];
        let count = self.below.central.fetch(self.below.segments, class, batch);
        #[cfg(any(test, feature = "check"))]
        for slot in &batch[..count] {
            check_block(self.below, class, slot.load(Ordering::Relaxed));
        }
        stack.raise(count);
    }

    /// Puts the `count` oldest blocks of a class back.
    pub(super) fn flush(&mut self, class: SizeClass, count: usize) {
        let batch = self.cache.stack(class).take_oldest(count);
        // SAFETY: the lock is held, and the owner, this thread, does not push meanwhile.
        let slots = unsafe { batch.slots() };
        self.below.central.flush(self.below.segments, class, slots);
        Counts::count(&self.cache.counts.flushes);
    }
}
