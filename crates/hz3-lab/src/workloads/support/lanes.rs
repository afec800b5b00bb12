//! Lanes of short threads: those of a lane follow one another and use the same slots.

use super::block::Fault;
use super::heap::Heap;
use super::random::Random;
use super::short_thread;
use super::slots::Slots;
use super::threads::{self, Share, Totals};
use crate::failure::Result;

/// The lanes of a workload.
pub(crate) struct Lanes {
    /// Threads that live at the same time.
    pub(crate) count: u32,
    /// Threads that follow one another in a lane.
    pub(crate) generations: u32,
    /// Slots of a lane.
    pub(crate) slots: u32,
    /// Seed of the random numbers.
    pub(crate) seed: u32,
}

impl Lanes {
    /// Runs `life` in each thread; it returns the number of its operations. The last thread of a
    /// lane leaves its blocks to the lane, which frees them. Returns the totals, with the number of
    /// threads as a named figure and once more beside them.
    pub(crate) fn run<H: Heap>(
        &self,
        life: impl Fn(&mut H, &mut Slots, &mut Random) -> Result<u64, Fault> + Sync,
    ) -> Result<(Totals, u64)> {
        let lanes = Slots::of_threads(self.count, self.slots)?;
        let (mut totals, threads) = threads::run(lanes, |index, heap: &mut H, mut slots, _| {
            let mut random = Random::for_thread(self.seed, index);
            let mut operations = 0;
            for _ in 0..self.generations {
                operations += short_thread::run(|| life(heap, &mut slots, &mut random))??;
            }
            operations += slots.clear(heap)?;
            Ok(Share { operations, special: self.generations.into(), end: None })
        })?;
        totals.note("threads_created", threads);
        Ok((totals, threads))
    }
}
