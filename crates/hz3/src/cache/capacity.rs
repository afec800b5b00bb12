//! The capacity policy: how many blocks of each class a thread cache may hold.
//!
//! A class starts with a few blocks, or with the number that the user sets. Its capacity doubles
//! whenever the cache runs empty or full of it (slow start), up to the size of a good batch. Beyond
//! that, up to [`max_blocks`], it grows only after the cache ran both empty and full since the last
//! growth. A thread that only frees or only allocates gains nothing from a larger cache.
//!
//! A refill or flush moves half of the capacity, so that both a free and a malloc after it are
//! hits. A class that flows one way moves all of it. The capacities of all classes together, in
//! bytes, stay within the cache's limit. A class that must grow beyond it takes from the others in
//! turn.

use crate::base::size_class::{CLASSES, SizeClass};
use crate::base::units::to_u64;

/// The largest capacity of a class, in bytes, if that is at least [`LARGEST_CLASS_BLOCKS`] blocks.
const MAX_CLASS_BYTES: usize = 512 * 1024;
/// The largest capacity of the class of the longest blocks, in blocks.
const LARGEST_CLASS_BLOCKS: usize = 16;
/// As [`LARGEST_CLASS_BLOCKS`], while the cache runs only empty or only full of the class.
const LARGEST_CLASS_BLOCKS_ONE_WAY: usize = 8;
/// The largest capacity of any class, in blocks. A program that allocates and frees that many in
/// turn stays in its cache, at 42 instructions per pair. A block that goes through its slab costs
/// 50 to 130 more (blocks of 64 bytes, 1,600 and more in turn).
const MAX_BLOCKS: usize = 2048;
/// The initial capacity of a class, in bytes, within [`INITIAL_BLOCKS`].
const INITIAL_BYTES: usize = 2048;
/// Bounds of the initial capacity, in blocks. A capacity that the user sets may exceed the upper
/// one.
const INITIAL_BLOCKS: core::ops::RangeInclusive<usize> = 2..=8;
/// The largest capacity of a class that runs only empty or only full, in bytes: a good batch.
const MAX_BYTES_ONE_WAY: usize = 32 * 1024;
/// The capacity of such a class, in bytes, once it runs the other way too. A refill or flush then
/// moves only half of the capacity, so the same batch needs twice as much; the rest is growth.
const BYTES_ON_RETURN: usize = 4 * MAX_BYTES_ONE_WAY;
/// Other classes that may have to give up capacity before growth is refused.
const VICTIMS_TRIED: usize = 8;

/// Returns the largest capacity of a class, in blocks: a power of two.
pub(crate) const fn max_blocks(block_bytes: usize) -> usize {
    within_bounds(MAX_CLASS_BYTES / block_bytes, LARGEST_CLASS_BLOCKS)
}

/// Returns the largest capacity of a class that runs only empty or only full, in blocks.
const fn max_blocks_one_way(block_bytes: usize) -> usize {
    within_bounds(MAX_BYTES_ONE_WAY / block_bytes, LARGEST_CLASS_BLOCKS_ONE_WAY)
}

/// Returns the capacity of a class that flowed one way and now runs the other way too, in blocks.
const fn max_blocks_on_return(block_bytes: usize) -> usize {
    within_bounds(BYTES_ON_RETURN / block_bytes, LARGEST_CLASS_BLOCKS)
}

/// Rounds `fitting` down to a power of two from `fewest` to [`MAX_BLOCKS`].
const fn within_bounds(fitting: usize, fewest: usize) -> usize {
    if fitting >= MAX_BLOCKS {
        MAX_BLOCKS
    } else if fitting <= fewest {
        fewest
    } else {
        1 << fitting.ilog2()
    }
}

/// The reason why a class should grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// The cache ran empty of it.
    Blocks = 1,
    /// The cache ran full of it.
    Room = 2,
}

/// The capacities of one cache, protected by its lock.
#[derive(Debug)]
pub(crate) struct Capacity {
    limit_bytes: usize,
    /// Initial capacity of every class, in blocks, up to its [`max_blocks`]; `None`: by its size.
    initial_blocks: Option<usize>,
    granted_bytes: usize,
    blocks: [u16; CLASSES],
    /// The [`Shortage`]s of each class since its last growth, as bits.
    shortages: [u8; CLASSES],
    /// Index of the class that gives up capacity next.
    next_victim: usize,
}

impl Capacity {
    pub(crate) const fn new(limit_bytes: usize) -> Capacity {
        Capacity {
            limit_bytes,
            initial_blocks: None,
            granted_bytes: 0,
            blocks: [0; CLASSES],
            shortages: [0; CLASSES],
            next_victim: 1,
        }
    }

    /// Returns the initial capacity of a class, in blocks: a power of two.
    pub(crate) fn initial(&self, class: SizeClass) -> usize {
        let size = class.block_bytes();
        if let Some(blocks) = self.initial_blocks {
            return blocks.clamp(*INITIAL_BLOCKS.start(), max_blocks(size)).next_power_of_two();
        }
        let fitting = (INITIAL_BYTES / size).max(1);
        (1 << fitting.ilog2()).clamp(*INITIAL_BLOCKS.start(), *INITIAL_BLOCKS.end())
    }

    /// Returns the capacity of a class, in blocks.
    pub(crate) fn of(&self, class: SizeClass) -> usize {
        usize::from(self.blocks[class.index()])
    }

    /// Returns half of the capacity of a class, in blocks; at least 1.
    pub(crate) fn half(&self, class: SizeClass) -> usize {
        (self.of(class) / 2).max(1)
    }

    /// Returns how many blocks one refill or flush of a class moves.
    pub(crate) fn batch(&self, class: SizeClass) -> usize {
        if self.flows_one_way(class) { self.of(class) } else { self.half(class) }
    }

    /// Returns whether a class has the largest one-way capacity and since then ran only empty or
    /// only full.
    fn flows_one_way(&self, class: SizeClass) -> bool {
        let shortages = self.shortages[class.index()];
        shortages.is_power_of_two() && self.of(class) == max_blocks_one_way(class.block_bytes())
    }

    /// Records a shortage of a class. Returns the capacity that it should have next, in blocks.
    pub(crate) fn next_capacity(&mut self, class: SizeClass, shortage: Shortage) -> usize {
        let shortages = &mut self.shortages[class.index()];
        *shortages |= shortage as u8;
        let both = Shortage::Blocks as u8 | Shortage::Room as u8;
        let size = class.block_bytes();
        let (one_way, is_both) = (max_blocks_one_way(size), *shortages == both);
        match self.of(class) {
            0 => self.initial(class),
            now if is_both && now == one_way => max_blocks_on_return(size),
            now => (now * 2).min(if is_both { max_blocks(size) } else { one_way }).max(now),
        }
    }

    /// Returns whether `class` can have `blocks` blocks within the limit of the cache.
    pub(crate) fn fits(&self, class: SizeClass, blocks: usize) -> bool {
        let more = blocks.saturating_sub(self.of(class)) * class.block_bytes();
        // The initial capacity is always granted, because a class without room would never hit.
        self.of(class) == 0 || self.granted_bytes + more <= self.limit_bytes
    }

    /// Sets the capacity of a class, in blocks, and forgets its shortages.
    pub(crate) fn set(&mut self, class: SizeClass, blocks: usize) {
        self.shortages[class.index()] = 0;
        let size = class.block_bytes();
        self.granted_bytes = self.granted_bytes - self.of(class) * size + blocks * size;
        #[expect(clippy::cast_possible_truncation, reason = "blocks is at most MAX_BLOCKS")]
        let blocks = blocks as u16;
        self.blocks[class.index()] = blocks;
    }

    /// Returns the next classes that should give up half of their capacity so that `class` can
    /// grow, each with its new capacity in blocks.
    pub(crate) fn victims(
        &mut self,
        class: SizeClass,
    ) -> [Option<(SizeClass, usize)>; VICTIMS_TRIED] {
        let start = self.next_victim;
        self.next_victim = Self::successor(start, VICTIMS_TRIED);
        core::array::from_fn(|step| {
            let victim = SizeClass::from_index(Self::successor(start, step));
            let half = self.of(victim) / 2;
            (victim != class && half >= self.initial(victim)).then_some((victim, half))
        })
    }

    /// Returns the class `step` positions after `class`; class 1 follows the last one.
    fn successor(class: usize, step: usize) -> usize {
        (class - 1 + step) % (CLASSES - 1) + 1
    }

    /// Returns the sum of the capacities, in bytes.
    pub(crate) fn granted_bytes(&self) -> u64 {
        to_u64(self.granted_bytes)
    }

    /// Sets the initial capacity of every class, in blocks, up to its [`max_blocks`]; `None`: by
    /// size.
    pub(crate) fn set_initial(&mut self, blocks: Option<usize>) {
        self.initial_blocks = blocks;
    }

    /// Sets the limit of the sum of the capacities.
    pub(crate) fn set_limit(&mut self, limit_bytes: usize) {
        self.limit_bytes = limit_bytes;
    }
}

const _: () = assert!(MAX_BLOCKS <= u16::MAX as usize && MAX_BLOCKS.is_power_of_two());

#[cfg(test)]
mod tests {
    use super::{CLASSES, Capacity, Shortage, SizeClass, max_blocks, max_blocks_one_way};

    #[test]
    fn a_class_grows_to_its_maximum_in_at_most_12_steps() {
        for class in SizeClass::all() {
            let mut capacity = Capacity::new(usize::MAX);
            let mut steps = 0;
            loop {
                // Each growth beyond the one-way maximum needs both shortages again.
                capacity.next_capacity(class, Shortage::Blocks);
                let next = capacity.next_capacity(class, Shortage::Room);
                assert!(next.is_power_of_two() && next >= capacity.initial(class));
                if next == capacity.of(class) {
                    break;
                }
                capacity.set(class, next);
                steps += 1;
            }
            assert_eq!(capacity.of(class), max_blocks(class.block_bytes()));
            assert!(steps <= 12, "slow start of {class:?} takes {steps} steps");
        }
    }

    #[test]
    fn the_user_sets_the_initial_capacity_within_bounds() {
        for (said, wanted) in [(1, 2), (2, 2), (30, 32), (32, 32), (256, 256), (usize::MAX, 2048)] {
            let mut capacity = Capacity::new(0);
            capacity.set_initial(Some(said));
            for class in SizeClass::all() {
                let next = capacity.next_capacity(class, Shortage::Blocks);
                assert_eq!(
                    next,
                    wanted.min(max_blocks(class.block_bytes())),
                    "{said} of {class:?}"
                );
                capacity.set(class, next);
            }
        }
    }

    #[test]
    fn a_thread_that_only_frees_flushes_its_whole_capacity() {
        for class in SizeClass::all() {
            let mut capacity = Capacity::new(usize::MAX);
            for _ in 0..20 {
                let next = capacity.next_capacity(class, Shortage::Room);
                capacity.set(class, next);
            }
            let one_way = max_blocks_one_way(class.block_bytes());
            assert_eq!(capacity.of(class), one_way);
            capacity.next_capacity(class, Shortage::Room);
            assert_eq!(capacity.batch(class), one_way);
            capacity.next_capacity(class, Shortage::Blocks);
            assert_eq!(capacity.batch(class), one_way / 2, "{class:?} runs empty and full");
        }
    }

    #[test]
    fn granted_bytes_exceed_the_limit_only_by_initial_capacities() {
        let limit = 100_000;
        let mut capacity = Capacity::new(limit);
        for class in SizeClass::all().cycle().take(10 * CLASSES) {
            let next = capacity.next_capacity(class, Shortage::Room);
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
    fn every_other_class_is_a_victim_in_turn_and_gives_half() {
        let mut capacity = Capacity::new(usize::MAX);
        for class in SizeClass::all() {
            capacity.set(class, 16);
        }
        let asked = SizeClass::of_size(64);
        let mut asked_in_turn = std::collections::BTreeSet::new();
        for _ in 0..CLASSES {
            for (victim, half) in capacity.victims(asked).into_iter().flatten() {
                assert_ne!(victim, asked);
                assert_eq!(half, 8);
                asked_in_turn.insert(victim.index());
            }
        }
        assert_eq!(
            asked_in_turn.len(),
            CLASSES - 2,
            "all classes except the null class and the asking one"
        );
    }
}
