//! The layout of the slots in which the blocks of the transfer caches wait.
//!
//! ```text
//!   slots of a shard:   stripe 0 of class 1 | stripe 0 of class 2 | ...
//!                     | stripe 1 of class 1 | stripe 1 of class 2 | ...
//! ```
//!
//! Classes with few waiting blocks share pages. If each class had one range of slots, each would
//! touch a page of its own.

use core::marker::PhantomData;
use core::ops::Range;
use core::ptr::NonNull;

use crate::base::size_class::{CLASSES, SizeClass};
use crate::base::sync::Slot;
use crate::base::units::{to_u32, to_usize};

/// Bytes of the blocks that may wait in one transfer cache, within [`BLOCKS`].
const MAX_BYTES: usize = 1024 * 1024;
/// Bounds of [`max_waiting`].
const BLOCKS: core::ops::RangeInclusive<usize> = STRIPE..=512;
/// Slots of one class that lie side by side.
const STRIPE: usize = 32;
const STRIPES: usize = *BLOCKS.end() / STRIPE;

/// Returns how many blocks of the class may wait in one shard: a multiple of [`STRIPE`].
pub(super) const fn max_waiting(class: usize) -> usize {
    let fitting = MAX_BYTES / SizeClass::block_bytes_of(class);
    if fitting < *BLOCKS.start() {
        *BLOCKS.start()
    } else if fitting > *BLOCKS.end() {
        *BLOCKS.end()
    } else {
        fitting - fitting % STRIPE
    }
}

/// The slots of a shard at which class 1 has its stripes; the last entry is the number of slots.
///
/// A class of longer blocks never has more stripes than one of shorter blocks. So the classes that
/// have a stripe of a given number are the lowest ones, and these stripes are contiguous.
static FIRST_SLOT: [u32; STRIPES + 1] = {
    let mut first = [0; STRIPES + 1];
    let mut stripe = 0;
    while stripe < STRIPES {
        let mut class = 1;
        while class < CLASSES && max_waiting(class) > stripe * STRIPE {
            class += 1;
        }
        first[stripe + 1] = first[stripe] + to_u32((class - 1) * STRIPE);
        stripe += 1;
    }
    first
};

/// Slots of a shard, those of all classes together.
pub(super) const SLOTS: usize = to_usize(FIRST_SLOT[STRIPES]);

/// The slots of one transfer cache, numbered from its oldest block on; its lock protects them.
#[derive(Clone, Copy)]
pub(super) struct WaitingSlots<'a> {
    /// The slots of the shard. A slice would be slow under Miri, which checks each of its atomics
    /// whenever it is passed on.
    shard: NonNull<Slot>,
    class: SizeClass,
    lifetime: PhantomData<&'a Slot>,
}

impl<'a> WaitingSlots<'a> {
    /// Returns the slots of a class among those of a shard, which start at `shard`.
    ///
    /// # Safety
    /// There are [`SLOTS`] slots at `shard`, and they stay for the lifetime.
    pub(super) unsafe fn of(shard: NonNull<Slot>, class: SizeClass) -> WaitingSlots<'a> {
        WaitingSlots { shard, class, lifetime: PhantomData }
    }

    /// Returns which slots of the shard hold the blocks from `at` to the end of the stripe.
    ///
    /// The range has at most `count` slots.
    fn range(self, at: usize, count: usize) -> Range<usize> {
        let first =
            to_usize(FIRST_SLOT[at / STRIPE]) + (self.class.index() - 1) * STRIPE + at % STRIPE;
        first..first + count.min(STRIPE - at % STRIPE)
    }

    /// Returns at most `count` contiguous slots from number `at` on.
    fn contiguous(self, at: usize, count: usize) -> &'a [Slot] {
        let range = self.range(at, count);
        assert!(range.end <= SLOTS);
        // SAFETY: the shard has that many slots.
        let first = unsafe { self.shard.add(range.start) };
        // SAFETY: as above; they are atomics.
        unsafe { core::slice::from_raw_parts(first.as_ptr(), range.len()) }
    }

    /// Copies a batch into the slots from number `at` on.
    pub(super) fn write(self, at: usize, batch: &[Slot]) {
        let mut done = 0;
        while done < batch.len() {
            let stripe = self.contiguous(at + done, batch.len() - done);
            copy(&batch[done..][..stripe.len()], stripe);
            done += stripe.len();
        }
    }

    /// Fills `out` with copies of the slots from number `at` on.
    pub(super) fn read(self, at: usize, out: &[Slot]) {
        let mut done = 0;
        while done < out.len() {
            let stripe = self.contiguous(at + done, out.len() - done);
            copy(stripe, &out[done..][..stripe.len()]);
            done += stripe.len();
        }
    }

    /// Moves the first `len` slots down by `count`, over the `count` lowest ones.
    pub(super) fn shift(self, count: usize, len: usize) {
        let mut at = count;
        while at < len {
            let stripe = self.contiguous(at, len - at);
            self.write(at - count, stripe);
            at += stripe.len();
        }
    }
}

/// Copies addresses between two slices of one length, which may overlap.
///
/// The caller holds the lock of the transfer cache. The slots of its batch are its own or are
/// protected by the lock of its thread cache.
fn copy(from: &[Slot], to: &[Slot]) {
    assert_eq!(from.len(), to.len());
    let to: *mut Slot = to.as_ptr().cast_mut();
    // SAFETY: both slices have that many slots. They are atomics, so they may be written through a
    // shared reference; no other thread reads or writes them while the locks are held.
    unsafe { core::ptr::copy(from.as_ptr(), to, from.len()) };
}

#[cfg(test)]
mod tests {
    use super::{CLASSES, NonNull, SLOTS, STRIPE, Slot, WaitingSlots, max_waiting};
    use crate::base::size_class::SizeClass;
    use crate::base::sync::{addresses, slots};

    /// Returns a function from a class to its slots in a shard.
    fn slots_in<'a>(shard: &'a [Slot]) -> impl Fn(SizeClass) -> WaitingSlots<'a> {
        assert_eq!(shard.len(), SLOTS);
        let shard = NonNull::from(shard).cast();
        // SAFETY: the slice has `SLOTS` slots.
        move |class| unsafe { WaitingSlots::of(shard, class) }
    }

    #[test]
    fn no_two_classes_share_a_slot_and_none_is_unused() {
        let shard = slots(std::iter::repeat_n(0, SLOTS));
        let slots_of = slots_in(&shard);
        let mut is_taken = std::vec![false; SLOTS];
        for class in SizeClass::all() {
            let waiting = slots_of(class);
            for number in 0..max_waiting(class.index()) {
                let slot = waiting.range(number, 1).start;
                assert!(!is_taken[slot], "slot {number} of {class:?}");
                is_taken[slot] = true;
            }
        }
        assert!(is_taken.into_iter().all(|taken| taken), "a slot belongs to no class");
    }

    #[test]
    fn a_shift_moves_slots_down_across_stripes() {
        let class = SizeClass::of_size(16);
        let shard = slots(std::iter::repeat_n(0, SLOTS));
        let waiting = slots_in(&shard)(class);
        for (count, len) in [(1, 2), (1, 500), (STRIPE, 512), (STRIPE + 3, 5 * STRIPE), (300, 512)]
        {
            waiting.write(0, &slots(0..len));
            waiting.shift(count, len);
            let out = slots(0..len - count);
            waiting.read(0, &out);
            assert!(addresses(&out).into_iter().eq(count..len), "{len} by {count}");
        }
    }

    #[test]
    fn the_first_stripes_of_all_classes_are_contiguous() {
        let shard = slots(std::iter::repeat_n(0, SLOTS));
        let slots_of = slots_in(&shard);
        let end = |class| slots_of(class).range(0, STRIPE).end;
        assert_eq!(SizeClass::all().map(end).max(), Some((CLASSES - 1) * STRIPE));
    }
}
