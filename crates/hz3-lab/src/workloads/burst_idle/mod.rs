//! Does the resident set fall when a program has freed a burst and idles? (S59-2)
//!
//! In every cycle the threads allocate their shares of the total and write every byte, then free
//! all but the survivors; then the process idles. A watcher outside (`hz3 watch`) measures the
//! memory; the resident sets reported here are for orientation.

mod blocks;
mod dump;
mod idle;

use super::Work;
use super::outside;
use super::support::barrier::AbortableBarrier;
use super::support::block::Fault;
use super::support::bounds::{self, Need};
use super::support::heap::Heap;
use super::support::phases::Phases;
use super::support::random::Random;
use super::support::sizes::Sizes;
use super::support::threads::{self, Share, Totals, check_failure};
use crate::failure::{Failure, Result};
use blocks::{BlockPlan, BurstBlocks};
use clap::Args;
use dump::{Dump, DumpLevel};
use idle::{Idle, Window};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The parameters and their defaults are those of the C hz3's `bench_burst_idle_v2`.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct BurstIdle {
    /// The arguments of the benchmark in C, in its order: `TOTAL IDLE_S CYCLES KEEP% THREADS MIN
    /// MAX KEEP_HOLD IDLE_TICK_MS DUMP_MODE`. They override the options
    #[arg(value_name = "NUMBER", num_args = 0..=10)]
    #[serde(skip)]
    positional: Vec<u32>,
    /// Blocks of a burst, over all threads
    #[arg(long, default_value_t = 200_000, value_parser = bounds::from_1())]
    total: u32,
    /// Idle seconds after each burst
    #[arg(long, default_value_t = 10.0, value_parser = bounds::idle)]
    idle: f64,
    /// Bursts
    #[arg(long, default_value_t = 3, value_parser = bounds::cycles())]
    cycles: u32,
    /// Survivors per hundred blocks
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    keep: u32,
    /// Threads
    #[arg(long, short = 't', default_value_t = 4, value_parser = bounds::threads())]
    threads: u32,
    /// Smallest and largest size as MIN-MAX
    #[arg(long, default_value = "256-4096")]
    sizes: Sizes,
    /// Keep the survivors through the idle time; otherwise they are freed just before it
    #[arg(long)]
    keep_hold: bool,
    /// Call `hz3_epoch_force` at this interval while idle, if the allocator has it; 0 for never
    #[arg(long, value_name = "MS", default_value_t = 0)]
    idle_tick: u32,
    /// The part of the memory map to dump at start, middle and end of the idle time
    #[arg(long, value_enum, default_value_t = DumpLevel::Off)]
    dump: DumpLevel,
    /// The file for the dumps [default: standard error]
    #[arg(long, value_name = "FILE", env = "S59_2_DUMP_PATH")]
    dump_path: Option<PathBuf>,
    /// The state of the threads after their burst
    #[arg(long, value_enum, default_value_t = Shape::Exit)]
    shape: Shape,
    /// Seed of the random numbers
    #[arg(long, default_value_t = Random::SEED)]
    seed: u32,
}

/// The thread that frees, and the state of the threads afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Shape {
    /// Every thread frees its own blocks and exits; every cycle has new threads
    Exit,
    /// Every thread frees its own blocks and stays, blocked, until the end
    Stay,
    /// Every thread frees the blocks of its neighbour and stays, blocked, until the end
    Remote,
}

/// The figures of one cycle.
#[derive(Debug, Serialize)]
struct Cycle {
    burst_s: f64,
    free_s: f64,
    #[serde(flatten)]
    idle: Window,
}

/// The figures that the conducting thread collects over the cycles.
struct Log {
    cycles: Vec<Cycle>,
    phases: Phases,
    idle: Idle,
    /// Pages of the last cycle's survivors in KiB; `None` if they could not be counted.
    floor_kb: Option<u64>,
}

impl BurstIdle {
    /// Applies the positional arguments to the options.
    pub(super) fn settled(&self) -> Result<Self> {
        let mut settled = self.clone();
        let given = |i: usize| self.positional.get(i).copied();
        settled.total = given(0).unwrap_or(self.total);
        settled.idle = given(1).map_or(self.idle, f64::from);
        settled.cycles = given(2).unwrap_or(self.cycles);
        settled.keep = given(3).unwrap_or(self.keep);
        settled.threads = given(4).unwrap_or(self.threads);
        match (given(5), given(6)) {
            (Some(min), Some(max)) => {
                settled.sizes = format!("{min}-{max}").parse().map_err(Failure::usage)?;
            }
            (Some(_), None) => return Err(Failure::usage("MIN is given without MAX")),
            _ => {}
        }
        settled.keep_hold = given(7).map_or(self.keep_hold, |hold| hold != 0);
        settled.idle_tick = given(8).unwrap_or(self.idle_tick);
        settled.dump = given(9).map_or(Ok(self.dump), DumpLevel::from_number)?;
        if [settled.total, settled.threads].contains(&0) || settled.keep > 100 {
            return Err(Failure::usage("TOTAL and THREADS are at least 1, KEEP% is at most 100"));
        }
        if !(1..=bounds::CYCLES).contains(&settled.cycles) {
            return Err(Failure::usage(format!("CYCLES is from 1 to {}", bounds::CYCLES)));
        }
        Ok(settled)
    }

    fn log(&self) -> Result<Log> {
        let dump = Dump::open(self.dump, self.dump_path.as_deref())?;
        let cycles = self.cycles as usize;
        Ok(Log {
            cycles: Vec::with_capacity(cycles),
            phases: Phases::new(3 * cycles),
            idle: Idle::new(self.idle, self.idle_tick, dump),
            floor_kb: None,
        })
    }

    /// Runs with new threads every cycle; the main thread conducts.
    fn with_passing_threads<H: Heap>(&self, blocks: &BurstBlocks, log: &mut Log) -> Result<Totals> {
        let mut all = Totals::default();
        for cycle in 0..self.cycles {
            let times = Mutex::new((0.0, 0.0));
            let lanes = vec![(); self.threads as usize];
            let phases = Mutex::new(&mut log.phases);
            let (totals, _) = threads::run(lanes, |index, heap: &mut H, (), barrier| {
                let conducts = index == 0;
                let burst = together(conducts, barrier, &phases, "burst", || {
                    blocks.fill(heap, index, self.random(cycle, index))
                });
                let free = together(conducts, barrier, &phases, "free", || {
                    blocks.thin_out(heap, index, self.choice(cycle, index))
                });
                if conducts {
                    *lock(&times) = (burst.1, free.1);
                }
                Ok(Share { operations: burst.0? + free.0?, ..Share::default() })
            })?;
            let (burst_s, free_s) = *lock(&times);
            log.rest(blocks, burst_s, free_s);
            let survivors = blocks.check_and_free_all(&mut H::open(0)?).map_err(check_failure)?;
            all.operations += totals.operations + survivors;
            all.elapsed += Duration::from_secs_f64(burst_s + free_s);
            all.absorb(totals.latency);
        }
        Ok(all)
    }

    /// Runs with the same threads throughout. One more conducts, so that all allocating threads are
    /// blocked while idle.
    fn with_lasting_threads<H: Heap>(&self, blocks: &BurstBlocks, log: &mut Log) -> Result<Totals> {
        let threads = self.threads as usize;
        let lanes = vec![(); threads + 1];
        let log = Mutex::new(log);
        let frees = |index: usize| match self.shape {
            Shape::Remote => (index + 1) % threads,
            Shape::Exit | Shape::Stay => index,
        };
        let (mut totals, _) = threads::run(lanes, |index, heap: &mut H, (), barrier| {
            let mut results = Vec::with_capacity(3 * self.cycles as usize);
            for cycle in 0..self.cycles {
                if index == threads {
                    conduct(&mut lock(&log), blocks, barrier);
                    continue;
                }
                // A fault is reported only after the last wait, because the others wait for this
                // thread.
                results.push(blocks.fill(heap, index, self.random(cycle, index)));
                barrier.wait();
                let theirs = frees(index);
                results.push(blocks.thin_out(heap, theirs, self.choice(cycle, theirs)));
                barrier.wait();
                // The conductor idles here while every other thread is blocked.
                barrier.wait();
                results.push(blocks.check_and_free(heap, theirs));
                // Without this wait a thread could refill slots that its neighbour has not emptied
                // yet.
                barrier.wait();
            }
            let operations = results.into_iter().sum::<Result<u64, Fault>>()?;
            Ok(Share { operations, ..Share::default() })
        })?;
        let busy: f64 = lock(&log).cycles.iter().map(|cycle| cycle.burst_s + cycle.free_s).sum();
        totals.elapsed = Duration::from_secs_f64(busy);
        Ok(totals)
    }

    fn random(&self, cycle: u32, index: usize) -> Random {
        Random::for_thread(self.seed.wrapping_add(cycle.wrapping_mul(0x0001_0001)), index)
    }

    /// Seeds the choice of the survivors. The generator differs from that of the sizes, or the
    /// smallest blocks would survive.
    fn choice(&self, cycle: u32, index: usize) -> Random {
        Random::for_thread(!self.seed.wrapping_add(cycle.wrapping_mul(0x0001_0001)), index)
    }
}

impl Log {
    /// Idles and records the cycle.
    fn rest(&mut self, blocks: &BurstBlocks, burst_s: f64, free_s: f64) {
        let cycle = self.cycles.len() + 1;
        let (idle, _) = self.phases.during("idle", || self.idle.spend(cycle));
        self.cycles.push(Cycle { burst_s, free_s, idle });
        self.floor_kb = blocks.floor_kb().ok();
    }
}

/// Runs the conductor's part of a cycle: the four waits, and the idle time before the third.
fn conduct(log: &mut Log, blocks: &BurstBlocks, barrier: &AbortableBarrier) {
    let ((), burst_s) = log.phases.during("burst", || barrier.wait());
    let ((), free_s) = log.phases.during("free", || barrier.wait());
    log.rest(blocks, burst_s, free_s);
    barrier.wait();
    barrier.wait();
}

/// A panic ends the program, so no later caller sees a poisoned lock.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` in all threads between two waits; the conductor records the phase.
fn together<T>(
    conducts: bool,
    barrier: &AbortableBarrier,
    phases: &Mutex<&mut Phases>,
    name: &'static str,
    work: impl FnOnce() -> T,
) -> (T, f64) {
    barrier.wait();
    let work_and_meet = || {
        let result = work();
        barrier.wait();
        result
    };
    if conducts { lock(phases).during(name, work_and_meet) } else { (work_and_meet(), 0.0) }
}

impl Work for BurstIdle {
    const TIGHT: bool = false;

    fn pass<H: Heap>(&self) -> Result<Totals> {
        let blocks = BurstBlocks::new(&BlockPlan {
            total: self.total,
            threads: self.threads,
            sizes: self.sizes,
            keep: self.keep,
            keep_hold: self.keep_hold,
        })?;
        let mut log = self.log()?;
        let start_kb = outside::rss_kb();
        let mut totals = match self.shape {
            Shape::Exit => self.with_passing_threads::<H>(&blocks, &mut log)?,
            Shape::Stay | Shape::Remote => self.with_lasting_threads::<H>(&blocks, &mut log)?,
        };
        totals.note("epoch_force", log.idle.can_force());
        totals.note("start_rss_kb", start_kb);
        totals.note("floor_kb", log.floor_kb);
        totals.note("harness_kb", blocks.bytes() / 1024);
        totals.note("cycles", serde_json::to_value(&log.cycles).unwrap_or_default());
        totals.note("phases", log.phases.to_json());
        Ok(totals)
    }

    fn need(&self) -> Need {
        let bytes = u128::from(self.total) * (bounds::PLACE + self.sizes.mean());
        Need { threads: u128::from(self.threads) + 1, bytes }
    }

    fn shorter(&self) -> Self {
        Self { idle: 0.0, cycles: 1, dump: DumpLevel::Off, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        burst: BurstIdle,
    }

    fn settled(words: &[&str]) -> Result<BurstIdle> {
        Line::try_parse_from([&["bench"], words].concat()).unwrap().burst.settled()
    }

    #[test]
    fn the_positional_form_is_understood() {
        let short = settled(&["200000", "10", "3", "0", "4"]).unwrap();
        assert_eq!((short.total, short.cycles, short.keep, short.threads), (200_000, 3, 0, 4));
        assert_eq!(short.sizes.to_string(), "256-4096");
        let full =
            settled(&["1000", "1", "1", "20", "2", "2304", "3840", "1", "100", "2"]).unwrap();
        assert_eq!(full.sizes, Sizes::Uniform { min: 2304, max: 3840 });
        assert!(full.keep_hold && full.idle_tick == 100 && full.dump == DumpLevel::Smaps);
    }

    #[test]
    fn impossible_numbers_are_refused() {
        for words in [
            &["1", "1", "1", "101"][..],
            &["1", "1", "1", "0", "0"],
            &["1", "1", "1", "0", "1", "5"],
        ] {
            assert!(settled(words).is_err(), "{words:?}");
        }
        assert!(settled(&["1", "1", "1", "0", "1", "64", "32"]).is_err());
    }
}
