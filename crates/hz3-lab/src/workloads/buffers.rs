//! What do large buffers cost that one thread fills and another one frees?

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

/// Producers that fill buffers, consumers that check and free them.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Buffers {
    /// Pairs of one producer and one consumer
    #[arg(long, default_value_t = 2, value_parser = bounds::pairs())]
    pairs: u32,
    /// Buffers that each pair passes
    #[arg(long = "buffers", default_value_t = 2000, value_parser = bounds::repeats())]
    #[serde(rename = "buffers")]
    count: u64,
    /// Sizes as MIN-MAX in bytes [64 KiB to 4 MiB]
    #[arg(long, default_value = "65536-4194304")]
    sizes: Sizes,
    /// Buffers that wait between the two
    #[arg(long, default_value_t = 8, value_parser = bounds::from_1())]
    ring: u32,
    /// Start of the random numbers
    #[arg(long, default_value_t = Random::SEED)]
    seed: u32,
}

enum Lane<'a> {
    Produces(Putter<'a>),
    Consumes(Taker<'a>),
}

impl Buffers {
    fn produce<H: Heap>(
        &self,
        heap: &mut H,
        mut onward: Putter<'_>,
        mut random: Random,
        barrier: &AbortableBarrier,
    ) -> Result<(), Fault> {
        for _ in 0..self.count {
            let mut block = heap.allocate(self.sizes.draw(&mut random))?;
            block.stamp_pages(0);
            if let Err(block) = onward.wait_and_put(block, barrier) {
                return heap.release(block);
            }
        }
        Ok(())
    }

    /// Frees all buffers and returns the bytes received.
    fn consume<H: Heap>(
        &self,
        heap: &mut H,
        mut incoming: Taker<'_>,
        barrier: &AbortableBarrier,
    ) -> Result<u64, Fault> {
        let mut bytes = 0;
        for _ in 0..self.count {
            let block = incoming.wait_and_take(barrier)?;
            block.check_pages()?;
            bytes += block.size() as u64;
            heap.release(block)?;
        }
        Ok(bytes)
    }
}

impl Work for Buffers {
    const TIGHT: bool = false;

    fn pass<H: Heap>(&self) -> Result<Totals> {
        let rings = (0..self.pairs).map(|_| Ring::new(self.ring as usize));
        let mut rings = rings.collect::<Result<Vec<_>>>()?;
        let lanes = rings.iter_mut().flat_map(|ring| {
            let (putter, taker) = ring.ends();
            [Lane::Produces(putter), Lane::Consumes(taker)]
        });
        let (mut totals, bytes) =
            threads::run(lanes.collect(), |index, heap: &mut H, lane, barrier| {
                let mut share = Share { operations: self.count, ..Share::default() };
                match lane {
                    Lane::Produces(onward) => {
                        self.produce(heap, onward, Random::for_thread(self.seed, index), barrier)?;
                    }
                    Lane::Consumes(incoming) => {
                        share.special = self.consume(heap, incoming, barrier)?;
                    }
                }
                Ok(share)
            })?;
        totals.note(
            "gib_per_s",
            bytes as f64 / totals.elapsed.as_secs_f64().max(1e-9) / (1u64 << 30) as f64,
        );
        Ok(totals)
    }

    fn need(&self) -> Need {
        let pairs = u128::from(self.pairs);
        let bytes = pairs * (bounds::ring(self.ring) + self.sizes.mean());
        Need { threads: 2 * pairs, bytes }
    }

    fn shorter(&self) -> Self {
        Self { count: (self.count / 4).max(1), ..self.clone() }
    }
}
