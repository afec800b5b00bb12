//! The room of a stack: its array, and the limit up to which the owner pushes.

use core::sync::atomic::Ordering;

#[cfg(not(loom))]
use super::read_as_owner;
use super::{PADDING, SEALED, Slot, Stack, distance};
use crate::base::sync::light_fence;

impl Stack {
    /// Returns how many blocks fit below `limit`; fewer than granted while the slow path is armed.
    pub(crate) fn capacity(&self) -> usize {
        distance(self.floor.load(Ordering::Relaxed), self.limit.load(Ordering::Relaxed))
    }

    /// Under the lock: arms the slow path: lowers `limit` to `top`, so that the owner's next push
    /// fails.
    ///
    /// Pushes that still read the old limit succeed. Their blocks lie within the array, perhaps
    /// above the new limit, until the owner disarms the slow path by [`Stack::set_capacity`].
    pub(crate) fn arm_at_top(&self) {
        self.limit.store(self.top.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Owner, under the lock: arms the slow path: every push fails, however many blocks are popped.
    #[cfg(not(loom))]
    pub(crate) fn arm_at_floor(&self) {
        self.limit.store(self.floor.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Owner, under the lock: sets how many blocks the stack may hold, and disarms the slow path.
    ///
    /// All blocks must lie in the first `capacity` slots from the floor.
    pub(crate) fn set_capacity(&self, capacity: usize) {
        let floor = self.floor.load(Ordering::Relaxed);
        self.limit.store(floor.wrapping_add(capacity), Ordering::Relaxed);
    }

    /// Owner, under the lock: moves the blocks down to the floor, so that no slot below is dead.
    ///
    /// # Safety
    /// The caller is the owner and holds the lock; no batch of this stack is in use.
    pub(crate) unsafe fn compact(&self) {
        let floor = self.floor.load(Ordering::Relaxed);
        // SAFETY: the caller's promise; the blocks lie in the array that starts at the floor.
        unsafe { self.move_blocks(floor) };
    }

    /// Owner, under the lock: moves the blocks to another array of `capacity` slots.
    ///
    /// # Safety
    /// As for [`Stack::compact`]. The array and the [`PADDING`] slots before it are the owner's
    /// alone, and it has at least [`Stack::len`] slots.
    pub(crate) unsafe fn relocate(&self, array: *mut Slot, capacity: usize) {
        for before in 1..=PADDING {
            // SAFETY: the caller's promise.
            let slot = unsafe { &*array.wrapping_sub(before) };
            slot.store(core::ptr::null_mut(), Ordering::Relaxed);
        }
        // SAFETY: the caller's promise.
        unsafe { self.move_blocks(array) };
        self.floor.store(array, Ordering::Relaxed);
        self.limit.store(array.wrapping_add(capacity), Ordering::Relaxed);
    }

    /// Makes the stack empty and without room, at `floor`; sealed or not.
    ///
    /// # Safety
    /// The stack holds no blocks, and no thread owns it.
    #[cfg(not(loom))]
    pub(crate) unsafe fn reset_at(&self, floor: *mut Slot, sealed: bool) {
        self.floor.store(floor, Ordering::Relaxed);
        self.top.store(floor, Ordering::Relaxed);
        self.base.store(floor, Ordering::Relaxed);
        self.set_sealed(sealed);
        self.limit.store(floor, Ordering::Relaxed);
        self.newest.set(core::ptr::null_mut());
    }

    /// Returns whether `top` is elsewhere than [`Stack::reset_at`] with this floor puts it.
    #[cfg(not(loom))]
    pub(crate) fn has_moved_from(&self, floor: *mut Slot) -> bool {
        self.top.load(Ordering::Relaxed) != floor
    }

    /// In a forked child, under the lock: ends the pop or push in which the fork found the owner.
    /// Its block is in the stack then, unless the dead slot below has it too. `slots` is the length
    /// of the array, 0 without one.
    ///
    /// # Safety
    /// The owner does not exist in this process.
    #[cfg(not(loom))]
    pub(crate) unsafe fn end_interrupted(&self, slots: usize) {
        let top = self.top.load(Ordering::Relaxed);
        let end = self.floor.load(Ordering::Relaxed).wrapping_add(slots);
        if top.addr() >= end.addr() {
            // There is no slot at `top`, so no pop or push was interrupted.
            return;
        }
        // SAFETY: I-2: `top` is at most one below the floor and lies before the end of the array,
        // and padding precedes the array.
        let at_top = unsafe { read_as_owner(top) };
        // SAFETY: as above.
        let below = unsafe { read_as_owner(top.wrapping_sub(1)) };
        // A pop stores `top` before `newest`, and a push `newest` before `top`. So `newest` equals
        // the slot at `top` between the two stores, and otherwise the slot below it. A pop returns
        // its block after the second store.
        let newest = self.newest.get();
        if newest == at_top && newest != below {
            self.undo_pop();
        }
    }

    /// Moves the blocks to `target`, and `base` and `top` with them.
    ///
    /// # Safety
    /// `target` is an array with room for all blocks; it may be the present one. The caller is the
    /// owner and holds the lock, and no batch is in use.
    unsafe fn move_blocks(&self, target: *mut Slot) {
        let base = self.base.load(Ordering::Relaxed);
        if base != target {
            // A signal handler of the owner may pop and push at any time: meanwhile both fail.
            let gate = self.gate.load(Ordering::Relaxed);
            let limit = self.limit.load(Ordering::Relaxed);
            self.gate.store(SEALED, Ordering::Relaxed);
            self.base.store(SEALED, Ordering::Relaxed);
            self.limit.store(core::ptr::null_mut(), Ordering::Relaxed);
            light_fence();
            let count = distance(base, self.top.load(Ordering::Relaxed));
            // SAFETY: I-2: `count` slots from `base` exist and hold the blocks; the caller promises
            // room for as many at the target, and keeps thieves out by the lock.
            unsafe { core::ptr::copy(base, target, count) };
            self.top.store(target.wrapping_add(count), Ordering::Relaxed);
            light_fence();
            self.base.store(target, Ordering::Relaxed);
            let gate = if gate == SEALED { SEALED } else { target };
            self.gate.store(gate, Ordering::Relaxed);
            self.limit.store(limit, Ordering::Relaxed);
        }
        // SAFETY: the caller is the owner and holds the lock.
        unsafe { self.reload_newest() };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Ordering, PADDING, Slot, Stack};
    use crate::base::size_class::{MIN_ALIGN, SizeClass};
    use core::ptr;
    use std::vec::Vec;

    const SLOTS: usize = 8;

    /// Makes an empty stack over an array, with no room around it but the padding.
    fn stack(array: &[Slot; PADDING + SLOTS]) -> Stack {
        let mut stack = Stack::sentinel();
        stack.set_starts(SizeClass::of_size(MIN_ALIGN).start_test());
        let floor = array.as_ptr().cast_mut().wrapping_add(PADDING);
        // SAFETY: the stack is new.
        unsafe { stack.reset_at(floor, false) };
        stack.set_capacity(SLOTS);
        stack
    }

    /// The owner of a stack, and at times its thief. Each step may be interrupted between its two
    /// stores.
    struct Owner {
        stack: Stack,
        /// The blocks that the stack must hold.
        held: Vec<usize>,
        /// All other blocks.
        free: Vec<usize>,
    }

    impl Owner {
        fn has_room(&self) -> bool {
            self.held.len() < SLOTS
        }

        fn push(&mut self, at: usize) {
            let block = self.free.swap_remove(at % self.free.len());
            let pointer = ptr::without_provenance_mut(block);
            // SAFETY: the test is the owner.
            unsafe { self.stack.compact() };
            // SAFETY: as above.
            let is_pushed = unsafe { self.stack.push(pointer) };
            // SAFETY: as above.
            assert!(is_pushed || unsafe { self.stack.push_checked(pointer) });
            self.held.push(block);
        }

        fn pop(&mut self) {
            // SAFETY: the test is the owner.
            let popped = unsafe { self.stack.pop() };
            if popped.is_none() {
                self.stack.undo_pop();
            }
            let popped = popped.map(<*mut u8>::addr);
            assert_eq!(popped, self.held.pop());
            self.free.extend(popped);
        }

        /// The first store of a pop, also of one that would fail.
        fn interrupt_pop(&self) {
            let top = self.stack.top.load(Ordering::Relaxed);
            self.stack.top.store(top.wrapping_sub(1), Ordering::Relaxed);
            self.end_interrupted();
            if self.stack.top.load(Ordering::Relaxed) != top {
                assert!(self.held.is_empty(), "a block is lost");
                self.stack.undo_pop();
            }
        }

        /// The stores of a push but the last one.
        fn interrupt_push(&mut self) {
            // SAFETY: the test is the owner.
            unsafe { self.stack.compact() };
            let top = self.stack.top.load(Ordering::Relaxed);
            let block = self.free.pop().expect("more blocks than slots");
            let pointer: *mut u8 = ptr::without_provenance_mut(block);
            // SAFETY: the slot at `top` exists, because there is room.
            unsafe { &*top }.store(pointer, Ordering::Relaxed);
            self.stack.newest.set(pointer);
            self.held.push(block);
        }

        fn steal(&mut self) {
            let claim = self.stack.claim();
            let batch = self.stack.settle(claim);
            // SAFETY: the test is the only thread.
            let stolen = unsafe { batch.slots() };
            self.free.extend(stolen.iter().map(|slot| slot.load(Ordering::Relaxed).addr()));
            self.held.clear();
        }

        /// A flush that reverses its batch, as one that sorts it may.
        fn flush(&mut self, at: usize) {
            let count = at % (self.held.len() + 1);
            let batch = self.stack.take_oldest(count);
            self.free.extend(self.held.drain(..count));
            // SAFETY: the test is the only thread.
            let slots = unsafe { batch.slots() };
            for (low, high) in (0..count / 2).zip((0..count).rev()) {
                let lower = slots[low].load(Ordering::Relaxed);
                slots[low].store(slots[high].load(Ordering::Relaxed), Ordering::Relaxed);
                slots[high].store(lower, Ordering::Relaxed);
            }
            // SAFETY: as above.
            unsafe { self.stack.reload_newest() };
        }

        /// Ends what was interrupted, as in a forked child.
        fn end_interrupted(&self) {
            // SAFETY: the test is the only thread.
            unsafe { self.stack.end_interrupted(SLOTS) };
        }

        fn contents(&self) -> Vec<usize> {
            // SAFETY: the test is the owner.
            let blocks = unsafe { self.stack.blocks() };
            blocks.iter().map(|slot| slot.load(Ordering::Relaxed).addr()).collect()
        }
    }

    #[test]
    fn an_interrupted_pop_or_push_ends_with_its_block_in_the_stack() {
        let array = [const { Slot::new(ptr::null_mut()) }; PADDING + SLOTS];
        let free = (1..=2 * SLOTS).map(|block| block * MIN_ALIGN).collect();
        let mut owner = Owner { stack: stack(&array), held: Vec::new(), free };
        let mut random = 1u64;
        for _ in 0..if cfg!(miri) { 300 } else { 100_000 } {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = usize::try_from(random >> 33).expect("small");
            match random >> 61 {
                0 | 1 if owner.has_room() => owner.push(at),
                2 | 3 => owner.pop(),
                4 => owner.interrupt_pop(),
                5 if owner.has_room() => owner.interrupt_push(),
                6 => owner.steal(),
                _ => owner.flush(at),
            }
            owner.end_interrupted();
            assert_eq!(owner.contents(), owner.held);
        }
    }
}
