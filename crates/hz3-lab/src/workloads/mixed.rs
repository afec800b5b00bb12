//! What does a malloc or free cost when sizes and lifetimes are random? (the benchmark loop of the
//! C hz3)

use super::Work;
use super::support::bounds::{self, Need};
use super::support::heap::Heap;
use super::support::random::Random;
use super::support::sizes::Sizes;
use super::support::slots::{Slots, Turn};
use super::support::threads::{self, Share, Totals};
use crate::failure::Result;
use clap::Args;
use serde::Serialize;

/// The loop over random sizes of one range.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Mixed {
    /// Sizes: small (16-2048), medium (4096-32768), mixed (16-32768), app, or MIN-MAX
    #[arg(long, default_value = "small")]
    sizes: Sizes,
    #[command(flatten)]
    #[serde(flatten)]
    turns: Turns,
}

/// The loop over an application's sizes.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Dist {
    #[command(flatten)]
    #[serde(flatten)]
    turns: Turns,
}

#[derive(Debug, Clone, Args, Serialize)]
struct Turns {
    /// Working set: slots a thread
    #[arg(long, default_value_t = 400, value_parser = bounds::from_1())]
    slots: u32,
    /// Turns of each thread
    #[arg(long, default_value_t = 20_000_000, value_parser = bounds::repeats())]
    ops: u64,
    /// Threads
    #[arg(long, short = 't', default_value_t = 1, value_parser = bounds::threads())]
    threads: u32,
    /// The turn that is done to the drawn slot
    #[arg(long, value_enum, default_value_t = Turn::Toggle)]
    turn: Turn,
    /// Seed of the random numbers
    #[arg(long, default_value_t = Random::SEED)]
    seed: u32,
}

impl Turns {
    fn run<H: Heap>(&self, sizes: Sizes) -> Result<Totals> {
        let slots = Slots::of_threads(self.threads, self.slots)?;
        let (totals, _) = threads::run(slots, |index, heap: &mut H, mut slots, _| {
            let mut random = Random::for_thread(self.seed, index);
            let turns = slots.turns(heap, &mut random, (sizes, self.turn), self.ops)?;
            Ok(Share { operations: turns + slots.clear(heap)?, ..Share::default() })
        })?;
        Ok(totals)
    }

    fn need(&self, sizes: Sizes) -> Need {
        let lane = bounds::slots(self.slots, self.ops, sizes);
        Need { threads: self.threads.into(), bytes: u128::from(self.threads) * lane }
    }

    fn shorter(&self) -> Self {
        Self { ops: (self.ops / 10).max(1), ..self.clone() }
    }
}

impl Work for Mixed {
    const TIGHT: bool = true;

    fn pass<H: Heap>(&self) -> Result<Totals> {
        self.turns.run::<H>(self.sizes)
    }

    fn need(&self) -> Need {
        self.turns.need(self.sizes)
    }

    fn shorter(&self) -> Self {
        Self { turns: self.turns.shorter(), ..self.clone() }
    }
}

impl Work for Dist {
    const TIGHT: bool = true;

    fn pass<H: Heap>(&self) -> Result<Totals> {
        self.turns.run::<H>(Sizes::Application)
    }

    fn need(&self) -> Need {
        self.turns.need(Sizes::Application)
    }

    fn shorter(&self) -> Self {
        Self { turns: self.turns.shorter() }
    }
}
