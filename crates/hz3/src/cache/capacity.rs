//! How many blocks of each class a thread cache may hold.
//!
//! Capacity is counted in bytes. A class starts with a few blocks, or as many as the user says, and
//! doubles whenever the cache runs empty or full of it (slow start), up to what makes a good batch.
//! Beyond that, up to [`most`], only running empty *and* full since the last growth counts: a
//! thread that only frees gains nothing from holding more, nor does one that only allocates. A refill
//! or flush moves half of the capacity, so that a free or malloc after it is a hit too; of a class
//! that flows one way it moves all. The sum over the classes stays within the cache's limit, and a
//! class that must grow beyond it takes from the others in turn.

use crate::base::size_class::{CLASSES, SizeClass};
use crate::base::units::to_u64;

/// A class may hold this many bytes at most, unless that were fewer than [`FEWEST_AT_MOST`] blocks.
const CLASS_BYTES: usize = 512 * 1024;
/// Blocks that even the largest class may reach.
const FEWEST_AT_MOST: usize = 16;
/// Blocks that even the largest class may reach by running only empty or only full.
const FEWEST_ONE_WAY: usize = 8;
/// Blocks that even the smallest class stays within. A program that allocates and frees so many in
/// turn stays in its cache: 42 instructions a pair, and 50 to 130 more for a block that goes through
/// its slab (64 bytes, 1,600 and more blocks in turn).
const MOST_AT_MOST: usize = 2048;
/// A class starts with this many bytes, within the bounds below, unless the user says how many.
const FIRST_BYTES: usize = 2048;
const FIRST_BLOCKS: core::ops::RangeInclusive<usize> = 2..=8;
/// A class that ran only empty or only full has this many bytes at most: a good batch.
const ONE_WAY_BYTES: usize = 32 * 1024;
/// What such a class may have at once when it runs the other way too: half of it moves from then on,
/// so it has twice that for the same batch, and twice again to grow.
const RETURN_BYTES: usize = 4 * ONE_WAY_BYTES;
/// How many other classes are asked for capacity before growth is refused.
const VICTIMS_TRIED: usize = 8;

/// The largest capacity a class reaches, in blocks; a power of two.
pub(crate) const fn most(block_bytes: usize) -> usize {
    within_bounds(CLASS_BYTES / block_bytes, FEWEST_AT_MOST)
}

/// The largest capacity of a class that ran only empty or only full.
const fn most_one_way(block_bytes: usize) -> usize {
    within_bounds(ONE_WAY_BYTES / block_bytes, FEWEST_ONE_WAY)
}

/// The capacity of a class that flowed one way and now runs the other way too; not above [`most`].
const fn on_return(block_bytes: usize) -> usize {
    within_bounds(RETURN_BYTES / block_bytes, FEWEST_AT_MOST)
}

/// The nearest power of two below, from `fewest` to [`MOST_AT_MOST`].
const fn within_bounds(fitting: usize, fewest: usize) -> usize {
    if fitting >= MOST_AT_MOST {
        MOST_AT_MOST
    } else if fitting <= fewest {
        fewest
    } else {
        1 << fitting.ilog2()
    }
}

/// Why a class should grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// The cache ran empty of it.
    Blocks = 1,
    /// The cache ran full of it.
    Room = 2,
}

/// The capacities of one cache. The lock of the cache protects it.
#[derive(Debug)]
pub(crate) struct Capacity {
    limit_bytes: usize,
    /// Blocks that every class starts with, as far as it may have them; `None`: by its size.
    first_blocks: Option<usize>,
    granted_bytes: usize,
    blocks: [u16; CLASSES],
    /// What happened to each class since its last growth, [`Shortage`]s as bits.
    seen: [u8; CLASSES],
    /// The class that is asked next when capacity must come from others.
    next_victim: usize,
}

impl Capacity {
    pub(crate) const fn new(limit_bytes: usize) -> Capacity {
        Capacity {
            limit_bytes,
            first_blocks: None,
            granted_bytes: 0,
            blocks: [0; CLASSES],
            seen: [0; CLASSES],
            next_victim: 1,
        }
    }

    /// The capacity that a class starts with, in blocks; a power of two.
    pub(crate) fn first(&self, class: SizeClass) -> usize {
        let size = class.block_bytes();
        if let Some(blocks) = self.first_blocks {
            return blocks.clamp(*FIRST_BLOCKS.start(), most(size)).next_power_of_two();
        }
        let fitting = (FIRST_BYTES / size).max(1);
        (1 << fitting.ilog2()).clamp(*FIRST_BLOCKS.start(), *FIRST_BLOCKS.end())
    }

    /// The capacity of a class, in blocks.
    pub(crate) fn of(&self, class: SizeClass) -> usize {
        usize::from(self.blocks[class.index()])
    }

    /// Half of the blocks that a class may have.
    pub(crate) fn half(&self, class: SizeClass) -> usize {
        (self.of(class) / 2).max(1)
    }

    /// How many blocks one refill or flush of a class moves.
    pub(crate) fn batch(&self, class: SizeClass) -> usize {
        if self.flows_one_way(class) { self.of(class) } else { self.half(class) }
    }

    /// Whether a class is as large as running only empty or only full makes it, and has done only the
    /// one or the other since.
    fn flows_one_way(&self, class: SizeClass) -> bool {
        let seen = self.seen[class.index()];
        seen.is_power_of_two() && self.of(class) == most_one_way(class.block_bytes())
    }

    /// The capacity that a class that ran empty or full should have next.
    pub(crate) fn next_step(&mut self, class: SizeClass, shortage: Shortage) -> usize {
        let seen = &mut self.seen[class.index()];
        *seen |= shortage as u8;
        let both = Shortage::Blocks as u8 | Shortage::Room as u8;
        let size = class.block_bytes();
        let (one_way, is_both) = (most_one_way(size), *seen == both);
        match self.of(class) {
            0 => self.first(class),
            now if is_both && now == one_way => on_return(size),
            now => (now * 2).min(if is_both { most(size) } else { one_way }).max(now),
        }
    }

    /// Whether `class` can have `blocks` blocks without exceeding the limit.
    pub(crate) fn fits(&self, class: SizeClass, blocks: usize) -> bool {
        let more = blocks.saturating_sub(self.of(class)) * class.block_bytes();
        // The first blocks of a class are always granted: a cache without room is no cache.
        self.of(class) == 0 || self.granted_bytes + more <= self.limit_bytes
    }

    /// Sets a class's capacity.
    pub(crate) fn set(&mut self, class: SizeClass, blocks: usize) {
        self.seen[class.index()] = 0;
        let size = class.block_bytes();
        self.granted_bytes = self.granted_bytes - self.of(class) * size + blocks * size;
        #[expect(clippy::cast_possible_truncation, reason = "blocks is at most MOST_AT_MOST")]
        let blocks = blocks as u16;
        self.blocks[class.index()] = blocks;
    }

    /// The next classes that should give half of their capacity so that another can grow, in
    /// turn, each with its new capacity.
    pub(crate) fn victims(
        &mut self,
        class: SizeClass,
    ) -> [Option<(SizeClass, usize)>; VICTIMS_TRIED] {
        let start = self.next_victim;
        self.next_victim = Self::successor(start, VICTIMS_TRIED);
        core::array::from_fn(|step| {
            let victim = SizeClass::from_index(Self::successor(start, step));
            let half = self.of(victim) / 2;
            (victim != class && half >= self.first(victim)).then_some((victim, half))
        })
    }

    /// The class `step` places after `class`, in a circle without class 0.
    fn successor(class: usize, step: usize) -> usize {
        (class - 1 + step) % (CLASSES - 1) + 1
    }

    /// Bytes of the blocks that the classes may have, all together.
    pub(crate) fn granted_bytes(&self) -> u64 {
        to_u64(self.granted_bytes)
    }

    /// Sets the blocks that every class starts with, as far as it may have them; `None`: few, by its
    /// size.
    pub(crate) fn set_first(&mut self, blocks: Option<usize>) {
        self.first_blocks = blocks;
    }

    /// Sets what the cache may hold.
    pub(crate) fn set_limit(&mut self, limit_bytes: usize) {
        self.limit_bytes = limit_bytes;
    }
}

const _: () = assert!(MOST_AT_MOST <= u16::MAX as usize && MOST_AT_MOST.is_power_of_two());

#[cfg(test)]
mod tests {
    use super::{CLASSES, Capacity, Shortage, SizeClass, most, most_one_way};

    #[test]
    fn growth_doubles_up_to_the_most() {
        for class in SizeClass::all() {
            let mut capacity = Capacity::new(usize::MAX);
            let mut steps = 0;
            loop {
                // Each growth needs both again.
                capacity.next_step(class, Shortage::Blocks);
                let next = capacity.next_step(class, Shortage::Room);
                assert!(next.is_power_of_two() && next >= capacity.first(class));
                if next == capacity.of(class) {
                    break;
                }
                capacity.set(class, next);
                steps += 1;
            }
            assert_eq!(capacity.of(class), most(class.block_bytes()));
            assert!(steps <= 12, "slow start of {class:?} takes {steps} steps");
        }
    }

    #[test]
    fn a_class_starts_with_what_the_user_says_as_far_as_it_may_have_it() {
        for (said, wanted) in [(1, 2), (2, 2), (30, 32), (32, 32), (256, 256), (usize::MAX, 2048)] {
            let mut capacity = Capacity::new(0);
            capacity.set_first(Some(said));
            for class in SizeClass::all() {
                let next = capacity.next_step(class, Shortage::Blocks);
                assert_eq!(next, wanted.min(most(class.block_bytes())), "{said} of {class:?}");
                capacity.set(class, next);
            }
        }
    }

    #[test]
    fn who_only_frees_gets_one_batch_and_flushes_it_whole() {
        for class in SizeClass::all() {
            let mut capacity = Capacity::new(usize::MAX);
            for _ in 0..20 {
                let next = capacity.next_step(class, Shortage::Room);
                capacity.set(class, next);
            }
            let one_way = most_one_way(class.block_bytes());
            assert_eq!(capacity.of(class), one_way);
            capacity.next_step(class, Shortage::Room);
            assert_eq!(capacity.batch(class), one_way);
            capacity.next_step(class, Shortage::Blocks);
            assert_eq!(capacity.batch(class), one_way / 2, "{class:?} runs empty and full");
        }
    }

    #[test]
    fn granted_bytes_stay_within_the_limit_but_for_first_steps() {
        let limit = 100_000;
        let mut capacity = Capacity::new(limit);
        for class in SizeClass::all().cycle().take(10 * CLASSES) {
            let next = capacity.next_step(class, Shortage::Room);
            let was_new = capacity.of(class) == 0;
            if capacity.fits(class, next) {
                capacity.set(class, next);
                assert!(was_new || capacity.granted_bytes <= limit);
            }
        }
        let sum: usize = SizeClass::all().map(|c| capacity.of(c) * c.block_bytes()).sum();
        assert_eq!(sum, capacity.granted_bytes);
    }

    #[test]
    fn victims_keep_their_first_blocks_and_come_in_turn() {
        let mut capacity = Capacity::new(usize::MAX);
        for class in SizeClass::all() {
            capacity.set(class, 16);
        }
        let asked = SizeClass::of_size(64);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..CLASSES {
            for (victim, half) in capacity.victims(asked).into_iter().flatten() {
                assert_ne!(victim, asked);
                assert_eq!(half, 8);
                seen.insert(victim.index());
            }
        }
        assert_eq!(seen.len(), CLASSES - 2, "all classes but the null one and the asking one");
    }
}
