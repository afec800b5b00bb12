//! What does a short-lived thread cost that starts, makes a thousand operations, frees all and
//! exits?

use super::Work;
use super::support::bounds::{self, Need};
use super::support::heap::Heap;
use super::support::lanes::Lanes;
use super::support::random::Random;
use super::support::sizes::Sizes;
use super::support::slots::Turn;
use super::support::threads::Totals;
use crate::failure::Result;
use clap::Args;
use serde::Serialize;

/// Many short threads, a few at a time.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Churn {
    /// Threads that live at the same time
    #[arg(long, short = 't', default_value_t = 2, value_parser = bounds::threads())]
    threads: u32,
    /// Threads that follow each other
    #[arg(long, default_value_t = 2000, value_parser = bounds::from_1())]
    generations: u32,
    /// Operations in the life of a thread
    #[arg(long, default_value_t = 1000, value_parser = bounds::repeats())]
    ops: u64,
    /// Slots of a thread
    #[arg(long, default_value_t = 100, value_parser = bounds::from_1())]
    slots: u32,
    /// Sizes: small, medium, mixed, app, or MIN-MAX
    #[arg(long, default_value = "small")]
    sizes: Sizes,
    /// Seed of the random numbers
    #[arg(long, default_value_t = Random::SEED)]
    seed: u32,
}

impl Work for Churn {
    const TIGHT: bool = true;

    fn pass<H: Heap>(&self) -> Result<Totals> {
        let &Self { threads: count, generations, slots, seed, .. } = self;
        let lanes = Lanes { count, generations, slots, seed };
        let (mut totals, threads) = lanes.run(|heap: &mut H, slots, random| {
            let turns = slots.turns(heap, random, (self.sizes, Turn::Toggle), self.ops)?;
            Ok(turns + slots.clear(heap)?)
        })?;
        totals.note("threads_per_s", threads as f64 / totals.elapsed.as_secs_f64().max(1e-9));
        Ok(totals)
    }

    fn need(&self) -> Need {
        let lane = bounds::slots(self.slots, self.ops, self.sizes);
        Need { threads: u128::from(self.threads) * 2, bytes: u128::from(self.threads) * lane }
    }

    fn shorter(&self) -> Self {
        Self { generations: (self.generations / 10).max(1), ..self.clone() }
    }
}
