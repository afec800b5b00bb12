//! Where the blocks that wait in a transfer cache have their places.
//!
//! ```text
//!   slots of a shard:   row 0 of class 1 | row 0 of class 2 | ... | row 1 of class 1 | row 1 of class 2 | ...
//! ```
//!
//! So classes of which few blocks wait share pages, where one range of slots a class would cost a
//! page each.

use core::marker::PhantomData;
use core::ops::Range;
use core::ptr::NonNull;

use super::Slot;
use crate::base::size_class::{CLASSES, SizeClass};
use crate::base::units::{to_u32, to_usize};

/// Bytes that wait in one transfer cache at most, within these numbers of blocks.
const MOST_BYTES: usize = 1024 * 1024;
const MOST_BLOCKS: core::ops::RangeInclusive<usize> = ROW..=512;
/// Places of a row.
const ROW: usize = 32;
const ROWS: usize = *MOST_BLOCKS.end() / ROW;

/// Most blocks of the class that wait in one shard: whole rows.
pub(super) const fn most_waiting(class: usize) -> usize {
    let fitting = MOST_BYTES / SizeClass::block_bytes_of(class);
    if fitting < *MOST_BLOCKS.start() {
        *MOST_BLOCKS.start()
    } else if fitting > *MOST_BLOCKS.end() {
        *MOST_BLOCKS.end()
    } else {
        fitting - fitting % ROW
    }
}

/// Where the first row, the second one and so on of the lowest class start in the slots of a shard;
/// at the end, the number of slots. Longer blocks have no more rows than shorter ones, so those of
/// the next class, if it has as many, follow.
static FIRST_SLOT: [u32; ROWS + 1] = {
    let mut first = [0; ROWS + 1];
    let mut row = 0;
    while row < ROWS {
        let mut class = 1;
        while class < CLASSES && most_waiting(class) > row * ROW {
            class += 1;
        }
        first[row + 1] = first[row] + to_u32((class - 1) * ROW);
        row += 1;
    }
    first
};

/// Slots of a shard.
pub(super) const SLOTS: usize = to_usize(FIRST_SLOT[ROWS]);

/// The places of one transfer cache, lowest first; its lock protects them.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    /// The slots of the shard. Not a slice: Miri looks at each of its atomics whenever it is passed on.
    slots: NonNull<Slot>,
    class: SizeClass,
    lifetime: PhantomData<&'a Slot>,
}

impl<'a> Places<'a> {
    /// Those of a class in the slots of a shard.
    ///
    /// # Safety
    /// [`SLOTS`] slots lie there, for as long as the lifetime.
    pub(super) unsafe fn of(slots: NonNull<Slot>, class: SizeClass) -> Places<'a> {
        Places { slots, class, lifetime: PhantomData }
    }

    /// Which slots of the shard those places are that lie side by side from `at` on, at most `count`.
    fn range(self, at: usize, count: usize) -> Range<usize> {
        let first = to_usize(FIRST_SLOT[at / ROW]) + (self.class.index() - 1) * ROW + at % ROW;
        first..first + count.min(ROW - at % ROW)
    }

    /// The places from `at` on that lie side by side, at most `count`.
    fn part(self, at: usize, count: usize) -> &'a [Slot] {
        let range = self.range(at, count);
        assert!(range.end <= SLOTS);
        // SAFETY: the shard has that many slots.
        let first = unsafe { self.slots.add(range.start) };
        // SAFETY: as above; they are atomics.
        unsafe { core::slice::from_raw_parts(first.as_ptr(), range.len()) }
    }

    /// Copies a batch into the places from `at` on.
    pub(super) fn write(self, at: usize, batch: &[Slot]) {
        let mut done = 0;
        while done < batch.len() {
            let part = self.part(at + done, batch.len() - done);
            copy(&batch[done..][..part.len()], part);
            done += part.len();
        }
    }

    /// Copies the places from `at` on into `out`.
    pub(super) fn read(self, at: usize, out: &[Slot]) {
        let mut done = 0;
        while done < out.len() {
            let part = self.part(at + done, out.len() - done);
            copy(part, &out[done..][..part.len()]);
            done += part.len();
        }
    }

    /// Moves the places below `len` down by `count`; the lowest ones are overwritten.
    pub(super) fn shift(self, count: usize, len: usize) {
        let mut at = count;
        while at < len {
            let part = self.part(at, len - at);
            self.write(at - count, part);
            at += part.len();
        }
    }
}

/// Copies as many addresses; the places may overlap. The lock of the transfer cache is held, and the
/// other places are the caller's own or protected by the lock of its thread cache.
fn copy(from: &[Slot], to: &[Slot]) {
    assert_eq!(from.len(), to.len());
    let to: *mut Slot = to.as_ptr().cast_mut();
    // SAFETY: both rows have that many places, which are atomics and so may be written through a
    // shared reference; nobody else reads or writes them while the locks are held.
    unsafe { core::ptr::copy(from.as_ptr(), to, from.len()) };
}

#[cfg(test)]
mod tests {
    use super::{CLASSES, NonNull, ROW, SLOTS, Slot, most_waiting};
    use crate::base::size_class::SizeClass;
    use crate::central::places::Places;
    use core::sync::atomic::Ordering;
    use std::vec::Vec;

    fn slots(numbers: impl Iterator<Item = usize>) -> Vec<Slot> {
        numbers.map(|n| Slot::new(core::ptr::without_provenance_mut(n))).collect()
    }

    fn numbers(slots: &[Slot]) -> Vec<usize> {
        slots.iter().map(|slot| slot.load(Ordering::Relaxed).addr()).collect()
    }

    /// The places of each class in the slots of a shard.
    fn places_in<'a>(shard: &'a [Slot]) -> impl Fn(SizeClass) -> Places<'a> {
        assert_eq!(shard.len(), SLOTS);
        let slots = NonNull::from(shard).cast();
        // SAFETY: there are so many.
        move |class| unsafe { Places::of(slots, class) }
    }

    #[test]
    fn every_place_of_every_class_is_its_own() {
        let shard = slots(std::iter::repeat_n(0, SLOTS));
        let places_of = places_in(&shard);
        let mut is_taken = std::vec![false; SLOTS];
        for class in SizeClass::all() {
            let places = places_of(class);
            for place in 0..most_waiting(class.index()) {
                let slot = places.range(place, 1).start;
                assert!(!is_taken[slot], "place {place} of {class:?}");
                is_taken[slot] = true;
            }
        }
        assert!(is_taken.into_iter().all(|taken| taken), "no slot is left over");
    }

    #[test]
    fn places_move_down_across_rows() {
        let class = SizeClass::of_size(16);
        let shard = slots(std::iter::repeat_n(0, SLOTS));
        let places = places_in(&shard)(class);
        for (count, len) in [(1, 2), (1, 500), (ROW, 512), (ROW + 3, 5 * ROW), (300, 512)] {
            places.write(0, &slots(0..len));
            places.shift(count, len);
            let out = slots(0..len - count);
            places.read(0, &out);
            assert!(numbers(&out).into_iter().eq(count..len), "{len} by {count}");
        }
    }

    #[test]
    fn the_first_row_of_each_class_lies_beside_the_others() {
        let shard = slots(std::iter::repeat_n(0, SLOTS));
        let places_of = places_in(&shard);
        let end = |class| places_of(class).range(0, ROW).end;
        assert_eq!(SizeClass::all().map(end).max(), Some((CLASSES - 1) * ROW));
    }
}
