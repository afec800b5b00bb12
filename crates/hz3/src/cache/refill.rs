//! The cold half of the thread cache: misses, overflows, and emptying.

use core::sync::atomic::Ordering;

use super::below::Below;
#[cfg(any(test, feature = "check"))]
use super::below::check_block;
use super::capacity::{Shortage, most};
use super::owned::Owned;
use super::steal::{Claim, Slot};
use super::{ColdState, Counts, ThreadCache};
use crate::base::class_set::ClassSet;
use crate::base::size_class::{CLASSES, SizeClass};
use crate::base::units::to_u64;
use crate::os::Os;

/// Blocks of a class that are enough for a thread that only frees: each may keep a page resident.
const ENOUGH_TO_FREE: usize = 32;

/// The block that is freed is one of the two newest of its class in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AlreadyCached;

/// Blocks that a thief copies at once out of the stack, in which only the owner may write.
const COPIED_AT_ONCE: usize = 128;

impl ThreadCache {
    /// After a pop of `class` failed: gets a batch from central and returns one block of it.
    /// `None` when there is no memory.
    ///
    /// # Safety
    /// The caller owns the cache, and [`super::steal::Stack::pop`] of this class has just failed.
    pub(crate) unsafe fn refill<O: Os>(
        &self,
        below: Below<'_, O>,
        class: SizeClass,
    ) -> Option<*mut u8> {
        let mut owned = Owned { cache: self, cold: self.cold.lock(), below };
        let stack = self.stack(class);
        stack.undo_pop();
        owned.open(class);
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
        let block = unsafe { stack.pop() };
        if block.is_none() {
            stack.undo_pop();
        }
        if is_first {
            // The first free of every class is a miss, which looks the block up in its slab.
            stack.shut();
        }
        block
    }

    /// After a push of `class` failed: makes room and adds the block.
    ///
    /// # Errors
    /// The block is in the cache already; nothing was done.
    ///
    /// # Safety
    /// The caller owns the cache; the block is a block of `class` that it frees.
    pub(crate) unsafe fn overflow<O: Os>(
        &self,
        below: Below<'_, O>,
        class: SizeClass,
        block: *mut u8,
    ) -> Result<(), AlreadyCached> {
        let mut owned = Owned { cache: self, cold: self.cold.lock(), below };
        let stack = self.stack(class);
        // SAFETY: this thread owns the cache and holds its lock.
        if unsafe { stack.holds_on_top(block) } {
            return Err(AlreadyCached);
        }
        owned.open(class);
        let fell = owned.note_active(class);
        let stays = fell || (owned.cold.only_frees && stack.capacity() >= ENOUGH_TO_FREE);
        if stack.len() == stack.capacity() && (stays || !owned.grow(class, Shortage::Room)) {
            owned.flush(class, owned.cold.capacity.batch(class));
        }
        // SAFETY: this thread owns the cache and holds its lock; no batch is in use.
        unsafe { stack.compact() };
        // SAFETY: this thread owns the cache and holds its lock.
        let pushed = unsafe { stack.push_checked(block) };
        debug_assert!(pushed, "an array of every class holds a block");
        Ok(())
    }

    /// Puts every block back into central.
    ///
    /// # Safety
    /// The caller owns the cache, or no thread does.
    pub(crate) unsafe fn drain<O: Os>(&self, below: Below<'_, O>) {
        let mut owned = Owned { cache: self, cold: self.cold.lock(), below };
        for class in SizeClass::all() {
            if self.stack(class).len() > 0 {
                owned.flush(class, usize::MAX);
            }
        }
        drop(owned);
        self.steal_runs(below);
    }

    /// Gives the runs of large blocks back, whoever's cache it is. Returns their bytes.
    fn steal_runs<O: Os>(&self, below: Below<'_, O>) -> u64 {
        self.runs.steal(|run| below.segments.give(run, run.pages))
    }

    /// Puts every block back into central and forgets all capacities, at the end of the owner.
    ///
    /// # Safety
    /// No thread uses the cache any more.
    pub(super) unsafe fn retire<O: Os>(&self, below: Below<'_, O>) {
        // SAFETY: the caller's promise.
        unsafe { self.drain(below) };
        let mut cold = self.cold.lock();
        below.granted.fetch_sub(cold.capacity.granted_bytes(), Ordering::Relaxed);
        // SAFETY: the cache is drained and has no owner.
        unsafe { self.reset(&mut cold, false) };
    }

    /// Empties the cache while its owner runs. Returns the bytes of the blocks taken; `None` when
    /// the owner is in its cold path, or the system has no barrier.
    pub(crate) fn steal<O: Os>(&self, below: Below<'_, O>) -> Option<u64> {
        let runs = self.steal_runs(below);
        let mut cold = self.cold.try_lock()?;
        cold.active = ClassSet::EMPTY;
        self.empty(&cold, below, ClassSet::ALL).map(|bytes| bytes + runs)
    }

    /// As [`ThreadCache::steal`], for an owner that is at work: empties the classes of which it ran no
    /// slow path since the last call. Their capacity falls when it comes back to them.
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
        self.empty(&cold, below, idle).map(|bytes| bytes + runs)
    }

    /// Takes the blocks of these classes. That there is a policy says that the lock is held.
    fn empty<O: Os>(
        &self,
        _locked: &ColdState,
        below: Below<'_, O>,
        classes: ClassSet,
    ) -> Option<u64> {
        let mut claims = [const { None::<Claim> }; CLASSES];
        for class in SizeClass::all().filter(|class| classes.has(*class)) {
            claims[class.index()] = Some(self.stack(class).claim());
        }
        let fenced = below.segments.os().barrier();
        let mut bytes = 0;
        for class in SizeClass::all() {
            let Some(claim) = claims[class.index()].take() else { continue };
            let stack = self.stack(class);
            if !fenced {
                stack.abandon(claim);
                continue;
            }
            let batch = stack.settle(claim);
            // SAFETY: the lock is held until the slice is gone.
            let slots = unsafe { batch.slots() };
            bytes += to_u64(slots.len() * class.block_bytes());
            for stolen in slots.chunks(COPIED_AT_ONCE) {
                put_copy(below, class, stolen);
            }
        }
        fenced.then_some(bytes)
    }

    /// Takes the room of every class away, so that the owner's next free misses and wakes whoever
    /// sleeps meanwhile. Leaves the cache alone while its owner is in its cold path.
    pub(crate) fn close(&self) {
        let Some(cold) = self.cold.try_lock() else { return };
        for class in SizeClass::all() {
            if cold.capacity.of(class) > 0 {
                self.stack(class).close();
            }
        }
    }

    /// Bytes of the blocks and runs in the cache; a hint while its owner runs.
    pub(crate) fn cached_bytes(&self) -> u64 {
        self.cached_block_bytes() + self.runs.bytes()
    }

    /// Bytes of the small blocks in the cache; a hint while its owner runs.
    pub(crate) fn cached_block_bytes(&self) -> u64 {
        let stack_bytes = |class: SizeClass| {
            let stack = self.stack(class);
            // A racing stack's length may be nonsense; what it holds at most bounds it.
            to_u64(stack.len().min(most(class.block_bytes())) * class.block_bytes())
        };
        SizeClass::all().map(stack_bytes).sum()
    }
}

#[cfg(any(test, feature = "check"))]
impl ThreadCache {
    /// Checks I-2 as far as the cache's lock, which the caller holds, keeps it still: the owner may pop
    /// and push meanwhile.
    pub(super) fn validate_stacks(&self) {
        for class in SizeClass::all() {
            self.stack(class).validate_ends(most(class.block_bytes()));
        }
    }

    /// Checks I-2 of the calling thread's own cache, and of each block in it that it is of the
    /// stack's class and in use as far as its slab knows (I-7); panics on a breach.
    pub(crate) fn validate<O: Os>(&self, below: Below<'_, O>) {
        let cold = self.cold.lock();
        for class in SizeClass::all() {
            let stack = self.stack(class);
            assert!(stack.len() <= most(class.block_bytes()), "I-2: blocks of {class:?}");
            let granted = cold.capacity.of(class);
            assert!(stack.capacity() <= granted, "I-2: limit of {class:?}");
            // SAFETY: the calling thread owns the cache and holds its lock.
            for slot in unsafe { stack.blocks() } {
                check_block(below, class, slot.load(Ordering::Relaxed));
            }
        }
    }
}

/// Puts blocks back into their slabs and leaves the slots as they are, as putting sorts its batch.
fn put_copy<O: Os>(below: Below<'_, O>, class: SizeClass, blocks: &[Slot]) {
    let copies = [const { Slot::new(core::ptr::null_mut()) }; COPIED_AT_ONCE];
    for (block, copy) in blocks.iter().zip(&copies) {
        copy.store(block.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    below.central.put(below.segments, class, &copies[..blocks.len()]);
}

impl ThreadCache {
    /// Lowers the capacity of every class to its first blocks, flushes what is above it, and gives the
    /// runs of large blocks back.
    ///
    /// # Safety
    /// The caller owns the cache.
    pub(crate) unsafe fn shed<O: Os>(&self, below: Below<'_, O>) {
        self.steal_runs(below);
        let mut owned = Owned { cache: self, cold: self.cold.lock(), below };
        if core::mem::replace(&mut owned.cold.only_frees, true) {
            // It has not grown since.
            return;
        }
        for class in SizeClass::all() {
            while owned.shrink(class) {}
        }
    }
}
