//! What does it cost when threads end and leave their blocks to others? (after Larson and Krishnan)
//!
//! Each lane has a set of blocks. A thread replaces random ones for a while and ends. The next
//! thread of the lane continues with the same set, so it frees blocks that ended threads allocated.

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

/// Lanes of threads that follow each other.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Larson {
    /// Lanes: threads that live at the same time
    #[arg(long, short = 't', default_value_t = 4, value_parser = bounds::threads())]
    threads: u32,
    /// Threads that follow each other in a lane
    #[arg(long, default_value_t = 100, value_parser = bounds::from_1())]
    generations: u32,
    /// Blocks that each thread replaces (two operations each)
    #[arg(long, default_value_t = 50_000, value_parser = bounds::repeats())]
    replacements: u64,
    /// Blocks of a lane
    #[arg(long, default_value_t = 5000, value_parser = bounds::from_1())]
    slots: u32,
    /// Sizes: small, medium, mixed, app, or MIN-MAX
    #[arg(long, default_value = "8-1024")]
    sizes: Sizes,
    /// Seed of the random numbers
    #[arg(long, default_value_t = Random::SEED)]
    seed: u32,
}

impl Work for Larson {
    const TIGHT: bool = true;

    fn pass<H: Heap>(&self) -> Result<Totals> {
        let &Self { threads: count, generations, slots, seed, .. } = self;
        let lanes = Lanes { count, generations, slots, seed };
        let (totals, _) = lanes.run(|heap: &mut H, slots, random| {
            slots.turns(heap, random, (self.sizes, Turn::Replace), self.replacements)
        })?;
        Ok(totals)
    }

    fn need(&self) -> Need {
        let turns = self.replacements.saturating_mul(self.generations.into());
        let lane = bounds::slots(self.slots, turns, self.sizes);
        Need { threads: u128::from(self.threads) * 2, bytes: u128::from(self.threads) * lane }
    }

    fn shorter(&self) -> Self {
        Self { replacements: (self.replacements / 10).max(1), ..self.clone() }
    }
}
