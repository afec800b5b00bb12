//! What stays resident when one block in twenty survives, scattered over the whole heap?
//!
//! The case that other allocators publish: 150,000 blocks of 512 bytes, 100,000 of 1 KiB and 50,000
//! of 2 KiB, interleaved and all written. Every twentieth block survives.

use super::Work;
use super::outside;
use super::support::block::{Block, Extent, Fault, Unsized};
use super::support::bounds::{self, Need};
use super::support::floor;
use super::support::heap::Heap;
use super::support::mapped::Mapped;
use super::support::phases::Phases;
use super::support::threads::{Totals, check_failure};
use crate::failure::Result;
use clap::Args;
use serde::Serialize;
use std::time::Duration;

/// Six blocks in a row: three of 512, two of 1024, one of 2048.
const ROW: [usize; 6] = [512, 1024, 512, 1024, 512, 2048];

/// A heap full of holes.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Holes {
    /// Rows of six blocks: three of 512 bytes, two of 1 KiB, one of 2 KiB
    #[arg(long, default_value_t = 50_000, value_parser = bounds::count())]
    rows: usize,
    /// One block in this many survives
    #[arg(long, default_value_t = 20, value_parser = bounds::from_1())]
    keep_every: u32,
    /// Idle time in seconds
    #[arg(long, default_value_t = 10.0, value_parser = bounds::idle)]
    idle: f64,
}

impl Holes {
    fn survives(&self, index: usize) -> bool {
        index.is_multiple_of(self.keep_every as usize)
    }

    fn thin_out<H: Heap>(&self, heap: &mut H, blocks: &mut Blocks) -> Result<(), Fault> {
        for index in (0..blocks.places.len()).filter(|&index| !self.survives(index)) {
            blocks.take(index).map_or(Ok(()), |block| heap.release(block))?;
        }
        Ok(())
    }
}

/// The blocks, 8 bytes each. The index of a block determines its size.
struct Blocks {
    places: Mapped<Option<Unsized>>,
}

impl Blocks {
    fn size(index: usize) -> usize {
        ROW[index % ROW.len()]
    }

    fn fill<H: Heap>(&mut self, heap: &mut H) -> Result<(), Fault> {
        for (index, place) in self.places.iter_mut().enumerate() {
            let mut block = heap.allocate(Self::size(index))?;
            block.fill();
            *place = Some(block.without_size());
        }
        Ok(())
    }

    fn take(&mut self, index: usize) -> Option<Block> {
        let block = self.places[index].take()?;
        // SAFETY: `fill` put a block of this size here.
        Some(unsafe { block.with_size(Self::size(index)) })
    }

    fn check_and_free<H: Heap>(&mut self, heap: &mut H) -> Result<(), Fault> {
        for index in 0..self.places.len() {
            if let Some(block) = self.take(index) {
                block.check_all()?;
                heap.release(block)?;
            }
        }
        Ok(())
    }

    /// Returns addresses and sizes of the survivors.
    fn extents(&self) -> impl Iterator<Item = Extent> + Clone {
        let there = |(index, place): (usize, &Option<Unsized>)| {
            place.as_ref().map(|block| block.extent(Self::size(index)))
        };
        self.places.iter().enumerate().filter_map(there)
    }
}

impl Work for Holes {
    const TIGHT: bool = false;

    fn pass<H: Heap>(&self) -> Result<Totals> {
        let mut heap = H::open(0)?;
        let mut phases = Phases::new(3);
        let mut blocks = Blocks { places: Mapped::new(self.rows * ROW.len(), || None)? };
        let start_kb = outside::rss_kb();
        let (filled, fill_s) = phases.during("burst", || blocks.fill(&mut heap));
        filled.map_err(check_failure)?;
        let peak_kb = outside::rss_kb();
        let (thinned, free_s) = phases.during("free", || self.thin_out(&mut heap, &mut blocks));
        thinned.map_err(check_failure)?;
        let live_bytes: usize = blocks.extents().map(|extent| extent.size).sum();
        let survivors = blocks.extents().count();
        phases.during("idle", || std::thread::sleep(Duration::from_secs_f64(self.idle)));
        let idle_kb = outside::rss_kb();
        let floor_kb = floor::floor_kb(blocks.extents())?;
        blocks.check_and_free(&mut heap).map_err(check_failure)?;

        let mut totals = Totals {
            operations: (blocks.places.len() * 2 - survivors) as u64,
            elapsed: Duration::from_secs_f64(fill_s + free_s),
            ..Totals::default()
        };
        totals.note("start_rss_kb", start_kb);
        totals.note("floor_kb", floor_kb);
        totals.note("peak_rss_kb", peak_kb);
        totals.note("idle_rss_kb", idle_kb);
        totals.note("live_kb", live_bytes as u64 / 1024);
        totals.note("survivors", survivors as u64);
        // The table of blocks belongs to the harness; no allocator could return it.
        let harness_kb = (blocks.places.len() * size_of::<Option<Unsized>>()) as u64 / 1024;
        let (idle, peak) = (idle_kb.saturating_sub(harness_kb), peak_kb.saturating_sub(harness_kb));
        totals.note("harness_kb", harness_kb);
        totals.note("returned_percent", 100.0 * (1.0 - idle as f64 / peak.max(1) as f64));
        totals.note("phases", phases.to_json());
        totals.absorb(heap.into_latency());
        Ok(totals)
    }

    fn need(&self) -> Need {
        let row = ROW.iter().map(|size| size + size_of::<Option<Unsized>>()).sum::<usize>();
        Need { threads: 1, bytes: self.rows as u128 * row as u128 }
    }

    fn shorter(&self) -> Self {
        Self { idle: 0.0, ..self.clone() }
    }
}
