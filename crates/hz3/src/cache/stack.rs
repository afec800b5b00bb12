//! The stack of blocks of one class in one thread's cache, which any thread can empty.
//!
//! ```text
//!             floor          base               top            limit
//!   | padding   | dead space  | blocks, oldest..newest | room    |
//! ```
//!
//! **Access.** The owner pops and pushes at `top` without a lock. `base`, `gate`, `floor` and
//! `limit` change only under the cache's lock: by the owner in its cold path, or by another thread.
//! Slots from `base` to `top` belong to the owner; slots below `base` are dead. Only the owner
//! writes to slots; a thief reads those that it won.
//!
//! **The newest block** has a copy in the stack itself, so `pop` need not load `top` first: while
//! there are blocks, `newest` equals the slot below `top`. Only the owner uses the copy, and a
//! thief does not update it: after a steal the owner's next `pop` fails, and the cold path reloads
//! the copy. Every function but `pop` and `push` that changes `top` or the slots below it ends with
//! [`Stack::reload_newest`].
//!
//! **A double free** is noticed by `push` if the block is one of the two newest. On a stack with
//! fewer than two blocks `push` compares with dead slots or the padding. So a match is only a
//! suspicion, and [`Stack::is_among_two_newest`] decides under the lock.
//!
//! **The protocol** is Dijkstra's mutual exclusion as Cilk-5 uses it in its deques, with the
//! owner's fence replaced by a process-wide barrier that the thief pays for:
//!
//! | owner: `pop` | thief, holding the lock |
//! |---|---|
//! | 1. `top := top - 1` | 1. read `top` as t0 |
//! | 2. light fence (no instruction) | 2. `base := t0`, and `gate` unless sealed |
//! | 3. read `gate`; if `top < gate`, lose: take the lock | 3. heavy fence (membarrier) |
//! | 4. read the slot at `top` | 4. read `top` as t1; own everything below min(t0, t1) |
//! | | 5. `base := min(t0, t1)` |
//!
//! The barrier makes all that the owner did before it visible to the thief. `top` alone orders what
//! the owner pushes later. So every push stores `top` with release. Every pop does too, because a
//! thief may read a `top` that a pop lowered to a slot pushed before it.
//!
//! A pop and a steal that race for one block end in one of two ways. The owner reads the new `gate`
//! in its step 3 and loses, or the thief reads the lowered `top` in its step 4 and leaves the
//! block. The two fences exclude a third order. An owner that loses has lowered `top` by one; under
//! the lock it raises it again ([`Stack::undo_pop`]). A thief that saw the lowered value has left
//! that block to the owner. The model is in `stack/models.rs`.
//!
//! **A sealed stack.** `gate` equals `base`, or is the highest address: then the stack is sealed,
//! and every `pop` fails. The owner then finishes the pop by reading `base` instead
//! ([`Stack::finish_sealed_pop`]), in the same place of the same protocol. So a heap profile sees
//! every allocation while it runs, and `pop` has no instruction for it. Any thread may seal a stack
//! under the lock. An owner that still reads the old `gate` pops unseen; a thief's barrier comes
//! after the sealing, so an owner that passes it reads the highest address or the new `base`.
//!
//! **I-2.** In a stack, `floor <= base <= top <= limit`. Slots from `base` to `top` hold blocks and
//! belong to the owner. Those from `top` to `limit` are room, those below `base` are dead. `base`,
//! `gate`, `floor` and `limit` change only under the cache's lock. `gate` equals `base` or is the
//! highest address. Two slots of padding precede every array. `newest` is the slot below `top`,
//! also of an empty stack: a forked child tells by it whether a pop was interrupted. A sentinel's
//! stack has no slots: `base` and `gate` are the highest address and `limit` the lowest. There are
//! four transient exceptions:
//! * While the owner moves its blocks, the ends are those of a sentinel's stack.
//! * After a lost pop `top` is one too low until `undo_pop`.
//! * Between `claim` and `settle` `base` is at the old top, so every pop loses.
//! * While the slow path is armed, `limit` is a former `top`, or the floor until the first free of
//!   the class. Blocks may then lie above it, within the array.

#[cfg(all(loom, test))]
mod models;
mod room;
#[cfg(any(test, feature = "check"))]
#[cfg(not(loom))]
mod validate;

use crate::base::size_class::StartTest;
use crate::base::sync::{AtomicPtr, Slot, light_fence};
use core::cell::Cell;
use core::sync::atomic::Ordering;

/// Slots before every array that hold no block, because [`Stack::push`] reads two below `top`.
pub(crate) const PADDING: usize = 2;

/// A stack of blocks as the head of this file describes it. One cache line.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Stack {
    /// The copy of the newest block. Used by the owner alone.
    newest: Cell<*mut u8>,
    top: AtomicPtr<Slot>,
    /// The word that `pop` compares `top` with: `base`, or [`SEALED`].
    gate: AtomicPtr<Slot>,
    limit: AtomicPtr<Slot>,
    /// Tells where blocks of the class can start. Fixed before the stack is shared.
    starts: StartTest,
    floor: AtomicPtr<Slot>,
    base: AtomicPtr<Slot>,
}

/// The `gate` of a sealed stack, and the `base` of a sentinel's: the highest address.
const SEALED: *mut Slot = core::ptr::without_provenance_mut(usize::MAX);

// SAFETY: only the owner accesses `newest`, or, while the stack has no owner, one thread alone; a
// sentinel's is only read. The other fields are fixed or atomics.
unsafe impl Sync for Stack {}

/// A steal between [`Stack::claim`] and [`Stack::settle`]. One word, because a thief keeps a claim
/// on each class on its call stack.
#[derive(Debug)]
#[must_use = "until a claim is settled, every pop of the owner fails"]
pub(crate) struct Claim {
    start: *mut Slot,
}

impl Claim {
    /// The place of no claim in a list.
    pub(crate) const NONE: Claim = Claim { start: core::ptr::null_mut() };
}

/// Slots with blocks that a thief stole, or that the owner took out under the lock.
#[derive(Debug)]
#[must_use = "blocks in a dropped batch are lost"]
pub(crate) struct Batch {
    start: *mut Slot,
    count: usize,
}

impl Batch {
    /// Returns the slots of the batch.
    ///
    /// # Safety
    /// The caller has held the cache's lock since the batch was made, and holds it as long as it
    /// uses the slice: the lock keeps the owner from reusing the slots.
    pub(crate) unsafe fn slots<'a>(&self) -> &'a [Slot] {
        // SAFETY: the slots lie in the stack's array; the lock that the caller holds protects them.
        unsafe { core::slice::from_raw_parts(self.start, self.count) }
    }
}

/// Returns the number of slots from `low` to `high`; 0 if `high` is below `low`.
fn distance(low: *mut Slot, high: *mut Slot) -> usize {
    high.addr().saturating_sub(low.addr()) / size_of::<Slot>()
}

/// Reads a slot by a plain load, which the compiler can fold into a comparison.
///
/// # Safety
/// The slot exists, and the caller is the owner: no other thread writes to it.
#[inline(always)]
unsafe fn read_as_owner(slot: *const Slot) -> *mut u8 {
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
    /// Makes a stack without blocks and room. Every push and pop fails, whatever `top` is.
    #[cfg(not(loom))]
    pub(crate) const fn sentinel() -> Stack {
        Stack {
            newest: Cell::new(core::ptr::null_mut()),
            starts: StartTest::NONE,
            top: AtomicPtr::new(core::ptr::null_mut()),
            gate: AtomicPtr::new(SEALED),
            limit: AtomicPtr::new(core::ptr::null_mut()),
            floor: AtomicPtr::new(core::ptr::null_mut()),
            base: AtomicPtr::new(SEALED),
        }
    }

    /// Sets the test for addresses at which blocks of the class can start.
    #[cfg(not(loom))]
    pub(crate) fn set_starts(&mut self, starts: StartTest) {
        self.starts = starts;
    }

    /// Owner: takes the newest block. `None` if there is none, if a thief has claimed the blocks,
    /// or if the stack is sealed. The caller then calls [`Stack::finish_sealed_pop`], or takes the
    /// lock and calls [`Stack::undo_pop`].
    ///
    /// # Safety
    /// The caller is the owner, or the stack is a sentinel.
    #[inline(always)]
    pub(crate) unsafe fn pop(&self) -> Option<*mut u8> {
        let top = self.top.load(Ordering::Relaxed);
        // Only the owner writes `top`. The second load lets the compiler lower it by one
        // instruction.
        let lowered = self.top.load(Ordering::Relaxed).wrapping_sub(1);
        // Release pairs with the acquire load of `top` in `settle`.
        self.top.store(lowered, Ordering::Release);
        light_fence();
        if top.addr() <= self.gate.load(Ordering::Relaxed).addr() {
            return None;
        }
        let newest = self.newest.get();
        // SAFETY: I-2: `base < top <= limit`, and below `base` there are slots or the padding.
        self.newest.set(unsafe { read_as_owner(top.wrapping_sub(2)) });
        Some(newest)
    }

    /// Owner, after a failed pop: takes the block after all if the pop failed only because the
    /// stack is sealed. After `None` the pop is still a failed one.
    ///
    /// # Safety
    /// The caller is the owner, or the stack is a sentinel; a pop has just failed.
    #[inline(always)]
    pub(crate) unsafe fn finish_sealed_pop(&self) -> Option<*mut u8> {
        let lowered = self.top.load(Ordering::Relaxed);
        // The pop has stored `top` before its light fence, and this load follows that fence.
        if lowered.addr() < self.base.load(Ordering::Relaxed).addr() {
            return None;
        }
        let newest = self.newest.get();
        // SAFETY: I-2: `base <= top < limit`, and below `base` there are slots or the padding.
        self.newest.set(unsafe { read_as_owner(lowered.wrapping_sub(1)) });
        Some(newest)
    }

    /// Owner: as [`Stack::pop`], also from a sealed stack.
    ///
    /// # Safety
    /// As for [`Stack::pop`].
    pub(crate) unsafe fn pop_sealed(&self) -> Option<*mut u8> {
        // SAFETY: the caller's promise.
        let popped = unsafe { self.pop() };
        // SAFETY: the caller's promise; the pop has just failed.
        popped.or_else(|| unsafe { self.finish_sealed_pop() })
    }

    /// Under the lock: seals the stack, so that every pop fails, or ends that.
    pub(crate) fn set_sealed(&self, sealed: bool) {
        let gate = if sealed { SEALED } else { self.base.load(Ordering::Relaxed) };
        self.gate.store(gate, Ordering::Relaxed);
    }

    /// Under the lock: sets `base`, and `gate` unless the stack is sealed.
    fn set_base(&self, base: *mut Slot) {
        self.base.store(base, Ordering::Relaxed);
        if self.gate.load(Ordering::Relaxed) != SEALED {
            self.gate.store(base, Ordering::Relaxed);
        }
    }

    /// Owner: adds a block. Returns false if there is no room, if no block of the class can start
    /// at that address, or if the block may be one of the two newest already.
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
            || block == unsafe { read_as_owner(top.wrapping_sub(2)) }
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

    /// Owner, under the lock: adds a block if there is room.
    ///
    /// For a block that [`Stack::push`] refused and that proved to be no double free.
    ///
    /// # Safety
    /// The caller is the owner and holds the lock.
    #[must_use = "false: the block was not added"]
    pub(crate) unsafe fn push_checked(&self, block: *mut u8) -> bool {
        // SAFETY: the caller's promise.
        let Some(slot) = unsafe { self.room() }.first() else { return false };
        slot.store(block, Ordering::Relaxed);
        // SAFETY: the caller's promise; the slot is filled.
        unsafe { self.raise_top(1) };
        true
    }

    /// Owner, under the lock: returns whether a block is one of the two newest.
    ///
    /// # Safety
    /// The caller is the owner and holds the lock.
    pub(crate) unsafe fn is_among_two_newest(&self, block: *mut u8) -> bool {
        let top = self.top.load(Ordering::Relaxed);
        // SAFETY: I-2: the slots from `base` to `top` exist.
        (1..=self.len().min(2))
            .any(|depth| block == unsafe { read_as_owner(top.wrapping_sub(depth)) })
    }

    /// Owner, under the lock, after a failed pop: raises `top` again.
    pub(crate) fn undo_pop(&self) {
        let top = self.top.load(Ordering::Relaxed).wrapping_add(1);
        // Two failed pops with one undo would leave `top` too low: pushes would write to another
        // array.
        let base = self.base.load(Ordering::Relaxed);
        debug_assert!(top.addr() >= base.addr() || base == SEALED, "two pops, one undo");
        // Release pairs with the acquire load of `top` in `settle`, as in `pop`.
        self.top.store(top, Ordering::Release);
    }

    /// Owner: reloads the copy of the newest block from the slot below `top`.
    ///
    /// # Safety
    /// The caller is the owner and holds the lock, or there is no owner.
    pub(super) unsafe fn reload_newest(&self) {
        loop {
            let top = self.top.load(Ordering::Relaxed);
            // SAFETY: I-2: below `top` there are slots or the padding.
            self.newest.set(unsafe { read_as_owner(top.wrapping_sub(1)) });
            light_fence();
            // A signal handler of the owner may have popped or pushed in between.
            if self.top.load(Ordering::Relaxed) == top {
                return;
            }
        }
    }

    /// Returns the number of blocks: exact for the owner, a hint for other threads.
    pub(crate) fn len(&self) -> usize {
        distance(self.base.load(Ordering::Relaxed), self.top.load(Ordering::Relaxed))
    }

    /// Owner, under the lock: returns the free slots above the blocks.
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

    /// Owner, under the lock: raises `top` after the caller filled `count` slots of
    /// [`Stack::room`].
    ///
    /// # Safety
    /// The caller is the owner, holds the lock, and has filled that many slots.
    pub(crate) unsafe fn raise_top(&self, count: usize) {
        let top = self.top.load(Ordering::Relaxed);
        // Release pairs with the acquire loads of `top` in `claim` and `settle`.
        self.top.store(top.wrapping_add(count), Ordering::Release);
        // SAFETY: the caller's promise.
        unsafe { self.reload_newest() };
    }

    /// Owner, under the lock: takes the `count` oldest blocks out, or all if there are fewer.
    ///
    /// A caller that writes to the slots of the batch then calls [`Stack::reload_newest`].
    pub(super) fn take_oldest(&self, count: usize) -> Batch {
        let start = self.base.load(Ordering::Relaxed);
        // A signal handler of the owner may pop and push at any time. Once `base` is at `top` its
        // pops lose, so the blocks that are counted stay.
        self.set_base(self.top.load(Ordering::Relaxed));
        light_fence();
        let count = count.min(distance(start, self.top.load(Ordering::Relaxed)));
        self.set_base(start.wrapping_add(count));
        Batch { start, count }
    }

    /// Thief, under the lock: starts a steal; until its end every pop of the owner fails.
    ///
    /// A barrier on all threads must run between this and [`Stack::settle`].
    pub(crate) fn claim(&self) -> Claim {
        let start = self.base.load(Ordering::Relaxed);
        // Acquire pairs with the release stores of `top` in `push` and `raise_top`.
        let seen = self.top.load(Ordering::Acquire);
        if seen.addr() > start.addr() {
            self.set_base(seen);
        }
        Claim { start }
    }

    /// Thief, under the same lock and after the barrier: ends a steal and returns the stolen
    /// blocks.
    pub(crate) fn settle(&self, claim: Claim) -> Batch {
        // `claim` set `base` to the `top` that it saw, unless the stack was empty.
        let seen = self.base.load(Ordering::Relaxed);
        // Acquire pairs with the release stores of `top` in `push`, `raise_top`, `pop` and
        // `undo_pop`.
        let now = self.top.load(Ordering::Acquire);
        let end = if now.addr() < seen.addr() { now } else { seen };
        if end.addr() <= claim.start.addr() {
            self.set_base(claim.start);
            return Batch { start: claim.start, count: 0 };
        }
        self.set_base(end);
        Batch { start: claim.start, count: distance(claim.start, end) }
    }

    /// Thief, under the same lock: gives a claim up if no barrier could run.
    pub(crate) fn abandon(&self, claim: Claim) {
        self.set_base(claim.start);
    }
}
