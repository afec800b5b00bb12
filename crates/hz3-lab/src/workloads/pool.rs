//! What do many blocked threads hold that each touched every size once?

use super::Work;
use super::outside;
use super::support::block::{Block, Fault};
use super::support::bounds::{self, Need};
use super::support::heap::Heap;
use super::support::mapped::Mapped;
use super::support::phases::Phases;
use super::support::threads::{self, Share, Totals};
use crate::failure::Result;
use clap::Args;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A pool of threads that had something to do once.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Pool {
    /// Threads
    #[arg(long, short = 't', default_value_t = 200, value_parser = bounds::threads())]
    threads: u32,
    /// Blocks of each size that a thread holds at a time
    #[arg(long, default_value_t = 8, value_parser = bounds::count())]
    blocks: usize,
    /// Largest size in bytes
    #[arg(long, default_value_t = 32_768, value_parser = clap::value_parser!(u32).range(16..))]
    max: u32,
    /// Seconds for which all threads stay blocked
    #[arg(long, default_value_t = 5.0, value_parser = bounds::idle)]
    idle: f64,
}

/// Returns sizes in every class of any allocator whose classes are at most 12.5 % apart.
fn sizes(max: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(16), |size| Some(size + (size / 8).max(16) / 16 * 16))
        .take_while(move |&size| size <= max)
}

impl Pool {
    fn touch<H: Heap>(&self, heap: &mut H, held: &mut Mapped<Option<Block>>) -> Result<u64, Fault> {
        let mut operations = 0;
        for size in sizes(self.max as usize) {
            for place in held.iter_mut() {
                let mut block = heap.allocate(size)?;
                block.fill();
                *place = Some(block);
            }
            for block in held.iter_mut().filter_map(Option::take) {
                block.check_all()?;
                heap.release(block)?;
                operations += 2;
            }
        }
        Ok(operations)
    }
}

impl Work for Pool {
    const TIGHT: bool = false;

    fn pass<H: Heap>(&self) -> Result<Totals> {
        let held = (0..self.threads).map(|_| Mapped::new(self.blocks, || None));
        let lanes = held.collect::<Result<Vec<_>>>()?;
        let phases = Mutex::new(Phases::new(1));
        let (busy_kb, idle_kb) = (AtomicU64::new(0), AtomicU64::new(0));
        let start_kb = outside::rss_kb();
        let (mut totals, _) = threads::run(lanes, |index, heap: &mut H, mut held, barrier| {
            let done = self.touch(heap, &mut held);
            let end = Some(Instant::now());
            barrier.wait();
            if index == 0 {
                busy_kb.store(outside::rss_kb(), Ordering::Relaxed);
                // This lock is uncontended and no holder panics.
                let mut phases = phases.lock().unwrap_or_else(PoisonError::into_inner);
                phases.during("idle", || std::thread::sleep(Duration::from_secs_f64(self.idle)));
                idle_kb.store(outside::rss_kb(), Ordering::Relaxed);
            }
            // All other threads are blocked here while the first one sleeps.
            barrier.wait();
            Ok(Share { operations: done?, special: 0, end })
        })?;
        totals.note("start_rss_kb", start_kb);
        totals.note("busy_rss_kb", busy_kb.into_inner());
        totals.note("idle_rss_kb", idle_kb.into_inner());
        let phases = phases.into_inner().unwrap_or_else(PoisonError::into_inner);
        totals.note("phases", phases.to_json());
        Ok(totals)
    }

    fn need(&self) -> Need {
        let lane = self.blocks as u128 * (bounds::PLACE + u128::from(self.max));
        Need { threads: self.threads.into(), bytes: u128::from(self.threads) * lane }
    }

    fn shorter(&self) -> Self {
        Self { idle: 0.0, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn steps_are_at_most_an_eighth_and_never_stand_still() {
        let sizes: Vec<_> = super::sizes(32_768).collect();
        assert_eq!(sizes[..4], [16, 32, 48, 64]);
        assert!(sizes.windows(2).all(|w| w[1] > w[0] && w[1] - w[0] <= (w[0] / 8).max(16)));
        assert!(*sizes.last().unwrap() > 29_000);
    }
}
