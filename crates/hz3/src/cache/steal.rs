//! The operations of any thread on a cache whose owner may run: steal its blocks, arm its slow
//! path, estimate what it holds. [`super::stack`] has the protocol.

use core::sync::atomic::Ordering;

use super::below::Below;
use super::capacity::max_blocks;
use super::stack::Claim;
use super::{ColdState, ThreadCache};
use crate::base::class_set::ClassSet;
use crate::base::size_class::{CLASSES, SizeClass};
use crate::base::sync::Slot;
use crate::base::units::to_u64;
use crate::os::Os;

/// Blocks that a thief copies at once out of a stack, to whose slots only the owner may write.
const COPY_BATCH: usize = 64;

impl ThreadCache {
    /// Gives the runs of large blocks back, from any thread. Returns their bytes.
    pub(super) fn steal_runs<O: Os>(&self, below: Below<'_, O>) -> u64 {
        self.runs.steal(|run| below.segments.give(run, run.pages))
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

/// Puts copies of the blocks back into their slabs, because `put` reorders the slots of its batch.
fn put_copy<O: Os>(below: Below<'_, O>, class: SizeClass, blocks: &[Slot]) {
    let copies = [const { Slot::new(core::ptr::null_mut()) }; COPY_BATCH];
    for (block, copy) in blocks.iter().zip(&copies) {
        copy.store(block.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    below.put(class, &copies[..blocks.len()]);
}
