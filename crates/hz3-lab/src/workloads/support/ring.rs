//! A bounded queue of blocks from one producing to one consuming thread.

use super::barrier::AbortableBarrier;
use super::block::{Block, Fault};
use super::mapped::Mapped;
use crate::failure;
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Keeps the two ends in cache lines of their own (two each, because processors fetch pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lonely(AtomicUsize);

/// A bounded queue. Counters only grow; their difference is the number of blocks inside.
#[derive(Debug)]
pub(crate) struct Ring {
    cells: Mapped<UnsafeCell<Option<Block>>>,
    mask: usize,
    put: Lonely,
    taken: Lonely,
}

// SAFETY: the putter writes a cell only before it publishes `put`, and the taker takes it only
// after it has seen that. `Putter` and `Taker` are the only ways in, and neither can be copied.
unsafe impl Sync for Ring {}

/// The producing end.
#[derive(Debug)]
pub(crate) struct Putter<'a>(&'a Ring);

/// The consuming end.
#[derive(Debug)]
pub(crate) struct Taker<'a>(&'a Ring);

impl Ring {
    /// Allocates a queue for at least `capacity` blocks.
    pub(crate) fn new(capacity: usize) -> failure::Result<Self> {
        let capacity = capacity.max(1).next_power_of_two();
        let cells = Mapped::new(capacity, || UnsafeCell::new(None))?;
        Ok(Self { cells, mask: capacity - 1, put: Lonely::default(), taken: Lonely::default() })
    }

    /// Returns the two ends.
    pub(crate) fn ends(&mut self) -> (Putter<'_>, Taker<'_>) {
        (Putter(self), Taker(self))
    }
}

impl Putter<'_> {
    /// Puts `block`, or returns it if the queue is full.
    #[inline]
    pub(crate) fn put(&mut self, block: Block) -> Result<(), Block> {
        let ring = self.0;
        let put = ring.put.0.load(Ordering::Relaxed);
        // Acquire pairs with the release in `take`: the taker is done with the cell.
        if put.wrapping_sub(ring.taken.0.load(Ordering::Acquire)) > ring.mask {
            return Err(block);
        }
        let cell = ring.cells[put & ring.mask].get();
        // SAFETY: the cell is outside taken..put, so only the putter, which is us, touches it.
        unsafe { cell.write(Some(block)) };
        // Release pairs with the acquire in `take`: the cell's contents come first.
        ring.put.0.store(put.wrapping_add(1), Ordering::Release);
        Ok(())
    }

    /// Puts a block as soon as there is room. Hands it back if the workload is aborted first.
    #[inline]
    pub(crate) fn wait_and_put(
        &mut self,
        mut block: Block,
        barrier: &AbortableBarrier,
    ) -> Result<(), Block> {
        while let Err(back) = self.put(block) {
            if barrier.is_aborted() {
                return Err(back);
            }
            block = back;
            std::thread::yield_now();
        }
        Ok(())
    }
}

impl Taker<'_> {
    /// Takes the oldest block.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Block> {
        let ring = self.0;
        let taken = ring.taken.0.load(Ordering::Relaxed);
        // Acquire pairs with the release in `put`.
        if taken == ring.put.0.load(Ordering::Acquire) {
            return None;
        }
        let cell = ring.cells[taken & ring.mask].get();
        // SAFETY: the cell is inside taken..put, so only the taker, which is us, touches it.
        let block = unsafe { cell.replace(None) };
        // Release pairs with the acquire in `put`.
        ring.taken.0.store(taken.wrapping_add(1), Ordering::Release);
        block
    }

    /// Takes the oldest block as soon as there is one. Fails if the workload is aborted first.
    #[inline]
    pub(crate) fn wait_and_take(&mut self, barrier: &AbortableBarrier) -> Result<Block, Fault> {
        loop {
            match self.take() {
                Some(block) => return Ok(block),
                None if barrier.is_aborted() => return Err(Fault::Abandoned),
                None => std::thread::yield_now(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::support::heap::{Heap, Plain};

    #[test]
    fn a_full_ring_hands_back_and_order_is_kept() {
        let mut ring = Ring::new(3).unwrap();
        let (mut putter, mut taker) = ring.ends();
        for size in 16..20 {
            putter.put(Plain.allocate(size).unwrap()).unwrap();
        }
        let refused = putter.put(Plain.allocate(99).unwrap()).unwrap_err();
        assert_eq!(refused.size(), 99);
        Plain.release(refused).unwrap();
        for size in 16..20 {
            let block = taker.take().unwrap();
            assert_eq!(block.size(), size);
            Plain.release(block).unwrap();
        }
        assert!(taker.take().is_none());
    }

    #[test]
    fn nothing_is_lost_between_two_threads() {
        let mut ring = Ring::new(8).unwrap();
        let (mut putter, mut taker) = ring.ends();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for size in 16..5016 {
                    let mut block = Plain.allocate(size).unwrap();
                    while let Err(back) = putter.put(block) {
                        block = back;
                        std::thread::yield_now();
                    }
                }
            });
            for size in 16..5016 {
                let block = loop {
                    match taker.take() {
                        Some(block) => break block,
                        None => std::thread::yield_now(),
                    }
                };
                assert_eq!(block.size(), size);
                Plain.release(block).unwrap();
            }
        });
    }
}
