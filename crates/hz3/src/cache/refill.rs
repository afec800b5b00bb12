//! The cold paths of a cache's owner: refill, overflow and drain.

use core::sync::atomic::Ordering;

use super::below::Below;
#[cfg(any(test, feature = "check"))]
use super::below::check_block;
use super::capacity::Shortage;
#[cfg(any(test, feature = "check"))]
use super::capacity::max_blocks;
use super::owned::Owned;
use super::{Counts, OwnCache, ThreadCache};
use crate::base::size_class::SizeClass;
use crate::os::Os;

/// A class of a thread that only frees grows no further than this capacity in blocks, because each
/// cached block may keep a page resident.
const MAX_BLOCKS_FREE_ONLY: usize = 32;

/// A double free: the freed block is one of the two newest of its class in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AlreadyCached;

impl OwnCache<'_> {
    /// Serves an allocation whose pop failed: gets a batch from central and returns one block of
    /// it. `None` if there is no memory.
    ///
    /// # Safety
    /// [`super::stack::Stack::pop`] of this class has just failed.
    pub(crate) unsafe fn refill<O: Os>(
        self,
        below: Below<'_, O>,
        class: SizeClass,
    ) -> Option<*mut u8> {
        let mut owned = Owned::lock(self, below);
        let stack = self.stack(class);
        stack.undo_pop();
        owned.disarm(class);
        let is_first = owned.cold.capacity.of(class) == 0;
        if stack.len() == 0 {
            // SAFETY: this thread owns the cache and holds its lock; no batch is in use.
            unsafe { stack.compact() };
            owned.cold.only_frees = false;
            if !owned.note_active(class) {
                owned.grow(class, Shortage::Blocks);
            }
            owned.fetch(class);
            Counts::count(&self.counts.refills);
        }
        // A thief needs the lock that is held here, so this pop fails only on an empty stack.
        // SAFETY: this thread owns the cache.
        let block = unsafe { stack.pop_sealed() };
        if block.is_none() {
            stack.undo_pop();
        }
        if is_first {
            // The first free of the class then takes the slow path, which looks the block up in
            // its slab.
            stack.arm_at_floor();
        }
        block
    }

    /// Serves a free whose push failed: makes room and adds the block.
    ///
    /// # Errors
    /// [`AlreadyCached`]; the cache is unchanged.
    ///
    /// # Safety
    /// The caller frees `block`, which is of `class`.
    pub(crate) unsafe fn overflow<O: Os>(
        self,
        below: Below<'_, O>,
        class: SizeClass,
        block: *mut u8,
    ) -> Result<(), AlreadyCached> {
        let mut owned = Owned::lock(self, below);
        let stack = self.stack(class);
        // SAFETY: this thread owns the cache and holds its lock.
        if unsafe { stack.is_among_two_newest(block) } {
            return Err(AlreadyCached);
        }
        owned.disarm(class);
        let was_idle = owned.note_active(class);
        let may_not_grow =
            was_idle || (owned.cold.only_frees && stack.capacity() >= MAX_BLOCKS_FREE_ONLY);
        if stack.len() == stack.capacity() && (may_not_grow || !owned.grow(class, Shortage::Room)) {
            owned.flush(class, owned.cold.capacity.batch(class));
        }
        // SAFETY: this thread owns the cache and holds its lock; no batch is in use.
        unsafe { stack.compact() };
        // SAFETY: this thread owns the cache and holds its lock.
        let pushed = unsafe { stack.push_checked(block) };
        debug_assert!(pushed, "an array of every class holds a block");
        Ok(())
    }

    /// Gives all blocks and runs back.
    pub(crate) fn drain<O: Os>(self, below: Below<'_, O>) {
        let mut owned = Owned::lock(self, below);
        for class in SizeClass::all() {
            if self.stack(class).len() > 0 {
                owned.flush(class, usize::MAX);
            }
        }
        drop(owned);
        self.steal_runs(below);
    }

    /// Lowers the capacity of every class to about its initial one, flushes the blocks above it,
    /// and gives the runs of large blocks back.
    pub(crate) fn shrink_to_initial<O: Os>(self, below: Below<'_, O>) {
        self.steal_runs(below);
        let mut owned = Owned::lock(self, below);
        if core::mem::replace(&mut owned.cold.only_frees, true) {
            // No class has grown since the last call.
            return;
        }
        for class in SizeClass::all() {
            while owned.shrink(class) {}
        }
    }
}

impl ThreadCache {
    /// Drains the cache and resets all capacities after the owner has ended.
    ///
    /// # Safety
    /// No thread owns the cache.
    pub(super) unsafe fn drain_and_reset<O: Os>(&self, below: Below<'_, O>) {
        // SAFETY: no thread owns the cache, so this one can be its owner meanwhile.
        unsafe { OwnCache::new(self) }.drain(below);
        let mut cold = self.cold.lock();
        below.granted.fetch_sub(cold.capacity.granted_bytes(), Ordering::Relaxed);
        // SAFETY: the cache is drained and has no owner.
        unsafe { self.reset(&mut cold, false) };
    }
}

#[cfg(any(test, feature = "check"))]
impl ThreadCache {
    /// Checks the parts of I-2 that hold while the owner pops and pushes; panics on a breach. The
    /// caller holds the cache's lock.
    pub(super) fn validate_stacks(&self) {
        for class in SizeClass::all() {
            self.stack(class).validate_ends(max_blocks(class.block_bytes()));
        }
    }

    /// Checks I-2 of the calling thread's own cache; panics on a breach. Each block must also be of
    /// the stack's class and not free in its slab (I-7).
    pub(crate) fn validate<O: Os>(&self, below: Below<'_, O>) {
        let cold = self.cold.lock();
        for class in SizeClass::all() {
            let stack = self.stack(class);
            assert!(stack.len() <= max_blocks(class.block_bytes()), "I-2: blocks of {class:?}");
            let granted = cold.capacity.of(class);
            assert!(stack.capacity() <= granted, "I-2: limit of {class:?}");
            // SAFETY: the calling thread owns the cache and holds its lock.
            for slot in unsafe { stack.blocks() } {
                check_block(below, class, slot.load(Ordering::Relaxed));
            }
        }
    }
}
