//! The cold paths of a thread cache: refill, overflow, drain and steal.

use core::sync::atomic::Ordering;

use super::below::Below;
#[cfg(any(test, feature = "check"))]
use super::below::check_block;
use super::capacity::{Shortage, max_blocks};
use super::owned::Owned;
use super::steal::Claim;
use super::{ColdState, Counts, OwnCache, ThreadCache};
use crate::base::class_set::ClassSet;
use crate::base::size_class::{CLASSES, SizeClass};
use crate::base::sync::Slot;
use crate::base::units::to_u64;
use crate::os::Os;

/// A class of a thread that only frees grows no further than this capacity in blocks, because each
/// cached block may keep a page resident.
const MAX_BLOCKS_FREE_ONLY: usize = 32;

/// A double free: the freed block is one of the two newest of its class in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AlreadyCached;

/// Blocks that a thief copies at once out of a stack, to whose slots only the owner may write.
const COPY_BATCH: usize = 64;

impl OwnCache<'_> {
    /// Serves an allocation whose pop failed: gets a batch from central and returns one block of
    /// it. `None` if there is no memory.
    ///
    /// # Safety
    /// [`super::steal::Stack::pop`] of this class has just failed.
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
    /// Gives the runs of large blocks back, from any thread. Returns their bytes.
    fn steal_runs<O: Os>(&self, below: Below<'_, O>) -> u64 {
        self.runs.steal(|run| below.segments.give(run, run.pages))
    }

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

    /// Empties the cache while its owner runs. Returns the bytes of the blocks and runs taken.
    /// `None` if the owner is in its cold path or the system has no barrier; then only the runs are
    /// taken.
    pub(crate) fn steal<O: Os>(&self, below: Below<'_, O>) -> Option<u64> {
        let runs = self.steal_runs(below);
        let mut cold = self.cold.try_lock()?;
        cold.active = ClassSet::EMPTY;
        self.steal_classes(&cold, below, ClassSet::ALL).map(|bytes| bytes + runs)
    }

    /// As [`ThreadCache::steal`], for an active owner: empties only the idle classes, those without
    /// a slow path since the last call. Their capacity falls when the owner uses them again.
    pub(crate) fn steal_idle_classes<O: Os>(&self, below: Below<'_, O>) -> Option<u64> {
        let runs = self.steal_runs(below);
        let mut cold = self.cold.try_lock()?;
        let active = core::mem::replace(&mut cold.active, ClassSet::EMPTY);
        let is_idle = |class: &SizeClass| !active.has(*class) && self.stack(*class).len() > 0;
        let idle: ClassSet = SizeClass::all().filter(is_idle).collect();
        if idle == ClassSet::EMPTY {
            return Some(runs);
        }
        cold.idle.add(idle);
        self.steal_classes(&cold, below, idle).map(|bytes| bytes + runs)
    }

    /// Steals the blocks of these classes. `_locked` proves that the caller holds the cache's lock.
    fn steal_classes<O: Os>(
        &self,
        _locked: &ColdState,
        below: Below<'_, O>,
        classes: ClassSet,
    ) -> Option<u64> {
        let classes = || SizeClass::all().filter(|class| classes.has(*class));
        let mut claims = [const { Claim::NONE }; CLASSES];
        for class in classes() {
            claims[class.index()] = self.stack(class).claim();
        }
        let fenced = below.segments.os().barrier();
        let mut bytes = 0;
        for class in classes() {
            let claim = core::mem::replace(&mut claims[class.index()], Claim::NONE);
            let stack = self.stack(class);
            if !fenced {
                stack.abandon(claim);
                continue;
            }
            let batch = stack.settle(claim);
            // SAFETY: the lock is held until the slice is gone.
            let slots = unsafe { batch.slots() };
            bytes += to_u64(slots.len() * class.block_bytes());
            for stolen in slots.chunks(COPY_BATCH) {
                put_copy(below, class, stolen);
            }
        }
        fenced.then_some(bytes)
    }

    /// Arms the slow path of every class, so that the owner's next free runs one and polls the
    /// reclaimer. Does nothing while the owner is in its cold path.
    pub(crate) fn arm_slow_paths(&self) {
        let Some(cold) = self.cold.try_lock() else { return };
        for class in SizeClass::all() {
            if cold.capacity.of(class) > 0 {
                self.stack(class).arm_at_top();
            }
        }
    }

    /// Returns the bytes of the blocks and runs in the cache; a hint while its owner runs.
    pub(crate) fn cached_bytes(&self) -> u64 {
        self.cached_block_bytes() + self.runs.bytes()
    }

    /// Returns the bytes of the small blocks in the cache; a hint while its owner runs.
    pub(crate) fn cached_block_bytes(&self) -> u64 {
        let bytes = |class| self.cached_blocks(class) * to_u64(class.block_bytes());
        SizeClass::all().map(bytes).sum()
    }

    /// Returns the number of blocks of a class in the cache; a hint while its owner runs.
    pub(crate) fn cached_blocks(&self, class: SizeClass) -> u64 {
        // The two loads of `len` may race with the owner, so its result needs an upper bound.
        to_u64(self.stack(class).len().min(max_blocks(class.block_bytes())))
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

/// Puts copies of the blocks back into their slabs, because `put` reorders the slots of its batch.
fn put_copy<O: Os>(below: Below<'_, O>, class: SizeClass, blocks: &[Slot]) {
    let copies = [const { Slot::new(core::ptr::null_mut()) }; COPY_BATCH];
    for (block, copy) in blocks.iter().zip(&copies) {
        copy.store(block.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    below.put(class, &copies[..blocks.len()]);
}
