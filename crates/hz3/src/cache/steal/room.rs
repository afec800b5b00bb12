//! The room of a stack: its array, and the limit up to which the owner pushes.

use core::sync::atomic::Ordering;

use super::{PADDING, Slot, Stack, distance};

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

    /// Moves the blocks to `target`, and `base` and `top` with them.
    ///
    /// # Safety
    /// `target` is an array with room for all blocks; it may be the present one. The caller is the
    /// owner and holds the lock, and no batch is in use.
    unsafe fn move_blocks(&self, target: *mut Slot) {
        let base = self.base.load(Ordering::Relaxed);
        let count = self.len();
        if base != target {
            // SAFETY: I-2: `count` slots from `base` exist and hold the blocks; the caller promises
            // room for as many at the target, and keeps thieves out by the lock.
            unsafe { core::ptr::copy(base, target, count) };
            self.set_base(target);
            self.top.store(target.wrapping_add(count), Ordering::Relaxed);
        }
        // SAFETY: the caller is the owner and holds the lock.
        unsafe { self.reload_newest() };
    }
}
