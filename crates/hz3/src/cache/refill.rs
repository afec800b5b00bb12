//! The cold half of the thread cache: misses, overflows, and emptying.

use core::sync::atomic::{AtomicU64, Ordering};

use super::capacity::Shortage;
use super::decay::{self, Decayed, Surplus};
use super::steal::{Claim, Slot};
use super::{Counts, Policy, ThreadCache};
use crate::base::class_set::ClassSet;
use crate::base::size_class::{CLASSES, SizeClass};
use crate::base::units::wide;
use crate::central::Central;
use crate::os::lock::Guard;
use crate::os::{Os, rank};
use crate::segment::Segments;

/// Blocks of a class that are enough for a thread that only frees: each may keep a page resident.
const ENOUGH_TO_FREE: usize = 32;

/// The layers below the caches.
pub(crate) struct Below<'a, O> {
    pub(crate) central: &'a Central,
    pub(crate) segments: &'a Segments<O>,
    /// Bytes that all caches may hold together: the sum of what their capacities grant.
    pub(crate) granted: &'a AtomicU64,
}

impl<O> Clone for Below<'_, O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O> Copy for Below<'_, O> {}

/// The block that is freed is one of the two newest of its class in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AlreadyCached;

/// Blocks that a thief copies at once out of the stack, in which only the owner may write.
const COPIED_AT_ONCE: usize = 128;

/// A cache whose lock is held by its owner.
pub(super) struct Owned<'a, O> {
    cache: &'a ThreadCache,
    policy: Guard<'a, Policy, { rank::CACHE }>,
    below: Below<'a, O>,
}

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
        let mut owned = Owned { cache: self, policy: self.policy.lock(), below };
        let stack = self.stack(class);
        stack.undo_pop();
        owned.open(class);
        if stack.len() == 0 {
            // SAFETY: this thread owns the cache and holds its lock; no batch is in use.
            unsafe { stack.compact() };
            owned.policy.only_frees = false;
            if !owned.settle_work(class) {
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
        let mut owned = Owned { cache: self, policy: self.policy.lock(), below };
        let stack = self.stack(class);
        // SAFETY: this thread owns the cache and holds its lock.
        if unsafe { stack.holds_on_top(block) } {
            return Err(AlreadyCached);
        }
        owned.open(class);
        let fell = owned.settle_work(class);
        let stays = fell || (owned.policy.only_frees && stack.capacity() >= ENOUGH_TO_FREE);
        if stack.len() == stack.capacity() && (stays || !owned.grow(class, Shortage::Room)) {
            owned.flush(class, owned.policy.capacity.batch(class));
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
        let mut owned = Owned { cache: self, policy: self.policy.lock(), below };
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
        let mut policy = self.policy.lock();
        below.granted.fetch_sub(policy.capacity.granted_bytes(), Ordering::Relaxed);
        // SAFETY: the cache is drained and has no owner.
        unsafe { self.reset(&mut policy, false) };
    }

    /// Empties the cache while its owner runs. Returns the bytes of the blocks taken; `None` when
    /// the owner is in its cold path, or the system has no barrier.
    pub(crate) fn steal<O: Os>(&self, below: Below<'_, O>) -> Option<u64> {
        let runs = self.steal_runs(below);
        let mut policy = self.policy.try_lock()?;
        policy.at_work = ClassSet::EMPTY;
        self.empty(&policy, below, ClassSet::ALL).map(|bytes| bytes + runs)
    }

    /// As [`ThreadCache::steal`], for an owner that is at work: empties the classes of which it ran no
    /// slow path since the last call. Their capacity falls when it comes back to them.
    pub(crate) fn steal_unwanted<O: Os>(&self, below: Below<'_, O>) -> Option<u64> {
        let runs = self.steal_runs(below);
        let mut policy = self.policy.try_lock()?;
        let at_work = core::mem::replace(&mut policy.at_work, ClassSet::EMPTY);
        let is_unwanted = |class: &SizeClass| !at_work.has(*class) && self.stack(*class).len() > 0;
        let unwanted: ClassSet = SizeClass::all().filter(is_unwanted).collect();
        if unwanted == ClassSet::EMPTY {
            return Some(runs);
        }
        policy.unwanted.add(unwanted);
        self.empty(&policy, below, unwanted).map(|bytes| bytes + runs)
    }

    /// Takes the blocks of these classes. That there is a policy says that the lock is held.
    fn empty<O: Os>(
        &self,
        _locked: &Policy,
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
            bytes += wide(slots.len() * class.block_bytes());
            for stolen in slots.chunks(COPIED_AT_ONCE) {
                put_copy(below, class, stolen);
            }
        }
        fenced.then_some(bytes)
    }

    /// Takes the room of every class away, so that the owner's next free misses and wakes whoever
    /// sleeps meanwhile. Leaves the cache alone while its owner is in its cold path.
    pub(crate) fn close(&self) {
        let Some(policy) = self.policy.try_lock() else { return };
        for class in SizeClass::all() {
            if policy.capacity.of(class) > 0 {
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
            // A sentinel's or a racing stack's length may be nonsense; its capacity bounds it.
            wide(stack.len().min(stack.capacity()) * class.block_bytes())
        };
        SizeClass::all().map(stack_bytes).sum()
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
    /// S58: gives up what the thread does not want; see [`decay::decay`].
    ///
    /// # Safety
    /// The caller owns the cache.
    pub(crate) unsafe fn decay<O: Os>(
        &self,
        below: Below<'_, O>,
        overages: u32,
        most: u32,
    ) -> Decayed {
        let mut owned = Owned { cache: self, policy: self.policy.lock(), below };
        decay::decay(&mut owned, overages, most)
    }

    /// Lowers the capacity of every class to its first blocks, flushes what is above it, and gives the
    /// runs of large blocks back.
    ///
    /// # Safety
    /// The caller owns the cache.
    pub(crate) unsafe fn shed<O: Os>(&self, below: Below<'_, O>) {
        self.steal_runs(below);
        let mut owned = Owned { cache: self, policy: self.policy.lock(), below };
        if core::mem::replace(&mut owned.policy.only_frees, true) {
            // It has not grown since.
            return;
        }
        for class in SizeClass::all() {
            while owned.shrink(class) {}
        }
    }

    /// S64: puts up to `most` blocks back. Returns how many.
    ///
    /// # Safety
    /// The caller owns the cache.
    pub(crate) unsafe fn dump<O: Os>(&self, below: Below<'_, O>, most: u32) -> u64 {
        decay::dump(&mut Owned { cache: self, policy: self.policy.lock(), below }, most)
    }
}

impl<O: Os> Owned<'_, O> {
    /// Gives a closed class its room back, and counts that as a slow path: who closed it sees that the
    /// owner is at work.
    fn open(&mut self, class: SizeClass) {
        let stack = self.cache.stack(class);
        let capacity = self.policy.capacity.of(class);
        if stack.capacity() != capacity {
            stack.set_capacity(capacity);
            Counts::count(&self.cache.counts.openings);
        }
    }

    /// Blocks of a class in the cache.
    pub(super) fn len(&self, class: SizeClass) -> usize {
        self.cache.stack(class).len()
    }

    /// Half of the blocks that a class may have.
    pub(super) fn half(&self, class: SizeClass) -> usize {
        self.policy.capacity.half(class)
    }

    /// What decay remembers of a class.
    pub(super) fn surplus(&mut self, class: SizeClass) -> &mut Surplus {
        &mut self.policy.surplus[class.index()]
    }

    /// Notes that the owner runs a slow path of a class. When a tick found that it did not want the
    /// class before, its capacity falls by half. Returns whether a tick did.
    fn settle_work(&mut self, class: SizeClass) -> bool {
        self.policy.at_work.insert(class);
        let was_unwanted = self.policy.unwanted.remove(class);
        if was_unwanted {
            let capacity = self.policy.capacity.of(class);
            self.lower(class, (capacity / 2).max(self.policy.capacity.first(class)).min(capacity));
        }
        was_unwanted
    }

    /// Lowers the capacity of a class by half, and flushes what is above it; false when it has
    /// no more than its first blocks.
    pub(super) fn shrink(&mut self, class: SizeClass) -> bool {
        let capacity = self.policy.capacity.of(class).saturating_sub(self.half(class));
        if capacity < self.policy.capacity.first(class) {
            return false;
        }
        self.lower(class, capacity);
        true
    }

    /// Puts the `count` oldest blocks of a class back into their slabs. Returns how many there were.
    pub(super) fn put_back(&mut self, class: SizeClass, count: usize) -> u64 {
        let batch = self.cache.stack(class).take_oldest(count);
        // SAFETY: the lock is held, and the owner, this thread, does not push meanwhile.
        let slots = unsafe { batch.slots() };
        self.below.central.put(self.below.segments, class, slots);
        wide(slots.len())
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
        let before = self.policy.capacity.granted_bytes();
        self.policy.capacity.set(class, blocks);
        let change = self.policy.capacity.granted_bytes().wrapping_sub(before);
        self.below.granted.fetch_add(change, Ordering::Relaxed);
    }

    /// Raises the capacity of a class that ran empty or full; false when it stays what it is.
    fn grow(&mut self, class: SizeClass, shortage: Shortage) -> bool {
        let target = self.policy.capacity.next_step(class, shortage);
        if target == self.policy.capacity.of(class) {
            return false;
        }
        if !self.policy.capacity.fits(class, target) {
            self.take_from_others(class);
            if !self.policy.capacity.fits(class, target) {
                return false;
            }
        }
        self.grant(class, target);
        // SAFETY: this thread owns the cache and holds its lock; no batch is in use.
        unsafe { self.policy.fit_array(self.cache, class, target) };
        self.cache.stack(class).set_capacity(target);
        true
    }

    /// Lowers the capacity of some other classes, and flushes what is above it.
    fn take_from_others(&mut self, class: SizeClass) {
        for (victim, capacity) in self.policy.capacity.victims(class).into_iter().flatten() {
            self.lower(victim, capacity);
        }
    }

    /// Fills an empty stack with a batch.
    fn fetch(&mut self, class: SizeClass) {
        let stack = self.cache.stack(class);
        // SAFETY: this thread owns the cache, holds its lock, and does not pop or push meanwhile.
        let room = unsafe { stack.room() };
        let batch = &room[..self.policy.capacity.batch(class).min(room.len())];
        let count = self.below.central.fetch(self.below.segments, class, batch);
        stack.raise(count);
    }

    /// Puts the `count` oldest blocks of a class back.
    fn flush(&mut self, class: SizeClass, count: usize) {
        let batch = self.cache.stack(class).take_oldest(count);
        // SAFETY: the lock is held, and the owner, this thread, does not push meanwhile.
        let slots = unsafe { batch.slots() };
        self.below.central.flush(self.below.segments, class, slots);
        Counts::count(&self.cache.counts.flushes);
    }
}
