//! The stack of blocks of one class in one thread's cache, which any thread can empty.
//!
//! ```text
//!   floor          base               top            limit
//!     | dead space  | blocks, oldest..newest | room    |
//! ```
//!
//! **Who may touch what.** The owner pops and pushes at `top` without a lock. `base`, `floor` and
//! `limit` change only under the cache's lock: by the owner in its cold path, or by a thief.
//! Slots from `base` to `top` are the owner's; what lies below `base` is dead.
//!
//! **The protocol** is Dijkstra's mutual exclusion as Cilk-5 uses it in its deques, with the
//! owner's fence replaced by a process-wide barrier that the thief pays for:
//!
//! | owner: `pop` | thief, holding the lock |
//! |---|---|
//! | 1. `top := top - 1` | 1. read `top` as t0 |
//! | 2. light fence (no instruction) | 2. `base := t0` |
//! | 3. read `base`; if `top < base`, lose: take the lock | 3. heavy fence (membarrier) |
//! | 4. read the slot at `top` | 4. read `top` as t1; own everything below min(t0, t1) |
//! | | 5. `base := min(t0, t1)` |
//!
//! Of a pop and a steal that race for one block, either the owner reads the new `base` in its
//! step 3 and loses, or the thief reads the lowered `top` in its step 4 and leaves the block: with
//! both fences there is no third order. An owner that loses has lowered `top` by one; it raises it
//! again under the lock ([`Stack::undo_pop`]), where a thief that saw the lowered value has left
//! that block to it. The model is in `steal/models.rs`.

#[cfg(all(loom, test))]
mod models;

use crate::base::sync::{AtomicPtr, light_fence};
use core::sync::atomic::Ordering;

/// A place for a block.
pub(crate) type Slot = AtomicPtr<u8>;

/// The stack; see the module's documentation.
#[derive(Debug)]
#[repr(C, align(32))]
pub(crate) struct Stack {
    top: AtomicPtr<Slot>,
    base: AtomicPtr<Slot>,
    limit: AtomicPtr<Slot>,
    floor: AtomicPtr<Slot>,
}

/// A steal between its two halves, before the barrier.
#[derive(Debug)]
#[must_use = "a claim that is not settled leaves the owner in its cold path"]
pub(crate) struct Claim {
    start: *mut Slot,
    seen: *mut Slot,
}

/// Slots that belong to whoever holds this: stolen, or taken by the owner under its lock.
#[derive(Debug)]
#[must_use = "blocks in a dropped batch are lost"]
pub(crate) struct Batch {
    start: *mut Slot,
    count: usize,
}

impl Batch {
    /// The slots.
    ///
    /// # Safety
    /// The cache's lock is held, under which the batch was made, and for as long as the slice is
    /// used: that keeps the owner from reusing the slots.
    pub(crate) unsafe fn slots<'a>(&self) -> &'a [Slot] {
        // SAFETY: the slots lie in the stack's array; the caller keeps others away from them.
        unsafe { core::slice::from_raw_parts(self.start, self.count) }
    }
}

/// Number of slots from `low` to `high`; 0 when `high` is below.
fn distance(low: *mut Slot, high: *mut Slot) -> usize {
    high.addr().saturating_sub(low.addr()) / size_of::<Slot>()
}

impl Stack {
    /// A stack that has no room and no blocks and that nobody may push to or pop from with
    /// success: every operation misses, whatever `top` is.
    #[cfg(not(loom))]
    pub(crate) const fn sentinel() -> Stack {
        let nowhere = core::ptr::without_provenance_mut(usize::MAX);
        Stack {
            top: AtomicPtr::new(core::ptr::null_mut()),
            base: AtomicPtr::new(nowhere),
            limit: AtomicPtr::new(core::ptr::null_mut()),
            floor: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// Owner: takes the newest block. `None` when there is none, or a thief is at work; the
    /// caller then takes the lock and calls [`Stack::undo_pop`].
    ///
    /// # Safety
    /// The caller is the owner, or the stack is a sentinel.
    #[inline(always)]
    pub(crate) unsafe fn pop(&self) -> Option<*mut u8> {
        let top = self.top.load(Ordering::Relaxed).wrapping_sub(1);
        self.top.store(top, Ordering::Relaxed);
        light_fence();
        if top.addr() < self.base.load(Ordering::Relaxed).addr() {
            return None;
        }
        // SAFETY: I-2: `base <= top < limit`, so the slot exists and is the owner's.
        let slot = unsafe { &*top };
        Some(slot.load(Ordering::Relaxed))
    }

    /// Owner: adds a block; false when there is no room.
    ///
    /// # Safety
    /// The caller is the owner, or the stack is a sentinel.
    #[inline(always)]
    pub(crate) unsafe fn push(&self, block: *mut u8) -> bool {
        let top = self.top.load(Ordering::Relaxed);
        if top.addr() >= self.limit.load(Ordering::Relaxed).addr() {
            return false;
        }
        // SAFETY: I-2: `floor <= top < limit`, so the slot exists; above `top` it is free.
        let slot = unsafe { &*top };
        slot.store(block, Ordering::Relaxed);
        // Release pairs with the acquire loads of `top` in `claim` and `settle`: a thief that
        // sees the new top sees the slot.
        self.top.store(top.wrapping_add(1), Ordering::Release);
        true
    }

    /// Owner, under the lock, after a failed pop: gives back the place that the pop passed.
    pub(crate) fn undo_pop(&self) {
        let top = self.top.load(Ordering::Relaxed).wrapping_add(1);
        // A second miss in a row would leave `top` below: blocks would overwrite another class's.
        debug_assert!(top.addr() >= self.base.load(Ordering::Relaxed).addr(), "two pops, one undo");
        self.top.store(top, Ordering::Relaxed);
    }

    /// Number of blocks. Exact for the owner outside of `pop` and `push`, a hint for others.
    pub(crate) fn len(&self) -> usize {
        distance(self.base.load(Ordering::Relaxed), self.top.load(Ordering::Relaxed))
    }

    /// Number of blocks that the stack may hold.
    pub(crate) fn capacity(&self) -> usize {
        distance(self.floor.load(Ordering::Relaxed), self.limit.load(Ordering::Relaxed))
    }

    /// Owner, under the lock: the free places above the blocks.
    ///
    /// # Safety
    /// The caller is the owner and holds the lock, and neither pops nor pushes while it uses the
    /// slice.
    pub(crate) unsafe fn room(&self) -> &[Slot] {
        let top = self.top.load(Ordering::Relaxed);
        let count = distance(top, self.limit.load(Ordering::Relaxed));
        // SAFETY: I-2: the slots from `top` to `limit` exist and hold no blocks.
        unsafe { core::slice::from_raw_parts(top, count) }
    }

    /// Owner, under the lock: the first `count` places of [`Stack::room`] are blocks now.
    pub(crate) fn raise(&self, count: usize) {
        let top = self.top.load(Ordering::Relaxed);
        // Release pairs with the acquire loads of `top` in `claim` and `settle`.
        self.top.store(top.wrapping_add(count), Ordering::Release);
    }

    /// Owner, under the lock: takes the `count` oldest blocks out.
    pub(crate) fn take_oldest(&self, count: usize) -> Batch {
        let start = self.base.load(Ordering::Relaxed);
        let count = count.min(self.len());
        self.base.store(start.wrapping_add(count), Ordering::Relaxed);
        Batch { start, count }
    }

    /// Owner, under the lock: moves the blocks down to the floor, so that all room is above them.
    ///
    /// # Safety
    /// The caller is the owner and holds the lock; no batch of this stack is in use.
    pub(crate) unsafe fn compact(&self) {
        let floor = self.floor.load(Ordering::Relaxed);
        // SAFETY: the caller's promise; the floor has room for what lies above it.
        unsafe { self.move_blocks(floor) };
    }

    /// Owner, under the lock: continues in another array of `capacity` slots.
    ///
    /// # Safety
    /// As for [`Stack::compact`]; the array is the owner's alone and holds at least
    /// [`Stack::len`] slots.
    pub(crate) unsafe fn relocate(&self, array: *mut Slot, capacity: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.move_blocks(array) };
        self.floor.store(array, Ordering::Relaxed);
        self.limit.store(array.wrapping_add(capacity), Ordering::Relaxed);
    }

    /// Makes the stack empty, without room, at `floor`.
    ///
    /// # Safety
    /// The stack holds no blocks and nobody owns it.
    #[cfg(not(loom))]
    pub(crate) unsafe fn restart(&self, floor: *mut Slot) {
        self.floor.store(floor, Ordering::Relaxed);
        self.top.store(floor, Ordering::Relaxed);
        self.base.store(floor, Ordering::Relaxed);
        self.limit.store(floor, Ordering::Relaxed);
    }

    /// Under the lock: takes the room away, so that the owner's next push misses. One that runs just
    /// now may still add its block: it lies below the limit that it read, and so in the array.
    pub(crate) fn close(&self) {
        // Acquire pairs with the release store of `top` in `push`: the limit is not below a block.
        self.limit.store(self.top.load(Ordering::Acquire), Ordering::Relaxed);
    }

    /// Owner, under the lock: at most `capacity` blocks from now on; also opens a closed stack. All
    /// blocks must lie within so many slots from the floor.
    pub(crate) fn set_capacity(&self, capacity: usize) {
        let floor = self.floor.load(Ordering::Relaxed);
        self.limit.store(floor.wrapping_add(capacity), Ordering::Relaxed);
    }

    /// # Safety
    /// `target` is an array with room for all blocks, which may overlap the present one from
    /// below; the caller is the owner, holds the lock, and no batch is in use.
    unsafe fn move_blocks(&self, target: *mut Slot) {
        let base = self.base.load(Ordering::Relaxed);
        let count = self.len();
        if base != target {
            // SAFETY: I-2: `count` slots from `base` exist and hold the blocks; the caller promises
            // room for as many at the target, and keeps thieves out by the lock.
            unsafe { core::ptr::copy(base, target, count) };
            self.base.store(target, Ordering::Relaxed);
            self.top.store(target.wrapping_add(count), Ordering::Relaxed);
        }
    }

    /// Thief, under the lock: the first half of a steal. A barrier on all threads must run
    /// between this and [`Stack::settle`].
    pub(crate) fn claim(&self) -> Claim {
        let start = self.base.load(Ordering::Relaxed);
        // Acquire pairs with the release store of `top` in `push`.
        let seen = self.top.load(Ordering::Acquire);
        if seen.addr() > start.addr() {
            self.base.store(seen, Ordering::Relaxed);
        }
        Claim { start, seen }
    }

    /// Thief, under the same lock and after the barrier: what the steal won.
    pub(crate) fn settle(&self, claim: Claim) -> Batch {
        // Acquire pairs with the release store of `top` in `push`.
        let now = self.top.load(Ordering::Acquire);
        let end = if now.addr() < claim.seen.addr() { now } else { claim.seen };
        if end.addr() <= claim.start.addr() {
            self.base.store(claim.start, Ordering::Relaxed);
            return Batch { start: claim.start, count: 0 };
        }
        self.base.store(end, Ordering::Relaxed);
        Batch { start: claim.start, count: distance(claim.start, end) }
    }

    /// Thief, under the same lock: takes a claim back when no barrier could run.
    pub(crate) fn abandon(&self, claim: Claim) {
        self.base.store(claim.start, Ordering::Relaxed);
    }
}
