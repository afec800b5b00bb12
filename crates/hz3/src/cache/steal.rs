//! The stack of blocks of one class in one thread's cache, which any thread can empty.
//!
//! ```text
//!             floor          base               top            limit
//!   | padding   | dead space  | blocks, oldest..newest | room    |
//! ```
//!
//! **Who may touch what.** The owner pops and pushes at `top` without a lock. `base`, `floor` and
//! `limit` change only under the cache's lock: by the owner in its cold path, or by a thief.
//! Slots from `base` to `top` are the owner's; what lies below `base` is dead. Only the owner writes
//! to slots; a thief reads those that it won.
//!
//! **The newest block** has a copy in the stack itself, where `pop` finds it without the wait for
//! `top`: as long as there are blocks, `newest` is the slot below `top`. The copy is the owner's
//! alone. A thief does not know of it: an owner that was robbed loses its next `pop`, and the cold
//! path makes the copy good. Whatever changes `top` or the slots there, other than `pop` and
//! `push`, ends with [`Stack::renew_newest`].
//!
//! **A block freed twice** is seen by `push` if it is one of the two newest. Below an empty or
//! nearly empty stack it compares with dead slots or the padding; so it only says that it suspects
//! the block, and [`Stack::holds_on_top`] decides under the lock.
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
//! The barrier orders everything that the owner did before its part of it. What the owner pushes
//! after that is ordered by `top` alone: the store of every push is a release, and so is that of
//! every pop, because a thief may read a `top` that a pop lowered to a slot pushed before it.
//!
//! Of a pop and a steal that race for one block, either the owner reads the new `base` in its
//! step 3 and loses, or the thief reads the lowered `top` in its step 4 and leaves the block: with
//! both fences there is no third order. An owner that loses has lowered `top` by one; it raises it
//! again under the lock ([`Stack::undo_pop`]), where a thief that saw the lowered value has left
//! that block to it. The model is in `steal/models.rs`.
//!
//! **I-2.** In a stack, `floor <= base <= top <= limit`. Slots from `base` to `top` hold blocks and
//! are the owner's, those from `top` to `limit` are room, those below `base` are dead. `base`,
//! `floor` and `limit` change only under the cache's lock. Two exceptions pass: after a lost pop
//! `top` is one too low until `undo_pop`, and between `claim` and `settle` `base` is at the old
//! top, so every pop loses. `limit` of a closed stack is a former `top`, or the floor until the
//! first free of the class: until the owner opens the stack, blocks may lie above it, within the
//! array. Before every array lie two slots of padding. While there are blocks, `newest` is the slot
//! below `top`. A sentinel's stack has no slots: `base` is the highest address and `limit` the
//! lowest.

#[cfg(all(loom, test))]
mod models;

use crate::base::size_class::StartTest;
use crate::base::sync::{AtomicPtr, light_fence};
use core::cell::Cell;
use core::sync::atomic::Ordering;

/// A place for a block.
pub(crate) type Slot = AtomicPtr<u8>;

/// Slots before every array that hold no block: [`Stack::push`] reads two slots below `top`.
pub(crate) const PADDING: usize = 2;

/// The stack; see the module's documentation. One cache line.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Stack {
    /// The newest block, for the owner alone.
    newest: Cell<*mut u8>,
    top: AtomicPtr<Slot>,
    base: AtomicPtr<Slot>,
    limit: AtomicPtr<Slot>,
    /// Where blocks of the class can start. Fixed before the stack is shared.
    starts: StartTest,
    floor: AtomicPtr<Slot>,
}

// SAFETY: `newest` is accessed by the owner alone, or by nobody's rival while there is none; a
// sentinel's is only read. All else is fixed or made of atomics.
unsafe impl Sync for Stack {}

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

/// Reads a slot as the owner, without the form of an atomic load, which no compiler folds into a
/// comparison.
///
/// # Safety
/// The slot exists, and the caller is the owner: nobody else writes to it.
#[inline(always)]
unsafe fn read_own(slot: *const Slot) -> *mut u8 {
    #[cfg(not(loom))]
    // SAFETY: the caller's promise; an atomic pointer has the layout of a pointer.
    unsafe {
        slot.cast::<*mut u8>().read()
    }
    #[cfg(loom)]
    // SAFETY: the caller's promise.
    unsafe { &*slot }.load(Ordering::Relaxed)
}

impl Stack {
    /// A stack that has no room and no blocks and that nobody may push to or pop from with
    /// success: every operation misses, whatever `top` is.
    #[cfg(not(loom))]
    pub(crate) const fn sentinel() -> Stack {
        let nowhere = core::ptr::without_provenance_mut(usize::MAX);
        Stack {
            newest: Cell::new(core::ptr::null_mut()),
            starts: StartTest::NONE,
            top: AtomicPtr::new(core::ptr::null_mut()),
            base: AtomicPtr::new(nowhere),
            limit: AtomicPtr::new(core::ptr::null_mut()),
            floor: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// Sets where blocks of the class can start.
    #[cfg(not(loom))]
    pub(crate) fn set_starts(&mut self, starts: StartTest) {
        self.starts = starts;
    }

    /// Owner: takes the newest block. `None` when there is none, or a thief is at work; the
    /// caller then takes the lock and calls [`Stack::undo_pop`].
    ///
    /// # Safety
    /// The caller is the owner, or the stack is a sentinel.
    #[inline(always)]
    pub(crate) unsafe fn pop(&self) -> Option<*mut u8> {
        let top = self.top.load(Ordering::Relaxed);
        // Only the owner writes `top`. Loaded again, it is lowered by a single instruction.
        let lowered = self.top.load(Ordering::Relaxed).wrapping_sub(1);
        // Release pairs with the acquire load of `top` in `settle`.
        self.top.store(lowered, Ordering::Release);
        light_fence();
        if top.addr() <= self.base.load(Ordering::Relaxed).addr() {
            return None;
        }
        let newest = self.newest.get();
        // SAFETY: I-2: `base < top <= limit`, and below `base` there are slots or the padding.
        self.newest.set(unsafe { read_own(top.wrapping_sub(2)) });
        Some(newest)
    }

    /// Owner: adds a block; false when there is no room, no block of the class can start there, or
    /// it may be one of the two newest blocks already.
    ///
    /// # Safety
    /// The caller is the owner, or the stack is a sentinel.
    #[inline(always)]
    pub(crate) unsafe fn push(&self, block: *mut u8) -> bool {
        let top = self.top.load(Ordering::Relaxed);
        if top.addr() >= self.limit.load(Ordering::Relaxed).addr()
            || !self.starts.admits(block.addr())
            || block == self.newest.get()
            // SAFETY: I-2: `floor <= top < limit`, so there are slots or the padding below.
            || block == unsafe { read_own(top.wrapping_sub(2)) }
        {
            return false;
        }
        // SAFETY: I-2: `floor <= top < limit`, so the slot exists; above `top` it is free.
        let slot = unsafe { &*top };
        slot.store(block, Ordering::Relaxed);
        self.newest.set(block);
        // Release pairs with the acquire loads of `top` in `claim` and `settle`: a thief that
        // sees the new top sees the slot. Loaded again for the reason given in `pop`.
        self.top.store(self.top.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
        true
    }

    /// Owner, under the lock: adds a block that [`Stack::push`] only suspected, if there is room.
    ///
    /// # Safety
    /// The caller is the owner and holds the lock.
    #[must_use = "false: the block was not added"]
    pub(crate) unsafe fn push_checked(&self, block: *mut u8) -> bool {
        // SAFETY: the caller's promise.
        let Some(slot) = unsafe { self.room() }.first() else { return false };
        slot.store(block, Ordering::Relaxed);
        self.raise(1);
        true
    }

    /// Owner, under the lock: whether a block is one of the two newest.
    ///
    /// # Safety
    /// The caller is the owner and holds the lock.
    pub(crate) unsafe fn holds_on_top(&self, block: *mut u8) -> bool {
        let top = self.top.load(Ordering::Relaxed);
        // SAFETY: I-2: the slots from `base` to `top` exist.
        (1..=self.len().min(2)).any(|depth| block == unsafe { read_own(top.wrapping_sub(depth)) })
    }

    /// Owner, under the lock, after a failed pop: raises `top` again.
    pub(crate) fn undo_pop(&self) {
        let top = self.top.load(Ordering::Relaxed).wrapping_add(1);
        // A second miss in a row would leave `top` below: blocks would overwrite another class's.
        debug_assert!(top.addr() >= self.base.load(Ordering::Relaxed).addr(), "two pops, one undo");
        // Release pairs with the acquire load of `top` in `settle`, as in `pop`.
        self.top.store(top, Ordering::Release);
    }

    /// Owner: makes the copy of the newest block good.
    ///
    /// # Safety
    /// The caller is the owner and holds the lock, or there is no owner.
    unsafe fn renew_newest(&self) {
        let top = self.top.load(Ordering::Relaxed);
        // SAFETY: I-2: below `top` there are slots or the padding.
        self.newest.set(unsafe { read_own(top.wrapping_sub(1)) });
    }

    /// Whether the stack is another than [`Stack::restart`] at this floor leaves.
    #[cfg(not(loom))]
    pub(crate) fn is_displaced(&self, floor: *mut Slot) -> bool {
        self.top.load(Ordering::Relaxed) != floor
    }

    /// Number of blocks. Exact for the owner outside of `pop` and `push`, a hint for others.
    pub(crate) fn len(&self) -> usize {
        distance(self.base.load(Ordering::Relaxed), self.top.load(Ordering::Relaxed))
    }

    /// Owner, under the lock: the blocks, oldest first. Checks I-2 exactly.
    ///
    /// # Safety
    /// The caller is the owner and holds the lock, and neither pops nor pushes while it uses the
    /// slice.
    #[cfg(any(test, feature = "check"))]
    #[cfg(not(loom))]
    pub(crate) unsafe fn blocks(&self) -> &[Slot] {
        let base = self.base.load(Ordering::Relaxed);
        let top = self.top.load(Ordering::Relaxed);
        assert!(base <= top, "I-2: top below base");
        if base == top {
            return &[];
        }
        // SAFETY: I-2: the stack holds a block, so there is a slot below `top`.
        let newest = unsafe { read_own(top.wrapping_sub(1)) };
        assert_eq!(self.newest.get(), newest, "I-2: the newest block");
        // SAFETY: I-2: the slots from `base` to `top` exist and hold blocks.
        unsafe { core::slice::from_raw_parts(base, self.len()) }
    }

    /// Under the lock: checks of I-2 what the owner's pops and pushes leave alone; `most` is the
    /// length of the class's longest array.
    #[cfg(any(test, feature = "check"))]
    #[cfg(not(loom))]
    pub(crate) fn validate_ends(&self, most: usize) {
        let floor = self.floor.load(Ordering::Relaxed);
        let base = self.base.load(Ordering::Relaxed);
        let limit = self.limit.load(Ordering::Relaxed);
        let end = floor.wrapping_add(most);
        assert!(floor <= base && base <= end, "I-2: base outside of the array");
        assert!(floor <= limit && limit <= end, "I-2: limit outside of the array");
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
        // SAFETY: the caller is the owner and holds the lock.
        unsafe { self.renew_newest() };
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
    /// [`Stack::len`] slots, and [`PADDING`] slots before them are the owner's too.
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
        self.newest.set(core::ptr::null_mut());
    }

    /// Under the lock: takes the room away, so that the owner's next push misses. Pushes that do not
    /// see the new limit yet still add their blocks. They lie below the limit that those pushes read,
    /// and so in the array, but perhaps above the new one, until the owner opens the stack.
    pub(crate) fn close(&self) {
        self.limit.store(self.top.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Owner, under the lock: takes all room away, also that of blocks which are popped from now on.
    #[cfg(not(loom))]
    pub(crate) fn shut(&self) {
        self.limit.store(self.floor.load(Ordering::Relaxed), Ordering::Relaxed);
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
        // SAFETY: the caller is the owner and holds the lock.
        unsafe { self.renew_newest() };
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
