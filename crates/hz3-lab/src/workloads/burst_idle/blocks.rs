//! The blocks of all threads between burst and free, including the choice of survivors.

use crate::failure::Result;
use crate::workloads::support::block::{Block, Fault};
use crate::workloads::support::floor;
use crate::workloads::support::heap::Heap;
use crate::workloads::support::mapped::Mapped;
use crate::workloads::support::random::Random;
use crate::workloads::support::sizes::Sizes;
use std::sync::{Mutex, MutexGuard, PoisonError};

type Slots = Mapped<Option<Block>>;

/// The blocks of a burst and those that survive it.
pub(super) struct BlockPlan {
    /// Blocks of all threads.
    pub(super) total: u32,
    pub(super) threads: u32,
    pub(super) sizes: Sizes,
    /// The percentage that survives the burst.
    pub(super) keep: u32,
    /// Whether the survivors stay through the idle time.
    pub(super) keep_hold: bool,
}

/// The slots of each thread, behind a lock because a neighbour may empty them. The lock is never
/// contended.
pub(super) struct BurstBlocks {
    each: Vec<Mutex<Slots>>,
    sizes: Sizes,
    keep: u32,
    keep_hold: bool,
}

impl BurstBlocks {
    /// Maps empty slots. The total is split over the threads; the first threads take the remainder.
    pub(super) fn new(plan: &BlockPlan) -> Result<Self> {
        let BlockPlan { total, threads, sizes, keep, keep_hold } = *plan;
        let (share, rest) = (total / threads, total % threads);
        let blocks = (0..threads).map(|i| {
            let len = share + u32::from(i < rest);
            Mapped::new(len as usize, || None).map(Mutex::new)
        });
        Ok(Self { each: blocks.collect::<Result<_>>()?, sizes, keep, keep_hold })
    }

    /// Returns the least memory that the survivors can occupy, in KiB.
    pub(super) fn floor_kb(&self) -> Result<u64> {
        let blocks: Vec<_> = (0..self.each.len()).map(|index| self.lock(index)).collect();
        floor::floor_kb(blocks.iter().flat_map(|slots| slots.iter().flatten().map(Block::extent)))
    }

    /// Returns the bytes that the slots themselves occupy.
    pub(super) fn bytes(&self) -> u64 {
        let count: usize = (0..self.each.len()).map(|i| self.lock(i).len()).sum();
        (count * size_of::<Option<Block>>()) as u64
    }

    /// Allocates the share of thread `index` and writes every byte of it. Returns the operations.
    pub(super) fn fill<H: Heap>(
        &self,
        heap: &mut H,
        index: usize,
        mut random: Random,
    ) -> Result<u64, Fault> {
        let mut slots = self.lock(index);
        for place in slots.iter_mut() {
            let mut block = heap.allocate(self.sizes.draw(&mut random))?;
            block.fill();
            *place = Some(block);
        }
        Ok(slots.len() as u64)
    }

    /// Frees all blocks of thread `index` but the survivors, and then the survivors too, unless
    /// they are to stay through the idle time.
    pub(super) fn thin_out<H: Heap>(
        &self,
        heap: &mut H,
        index: usize,
        mut random: Random,
    ) -> Result<u64, Fault> {
        let mut operations = 0;
        let mut slots = self.lock(index);
        for place in slots.iter_mut().filter(|_| random.below(100) >= self.keep) {
            if let Some(block) = place.take() {
                heap.release(block)?;
                operations += 1;
            }
        }
        if !self.keep_hold {
            operations += drain(heap, &mut slots)?;
        }
        Ok(operations)
    }

    /// Checks every byte of the survivors of thread `index` and frees them.
    pub(super) fn check_and_free<H: Heap>(&self, heap: &mut H, index: usize) -> Result<u64, Fault> {
        drain(heap, &mut self.lock(index))
    }

    /// Checks and frees the survivors of all threads.
    pub(super) fn check_and_free_all<H: Heap>(&self, heap: &mut H) -> Result<u64, Fault> {
        (0..self.each.len()).map(|index| self.check_and_free(heap, index)).sum()
    }

    fn lock(&self, index: usize) -> MutexGuard<'_, Slots> {
        // A panic ends the program, so no later caller sees a poisoned lock.
        self.each[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn drain<H: Heap>(heap: &mut H, slots: &mut Slots) -> Result<u64, Fault> {
    let mut operations = 0;
    for block in slots.iter_mut().filter_map(Option::take) {
        block.check_all()?;
        heap.release(block)?;
        operations += 1;
    }
    Ok(operations)
}
