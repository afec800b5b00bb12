//! The blocks of all threads between burst and free, and the choice of the survivors.

use super::BurstIdle;
use crate::failure::Result;
use crate::workloads::support::block::{Block, Fault};
use crate::workloads::support::floor;
use crate::workloads::support::heap::Heap;
use crate::workloads::support::mapped::Mapped;
use crate::workloads::support::random::Random;
use crate::workloads::support::sizes::Sizes;
use std::sync::{Mutex, MutexGuard, PoisonError};

type Stash = Mapped<Option<Block>>;

/// One stash a thread. A lock each, as a neighbour may empty it; it is never contended.
pub(super) struct Stashes {
    each: Vec<Mutex<Stash>>,
    sizes: Sizes,
    keep: u32,
    keep_hold: bool,
}

impl Stashes {
    /// Empty stashes; the total is split over the threads, the first ones take what does not divide.
    pub(super) fn new(bench: &BurstIdle) -> Result<Self> {
        let (share, rest) = (bench.total / bench.threads, bench.total % bench.threads);
        let stashes = (0..bench.threads).map(|i| {
            let len = share + u32::from(i < rest);
            Mapped::new(len as usize, || None).map(Mutex::new)
        });
        Ok(Self {
            each: stashes.collect::<Result<_>>()?,
            sizes: bench.sizes,
            keep: bench.keep,
            keep_hold: bench.keep_hold,
        })
    }

    /// The least that the survivors can occupy, in KiB.
    pub(super) fn floor_kb(&self) -> Result<u64> {
        let stashes: Vec<_> = (0..self.each.len()).map(|index| self.lock(index)).collect();
        floor::floor_kb(stashes.iter().flat_map(|stash| stash.iter().flatten().map(Block::extent)))
    }

    /// The harness's own memory.
    pub(super) fn bytes(&self) -> u64 {
        let slots: usize = (0..self.each.len()).map(|i| self.lock(i).len()).sum();
        (slots * size_of::<Option<Block>>()) as u64
    }

    /// Allocates the share of thread `index` and writes every byte of it. Returns the operations.
    pub(super) fn fill<H: Heap>(
        &self,
        heap: &mut H,
        index: usize,
        mut random: Random,
    ) -> Result<u64, Fault> {
        let mut stash = self.lock(index);
        for place in stash.iter_mut() {
            let mut block = heap.allocate(self.sizes.draw(&mut random))?;
            block.fill();
            *place = Some(block);
        }
        Ok(stash.len() as u64)
    }

    /// Frees all but the survivors in the stash of thread `index`; and then those too, unless they are to
    /// be held through the idle time.
    pub(super) fn thin_out<H: Heap>(
        &self,
        heap: &mut H,
        index: usize,
        mut random: Random,
    ) -> Result<u64, Fault> {
        let mut operations = 0;
        let mut stash = self.lock(index);
        for place in stash.iter_mut().filter(|_| random.below(100) >= self.keep) {
            if let Some(block) = place.take() {
                heap.release(block)?;
                operations += 1;
            }
        }
        if !self.keep_hold {
            operations += empty(heap, &mut stash)?;
        }
        Ok(operations)
    }

    /// Checks every byte of what survived in the stash of thread `index` and frees it.
    pub(super) fn check_and_free<H: Heap>(&self, heap: &mut H, index: usize) -> Result<u64, Fault> {
        empty(heap, &mut self.lock(index))
    }

    /// The same for all stashes.
    pub(super) fn check_and_free_all<H: Heap>(&self, heap: &mut H) -> Result<u64, Fault> {
        (0..self.each.len()).map(|index| self.check_and_free(heap, index)).sum()
    }

    fn lock(&self, index: usize) -> MutexGuard<'_, Stash> {
        // A panic ends the program, so no lock is ever poisoned in it.
        self.each[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn empty<H: Heap>(heap: &mut H, stash: &mut Stash) -> Result<u64, Fault> {
    let mut operations = 0;
    for block in stash.iter_mut().filter_map(Option::take) {
        block.check_all()?;
        heap.release(block)?;
        operations += 1;
    }
    Ok(operations)
}
