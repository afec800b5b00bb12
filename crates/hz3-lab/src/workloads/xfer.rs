//! What does it cost when one half of the threads only allocates and the other half only frees?

use super::Work;
use super::support::barrier::AbortableBarrier;
use super::support::block::Fault;
use super::support::bounds::{self, Need};
use super::support::heap::Heap;
use super::support::random::Random;
use super::support::ring::{Putter, Ring, Taker};
use super::support::sizes::Sizes;
use super::support::threads::{self, Share, Totals};
use crate::failure::Result;
use clap::Args;
use serde::Serialize;

/// Pairs of threads with a ring between them.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Xfer {
    /// Pairs of threads
    #[arg(long, default_value_t = 2, value_parser = bounds::pairs())]
    pairs: u32,
    /// Blocks that each pair passes
    #[arg(long, default_value_t = 4_000_000, value_parser = bounds::repeats())]
    blocks: u64,
    /// Sizes: small, medium, mixed, app, or MIN-MAX
    #[arg(long, default_value = "small")]
    sizes: Sizes,
    /// Blocks that a ring holds
    #[arg(long, default_value_t = 4096, value_parser = bounds::from_1())]
    ring: u32,
    /// Seed of the random numbers
    #[arg(long, default_value_t = Random::SEED)]
    seed: u32,
}

enum Lane<'a> {
    Allocates(Putter<'a>),
    Frees(Taker<'a>),
}

impl Xfer {
    fn allocate<H: Heap>(
        &self,
        heap: &mut H,
        mut onward: Putter<'_>,
        mut random: Random,
        barrier: &AbortableBarrier,
    ) -> Result<u64, Fault> {
        for done in 0..self.blocks {
            let block = heap.allocate(self.sizes.draw(&mut random))?;
            if let Err(block) = onward.wait_and_put(block, barrier) {
                heap.release(block)?;
                return Ok(done);
            }
        }
        Ok(self.blocks)
    }

    fn free<H: Heap>(
        &self,
        heap: &mut H,
        mut incoming: Taker<'_>,
        barrier: &AbortableBarrier,
    ) -> Result<u64, Fault> {
        for _ in 0..self.blocks {
            heap.release(incoming.wait_and_take(barrier)?)?;
        }
        Ok(self.blocks)
    }
}

impl Work for Xfer {
    const TIGHT: bool = true;

    fn pass<H: Heap>(&self) -> Result<Totals> {
        let rings = (0..self.pairs).map(|_| Ring::new(self.ring as usize));
        let mut rings = rings.collect::<Result<Vec<_>>>()?;
        let lanes = rings.iter_mut().flat_map(|ring| {
            let (putter, taker) = ring.ends();
            [Lane::Allocates(putter), Lane::Frees(taker)]
        });
        let (totals, _) = threads::run(lanes.collect(), |index, heap: &mut H, lane, barrier| {
            let operations = match lane {
                Lane::Allocates(onward) => {
                    let random = Random::for_thread(self.seed, index);
                    self.allocate(heap, onward, random, barrier)?
                }
                Lane::Frees(incoming) => self.free(heap, incoming, barrier)?,
            };
            Ok(Share { operations, ..Share::default() })
        })?;
        Ok(totals)
    }

    fn need(&self) -> Need {
        let pairs = u128::from(self.pairs);
        Need { threads: 2 * pairs, bytes: pairs * bounds::ring(self.ring) }
    }

    fn shorter(&self) -> Self {
        Self { blocks: (self.blocks / 10).max(1), ..self.clone() }
    }
}
