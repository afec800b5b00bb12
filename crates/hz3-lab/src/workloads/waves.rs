//! Is memory returned between bursts that come every 50 ms, every second, every ten seconds, and
//! what does the next burst pay for it?

use super::Work;
use super::outside;
use super::support::block::{Block, Fault};
use super::support::bounds::{self, Need};
use super::support::heap::Heap;
use super::support::mapped::Mapped;
use super::support::phases::Phases;
use super::support::random::Random;
use super::support::sizes::Sizes;
use super::support::threads::{Totals, check_failure};
use crate::failure::Result;
use clap::Args;
use serde::Serialize;
use std::time::{Duration, Instant};

/// Bursts at several intervals, one interval after the other.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Waves {
    /// Intervals as MS:BURSTS, separated by commas
    #[arg(long = "waves", default_value = "50:20,1000:3,10000:2", value_delimiter = ',', value_parser = wave)]
    #[serde(rename = "waves")]
    series: Vec<Wave>,
    /// Blocks in a burst
    #[arg(long, default_value_t = 40_000, value_parser = bounds::count())]
    blocks: usize,
    /// Sizes: small, medium, mixed, app, or MIN-MAX
    #[arg(long, default_value = "256-4096")]
    sizes: Sizes,
    /// Seed of the random numbers
    #[arg(long, default_value_t = Random::SEED)]
    seed: u32,
}

/// An interval and the number of bursts at it.
#[derive(Debug, Clone, Copy, Serialize, PartialEq, Eq)]
struct Wave {
    interval_ms: u64,
    bursts: u32,
}

fn wave(text: &str) -> Result<Wave, String> {
    let parts = text.split_once(':').and_then(|(ms, n)| Some((ms.parse().ok()?, n.parse().ok()?)));
    match parts {
        Some((interval_ms, bursts))
            if interval_ms <= bounds::MAX_IDLE_MS && (1..=bounds::CYCLES).contains(&bursts) =>
        {
            Ok(Wave { interval_ms, bursts })
        }
        _ => Err(format!(
            "expected MS:BURSTS, for instance 50:20, with up to {} ms and {} bursts",
            bounds::MAX_IDLE_MS,
            bounds::CYCLES
        )),
    }
}

/// The figures of the bursts at one interval.
#[derive(Debug, Serialize)]
struct IntervalSummary {
    interval_ms: u64,
    bursts: u32,
    /// Mean seconds of a burst: allocate, write, free.
    mean_burst_ms: f64,
    /// Seconds of the longest burst.
    max_burst_ms: f64,
    /// Mean resident set just before the next burst, in KiB.
    mean_trough_rss_kb: u64,
}

impl Waves {
    fn burst<H: Heap>(
        &self,
        heap: &mut H,
        blocks: &mut Mapped<Option<Block>>,
        random: &mut Random,
    ) -> Result<(), Fault> {
        for place in blocks.iter_mut() {
            let mut block = heap.allocate(self.sizes.draw(random))?;
            block.fill();
            *place = Some(block);
        }
        blocks.iter_mut().filter_map(Option::take).try_for_each(|block| heap.release(block))
    }
}

impl Work for Waves {
    const TIGHT: bool = false;

    fn pass<H: Heap>(&self) -> Result<Totals> {
        let mut heap = H::open(0)?;
        let mut random = Random::for_thread(self.seed, 0);
        let mut blocks = Mapped::new(self.blocks, || None)?;
        let bursts: u64 = self.series.iter().map(|wave| u64::from(wave.bursts)).sum();
        let mut phases = Phases::new(usize::try_from(bursts).unwrap_or(usize::MAX));
        let mut summaries = Vec::with_capacity(self.series.len());
        let mut busy_s = 0.0;
        for wave in &self.series {
            let (mut sum_s, mut max_s, mut trough_kb) = (0.0, 0.0_f64, 0);
            for _ in 0..wave.bursts {
                let due = Instant::now() + Duration::from_millis(wave.interval_ms);
                let burst = || self.burst(&mut heap, &mut blocks, &mut random);
                let (done, seconds) = phases.during("burst", burst);
                done.map_err(check_failure)?;
                sum_s += seconds;
                max_s = max_s.max(seconds);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                trough_kb += outside::rss_kb();
            }
            busy_s += sum_s;
            summaries.push(IntervalSummary {
                interval_ms: wave.interval_ms,
                bursts: wave.bursts,
                mean_burst_ms: sum_s / f64::from(wave.bursts) * 1e3,
                max_burst_ms: max_s * 1e3,
                mean_trough_rss_kb: trough_kb / u64::from(wave.bursts),
            });
        }
        let mut totals = Totals {
            operations: 2 * self.blocks as u64 * bursts,
            elapsed: Duration::from_secs_f64(busy_s),
            ..Totals::default()
        };
        totals.note("waves", serde_json::to_value(summaries).unwrap_or_default());
        totals.note("phases", phases.to_json());
        totals.absorb(heap.into_latency());
        Ok(totals)
    }

    fn need(&self) -> Need {
        let bytes = self.blocks as u128 * (bounds::PLACE + self.sizes.mean());
        Need { threads: 1, bytes }
    }

    fn shorter(&self) -> Self {
        let series = vec![Wave { interval_ms: 0, bursts: 2 }];
        Self { series, ..self.clone() }
    }
}
