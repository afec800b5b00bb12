//! What does it cost when most blocks are freed by another thread than the one that allocated them?
//!
//! Thread i passes blocks on through ring i; thread i+1 frees them at the start of each of its
//! turns. A full ring makes the free local. The share of local frees is reported, because only runs
//! below 0.1 % compare well.

use super::Work;
use super::support::barrier::AbortableBarrier;
use super::support::block::{Block, Fault};
use super::support::bounds::{self, Need};
use super::support::heap::Heap;
use super::support::mapped::Mapped;
use super::support::random::Random;
use super::support::ring::{Putter, Ring, Taker};
use super::support::sizes::Sizes;
use super::support::slots::Turn;
use super::support::threads::{self, Share, Totals};
use crate::failure::{Failure, Result};
use clap::Args;
use serde::Serialize;

/// The defaults are the named case of the C hz3: 16 threads, 90 %, 16-2048.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Remote {
    /// The arguments of the benchmark in C, in its order: THREADS OPS SLOTS MIN MAX PERCENT and
    /// optionally RING. They override the options
    #[arg(value_name = "NUMBER", num_args = 0..=7)]
    #[serde(skip)]
    positional: Vec<u32>,
    /// Threads
    #[arg(long, short = 't', default_value_t = 16, value_parser = bounds::threads())]
    threads: u32,
    /// Turns of each thread
    #[arg(long, default_value_t = 2_000_000, value_parser = bounds::from_1())]
    ops: u32,
    /// Working set: slots a thread
    #[arg(long, default_value_t = 400, value_parser = bounds::from_1())]
    slots: u32,
    /// Sizes: small, medium, mixed, app, or MIN-MAX
    #[arg(long, default_value = "small")]
    sizes: Sizes,
    /// Frees per hundred that another thread does
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(0..=100))]
    percent: u32,
    /// Blocks that a ring holds
    #[arg(long, default_value_t = 65_536, value_parser = bounds::from_1())]
    ring: u32,
    /// The turn that is done to the drawn slot
    #[arg(long, value_enum, default_value_t = Turn::Toggle)]
    turn: Turn,
    /// Seed of the random numbers
    #[arg(long, default_value_t = Random::SEED)]
    seed: u32,
}

/// The state of one thread.
struct Lane<'a> {
    slots: Mapped<Option<Block>>,
    onward: Putter<'a>,
    incoming: Taker<'a>,
}

/// Events that a thread counts for itself.
#[derive(Default)]
struct ThreadCounts {
    turns: u64,
    passed_on: u64,
    refused: u64,
}

impl Remote {
    /// Applies the positional arguments to the options.
    pub(super) fn settled(&self) -> Result<Self> {
        let mut settled = self.clone();
        match *self.positional.as_slice() {
            [] => return Ok(settled),
            [threads, ops, slots, min, max, percent, ref ring @ ..] if ring.len() <= 1 => {
                settled.threads = threads;
                settled.ops = ops;
                settled.slots = slots;
                settled.sizes = format!("{min}-{max}").parse().map_err(Failure::usage)?;
                settled.percent = percent;
                settled.ring = ring.first().copied().unwrap_or(self.ring);
            }
            _ => {
                return Err(Failure::usage(
                    "the positional form is THREADS OPS SLOTS MIN MAX PERCENT [RING]",
                ));
            }
        }
        let least = [settled.threads, settled.ops, settled.slots, settled.ring];
        if least.contains(&0) || settled.percent > 100 {
            return Err(Failure::usage(
                "THREADS, OPS, SLOTS and RING are at least 1, PERCENT is at most 100",
            ));
        }
        Ok(settled)
    }

    fn turns<H: Heap>(
        &self,
        heap: &mut H,
        lane: &mut Lane<'_>,
        random: &mut Random,
        barrier: &AbortableBarrier,
    ) -> Result<ThreadCounts, Fault> {
        let mut counts = ThreadCounts::default();
        for _ in 0..self.ops {
            while let Some(block) = lane.incoming.take() {
                heap.release(block)?;
            }
            let slot = &mut lane.slots[random.below(self.slots) as usize];
            let was_taken = match slot.take() {
                None => false,
                Some(block) if random.below(100) < self.percent => {
                    match lane.onward.put(block) {
                        Ok(()) => counts.passed_on += 1,
                        Err(block) => {
                            counts.refused += 1;
                            heap.release(block)?;
                        }
                    }
                    true
                }
                Some(block) => {
                    heap.release(block)?;
                    true
                }
            };
            if !was_taken || self.turn == Turn::Replace {
                *slot = Some(heap.allocate(self.sizes.draw(random))?);
            }
            counts.turns += 1;
            if counts.turns.is_multiple_of(4096) && barrier.is_aborted() {
                break;
            }
        }
        Ok(counts)
    }
}

impl Work for Remote {
    const TIGHT: bool = true;

    fn pass<H: Heap>(&self) -> Result<Totals> {
        let rings = (0..self.threads).map(|_| Ring::new(self.ring as usize));
        let mut rings = rings.collect::<Result<Vec<_>>>()?;
        let (putters, mut takers): (Vec<_>, Vec<_>) = rings.iter_mut().map(Ring::ends).unzip();
        // Thread i takes from ring i-1. A single thread takes from its own ring.
        takers.rotate_right(1);
        let lanes = putters.into_iter().zip(takers).map(|(onward, incoming)| {
            Ok(Lane { slots: Mapped::new(self.slots as usize, || None)?, onward, incoming })
        });
        let lanes = lanes.collect::<Result<Vec<_>>>()?;
        let refused = std::sync::atomic::AtomicU64::new(0);
        let (mut totals, passed_on) =
            threads::run(lanes, |index, heap: &mut H, mut lane, barrier| {
                let mut random = Random::for_thread(self.seed, index);
                let done = self.turns(heap, &mut lane, &mut random, barrier);
                if done.is_err() {
                    barrier.abort();
                }
                barrier.wait();
                let counts = done?;
                while let Some(block) = lane.incoming.take() {
                    heap.release(block)?;
                }
                for slot in lane.slots.iter_mut() {
                    slot.take().map_or(Ok(()), |block| heap.release(block))?;
                }
                refused.fetch_add(counts.refused, std::sync::atomic::Ordering::Relaxed);
                Ok(Share { operations: counts.turns, special: counts.passed_on, end: None })
            })?;
        let refused = refused.into_inner();
        let wanted = (passed_on + refused).max(1) as f64;
        totals.note("passed_on", passed_on);
        totals.note("fallback_percent", refused as f64 / wanted * 100.0);
        Ok(totals)
    }

    fn need(&self) -> Need {
        let lane = bounds::slots(self.slots, self.ops.into(), self.sizes) + bounds::ring(self.ring);
        Need { threads: self.threads.into(), bytes: u128::from(self.threads) * lane }
    }

    fn shorter(&self) -> Self {
        Self { ops: (self.ops / 10).max(1), ..self.clone() }
    }
}
