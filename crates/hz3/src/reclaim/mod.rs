//! Reclaim: memory on its way back, through the same layers from top to bottom.
//!
//! The order is always: caches, then empty slabs, then pages. [`gather`] does the first two,
//! [`Reclaim::purge`] the third. Nothing here is called from the hot path.

mod purge;

use core::sync::atomic::{AtomicU64, Ordering};

use crate::base::units::wide;
use crate::cache::Front;
use crate::cache::refill::Below;
use crate::cache::registry::Registry;
use crate::os::Os;
use crate::segment::Segments;
use crate::stats::Stats;

/// The counters of the pipeline.
#[derive(Debug)]
pub(crate) struct Reclaim {
    madvise_calls: AtomicU64,
    madvise_refused: AtomicU64,
    purged_bytes: AtomicU64,
}

/// Moves blocks from the caches into their slabs and gives the runs of empty slabs back: the
/// caller's cache as its owner, the others' by stealing.
pub(crate) fn gather<O: Os>(registry: &Registry, below: Below<'_, O>, front: Front<'_>) {
    let own = match front {
        Front::Cache(cache) => Some(cache),
        Front::Direct => None,
    };
    if let Some(cache) = own {
        // SAFETY: the front is the calling thread's, which is not inside a cache operation.
        unsafe { cache.drain(below) };
    }
    for cache in registry.iter() {
        if !own.is_some_and(|own| core::ptr::eq(own, cache)) && cache.cached_bytes() > 0 {
            cache.steal(below);
        }
    }
    below.central.retire(below.segments);
}

impl Reclaim {
    pub(crate) const fn new() -> Reclaim {
        Reclaim {
            madvise_calls: AtomicU64::new(0),
            madvise_refused: AtomicU64::new(0),
            purged_bytes: AtomicU64::new(0),
        }
    }

    /// Gives free pages back until at most `keep` bytes of them may hold memory. Returns the
    /// bytes given back.
    pub(crate) fn purge<O: Os>(&self, segments: &Segments<O>, keep: usize) -> usize {
        let result = purge::purge(segments, keep);
        self.madvise_calls.fetch_add(result.calls, Ordering::Relaxed);
        self.madvise_refused.fetch_add(result.refused, Ordering::Relaxed);
        let bytes = result.pages.bytes();
        self.purged_bytes.fetch_add(wide(bytes), Ordering::Relaxed);
        bytes
    }

    /// Adds the pipeline's counters to a report.
    pub(crate) fn report(&self, stats: &mut Stats) {
        stats.madvise_calls = self.madvise_calls.load(Ordering::Relaxed);
        stats.madvise_refused = self.madvise_refused.load(Ordering::Relaxed);
        stats.purged_bytes = self.purged_bytes.load(Ordering::Relaxed);
    }
}
