//! What does a block cost that grows by doubling? (realloc to 1 GiB; every new page is touched)

use super::Work;
use super::support::block::Fault;
use super::support::bounds::{self, Need};
use super::support::heap::Heap;
use super::support::threads::{self, Share, Totals};
use crate::failure::Result;
use clap::Args;
use serde::Serialize;

/// One block that doubles from 64 bytes up.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Grow {
    /// Grow up to this size in MiB
    #[arg(long, default_value_t = 1024, value_parser = bounds::from_1())]
    to_mib: u32,
    /// How often from the start
    #[arg(long, default_value_t = 3, value_parser = bounds::repeats())]
    rounds: u64,
}

impl Grow {
    fn round<H: Heap>(&self, heap: &mut H) -> Result<u64, Fault> {
        const FIRST: usize = 64;
        let end = (self.to_mib as usize) << 20;
        let mut block = heap.allocate(FIRST)?;
        let mut operations = 2;
        while block.size() < end {
            let old = block.size();
            block = heap.reallocate(block, old * 2)?;
            block.mark_from(old);
            operations += 1;
        }
        // The first word is the block's stamp, which a realloc renews, so the marks start after it.
        let mut from = FIRST;
        while from < block.size() {
            block.check_marks(from, from * 2)?;
            from *= 2;
        }
        heap.release(block)?;
        Ok(operations)
    }
}

impl Work for Grow {
    const TIGHT: bool = false;

    fn pass<H: Heap>(&self) -> Result<Totals> {
        let (totals, _) = threads::run(vec![()], |_, heap: &mut H, (), _| {
            let mut share = Share::default();
            for _ in 0..self.rounds {
                share.operations += self.round(heap)?;
            }
            Ok(share)
        })?;
        Ok(totals)
    }

    fn need(&self) -> Need {
        Need { threads: 1, bytes: u128::from(self.to_mib) << 20 }
    }

    fn shorter(&self) -> Self {
        Self { rounds: 1, ..self.clone() }
    }
}
