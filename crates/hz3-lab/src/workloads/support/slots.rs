//! A working set: slots that are empty or hold a block.

use super::block::{Block, Fault};
use super::heap::Heap;
use super::mapped::Mapped;
use super::random::Random;
use super::sizes::Sizes;
use crate::failure;

/// The operation on the drawn slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Turn {
    /// Free it if it is taken, fill it if it is empty; each is one operation
    Toggle,
    /// Free its block, if any, and allocate a new one; each is one operation
    Replace,
}

/// The slots of one thread.
#[derive(Debug)]
pub(crate) struct Slots {
    slots: Mapped<Option<Block>>,
    len: u32,
}

impl Slots {
    /// Maps the slots of several threads.
    pub(crate) fn of_threads(threads: u32, len: u32) -> failure::Result<Vec<Self>> {
        (0..threads).map(|_| Self::new(len)).collect()
    }

    /// Maps `len` empty slots.
    fn new(len: u32) -> failure::Result<Self> {
        Ok(Self { slots: Mapped::new(len as usize, || None)?, len })
    }

    /// Does so many turns. Returns the number of operations.
    #[inline]
    pub(crate) fn turns<H: Heap>(
        &mut self,
        heap: &mut H,
        random: &mut Random,
        (sizes, turn): (Sizes, Turn),
        count: u64,
    ) -> Result<u64, Fault> {
        let mut operations = 0;
        for _ in 0..count {
            operations += self.turn(heap, random, sizes, turn)?;
        }
        Ok(operations)
    }

    /// Draws a slot, and a size if needed, and does the turn. Returns the number of operations.
    #[inline]
    fn turn<H: Heap>(
        &mut self,
        heap: &mut H,
        random: &mut Random,
        sizes: Sizes,
        turn: Turn,
    ) -> Result<u64, Fault> {
        let slot = &mut self.slots[random.below(self.len) as usize];
        match (slot.take(), turn) {
            (Some(block), Turn::Toggle) => {
                heap.release(block)?;
                Ok(1)
            }
            (Some(block), Turn::Replace) => {
                heap.release(block)?;
                *slot = Some(heap.allocate(sizes.draw(random))?);
                Ok(2)
            }
            (None, _) => {
                *slot = Some(heap.allocate(sizes.draw(random))?);
                Ok(1)
            }
        }
    }

    /// Frees all blocks. Returns the number of operations.
    pub(crate) fn clear<H: Heap>(&mut self, heap: &mut H) -> Result<u64, Fault> {
        let mut operations = 0;
        for slot in self.slots.iter_mut() {
            if let Some(block) = slot.take() {
                heap.release(block)?;
                operations += 1;
            }
        }
        Ok(operations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::support::heap::Plain;

    #[test]
    fn operations_are_counted_and_everything_comes_back() {
        for turn in [Turn::Toggle, Turn::Replace] {
            let mut slots = Slots::new(10).unwrap();
            let mut random = Random::for_thread(3, 0);
            let sizes = Sizes::Uniform { min: 16, max: 64 };
            let operations = slots.turns(&mut Plain, &mut random, (sizes, turn), 1001).unwrap();
            let left = slots.slots.iter().filter(|slot| slot.is_some()).count() as u64;
            assert_eq!(slots.clear(&mut Plain), Ok(left));
            // Every block was allocated once and freed once.
            assert!((operations + left).is_multiple_of(2), "{turn:?}");
            assert_eq!(slots.clear(&mut Plain), Ok(0));
        }
    }
}
