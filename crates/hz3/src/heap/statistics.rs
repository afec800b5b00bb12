//! The statistics: what each layer holds, in sums that always add up.
//!
//! **I-8.** Statistics add up: `active = allocated + cached + slack`, `committed = active + dirty +
//! retained`, and `cached`, `slack` and `dirty` are the sums of their parts. When no thread
//! allocates meanwhile, `committed` is the committed part of the arena and the huge blocks.

use core::fmt::{self, Write};
use core::sync::atomic::Ordering;

use super::Heap;
use crate::base::size_class::SizeClass;
use crate::base::units::{PAGE_BYTES, SEGMENT_PAGES, to_u64};
use crate::cache::ThreadCache;
use crate::central::Central;
use crate::central::holes::FreePages;
use crate::os::Os;
use crate::reclaim::system_page;
use crate::stats::Stats;

/// Bytes of blocks that wait in caches.
#[derive(Clone, Copy, Debug, Default)]
struct Cached {
    /// In caches whose owners ran a slow path since the last tick.
    running: u64,
    /// In other thread caches, including those of ended threads.
    idle: u64,
    /// In transfer caches.
    transfer: u64,
}

impl Cached {
    fn sum(self) -> u64 {
        self.running + self.idle + self.transfer
    }

    /// Returns as much of it as fits into `bytes`, so that the sum cannot exceed them.
    fn within(self, bytes: u64) -> Cached {
        let running = self.running.min(bytes);
        let idle = self.idle.min(bytes - running);
        Cached { running, idle, transfer: self.transfer.min(bytes - running - idle) }
    }
}

/// The statistics that take time in proportion to the number of slabs and of mapped pages, in
/// bytes. All others take time in proportion to the number of caches and bins.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SlowFigures {
    /// Pages of slabs without a block in use.
    free_pages: FreePages,
    metadata_resident: u64,
}

impl SlowFigures {
    pub(crate) fn to_array(self) -> [u64; 3] {
        [self.free_pages.holes, self.free_pages.clean, self.metadata_resident]
    }

    pub(crate) fn from_array([holes, clean, metadata_resident]: [u64; 3]) -> SlowFigures {
        SlowFigures { free_pages: FreePages { holes, clean }, metadata_resident }
    }
}

/// Takes the parts of the statistics, in the order in which they are read.
pub(crate) trait Breakdown {
    /// Takes one thread cache and the bytes of blocks and runs in it.
    fn cache(&mut self, cache: &ThreadCache, bytes: u64);
    /// Adds a number of blocks of a class in thread caches or transfer caches.
    fn cached(&mut self, class: SizeClass, blocks: u64);
    /// Adds the number of slabs of a class in one shard, and the number of their blocks that are in
    /// use or cached.
    fn bin(&mut self, class: SizeClass, slabs: u64, used: u64);
}

/// For statistics without their parts.
impl Breakdown for () {
    fn cache(&mut self, _cache: &ThreadCache, _bytes: u64) {}
    fn cached(&mut self, _class: SizeClass, _blocks: u64) {}
    fn bin(&mut self, _class: SizeClass, _slabs: u64, _used: u64) {}
}

impl<O: Os> Heap<O> {
    /// Returns the bytes of blocks in thread caches and transfer caches, as a hint.
    fn cached(&self, parts: &mut impl Breakdown) -> Cached {
        let mut cached = Cached::default();
        for class in SizeClass::all() {
            let blocks = self.transfers.waiting_blocks(class);
            parts.cached(class, blocks);
            cached.transfer += blocks * to_u64(class.block_bytes());
        }
        for cache in self.registry.iter() {
            let mut bytes = 0;
            for class in SizeClass::all() {
                let blocks = cache.cached_blocks(class);
                parts.cached(class, blocks);
                bytes += blocks * to_u64(class.block_bytes());
            }
            parts.cache(cache, bytes + cache.runs.bytes());
            let place = if cache.is_active() { &mut cached.running } else { &mut cached.idle };
            *place += bytes;
        }
        cached
    }

    /// Returns the bytes of runs of large blocks in thread caches, as a hint.
    fn cached_runs(&self) -> Cached {
        let mut cached = Cached::default();
        for cache in self.registry.iter() {
            let place = if cache.is_active() { &mut cached.running } else { &mut cached.idle };
            *place += cache.runs.bytes();
        }
        cached
    }

    /// Returns the statistics.
    ///
    /// Takes time in proportion to the number of slabs, and holds no lock for longer than one bin
    /// takes.
    pub(crate) fn stats(&self) -> Stats {
        self.observe(self.slow_figures(), &mut ())
    }

    /// Returns what takes longest to find out.
    pub(crate) fn slow_figures(&self) -> SlowFigures {
        let resident =
            |cache: &ThreadCache| to_u64(self.os().resident_bytes(cache.span(self.os())));
        SlowFigures {
            free_pages: Central::free_pages(&self.segments, system_page(self.os())),
            metadata_resident: self.segments.resident_table_bytes()
                + self.central.resident_table_bytes(self.os())
                + self.transfers.resident_table_bytes(self.os())
                + self.registry.iter().map(resident).sum::<u64>(),
        }
    }

    /// Returns the statistics, of which the slow ones are given, and passes on their parts.
    ///
    /// The layers are read one after the other. Changes by other threads meanwhile must not make a
    /// difference negative or break the sums.
    pub(crate) fn observe(&self, slow: SlowFigures, parts: &mut impl Breakdown) -> Stats {
        let (cached, runs) = (self.cached(parts), self.cached_runs());
        let central = self.central.slab_counts(|class, slabs, used| parts.bin(class, slabs, used));
        let free_pages = slow.free_pages;
        let segment = self.segments.page_counts();
        let page = to_u64(PAGE_BYTES);
        let taken = (segment.committed - segment.free) * page + segment.huge_bytes;
        let cached = cached.within(central.used_bytes);
        let large = taken.saturating_sub(central.slab_bytes);
        let active = central.slab_bytes + large;
        let runs = runs.within(large);
        let large = large - runs.sum();
        let slack = central.slab_bytes - central.used_bytes;
        let slack_holes = free_pages.holes.min(slack);
        let slack_clean = free_pages.clean.min(slack - slack_holes);
        let (dirty, retained) = (segment.dirty * page, (segment.free - segment.dirty) * page);
        let dirty_old = (segment.old * page).min(dirty);
        let mut stats = Stats {
            allocated: central.used_bytes - cached.sum() + large,
            cached: cached.sum() + runs.sum(),
            slack,
            active,
            dirty,
            retained,
            committed: active + dirty + retained,
            metadata: self.mapped_metadata(segment.table_bytes),
            reserved: segment.reserved_bytes,
            peak_active: segment.peak_active_bytes.max(active),
            cached_running: cached.running + runs.running,
            cached_idle: cached.idle + runs.idle,
            cached_transfer: cached.transfer,
            slack_shared: slack - slack_holes - slack_clean,
            slack_holes,
            slack_clean,
            dirty_young: dirty - dirty_old,
            dirty_old,
            large,
            huge: segment.huge_bytes.min(large),
            metadata_resident: slow.metadata_resident,
            threads: to_u64(self.registry.in_use()),
            slabs: central.slabs,
            segments: segment.committed.div_ceil(u64::from(SEGMENT_PAGES)),
            contended_caches: self.registry.contended(),
            contended_transfers: self.transfers.contended(),
            contended_bins: central.contended_bins,
            contended_pages: segment.contended,
            ..Stats::default()
        };
        self.count_calls(&mut stats);
        self.reclaim.report(&mut stats);
        self.report_pages(&mut stats);
        stats
    }

    /// Adds the memory limit and the counters of the page heap to a report that has reclaim's.
    fn report_pages(&self, stats: &mut Stats) {
        let (account, limit) = (self.segments.account(), self.segments.limit());
        stats.refaulted_bytes = self.segments.refaulted_pages() * to_u64(PAGE_BYTES);
        stats.prefaulted_bytes = account.prefaulted_bytes();
        stats.limit = limit.bytes().unwrap_or(0);
        stats.held = self.segments.held_bytes();
        stats.reliefs = limit.releases();
        let (dropped, drops) = account.dropped();
        stats.purged_bytes += dropped;
        stats.madvise_calls += drops;
    }

    /// Writes the lines of an experiment's report, if one is configured.
    pub(crate) fn write_experiment_lines(
        &self,
        out: &mut impl Write,
        stats: &Stats,
    ) -> fmt::Result {
        self.reclaim.write_lines(out, stats)
    }

    fn count_calls(&self, stats: &mut Stats) {
        stats.large_allocs = self.counts.large_allocs.load(Ordering::Relaxed);
        stats.large_frees = self.counts.large_frees.load(Ordering::Relaxed);
        stats.huge_allocs = self.counts.huge_allocs.load(Ordering::Relaxed);
        for cache in self.registry.iter() {
            stats.refills += cache.counts.refills.load(Ordering::Relaxed);
            stats.flushes += cache.counts.flushes.load(Ordering::Relaxed);
            stats.requests += cache.counts.requests.load(Ordering::Relaxed);
            stats.frees += cache.counts.frees.load(Ordering::Relaxed);
            stats.large_allocs += cache.counts.large_allocs.load(Ordering::Relaxed);
            stats.large_frees += cache.counts.large_frees.load(Ordering::Relaxed);
        }
    }

    /// Returns the mapped bytes of hz3's own memory. Those of the arena's tables are given.
    fn mapped_metadata(&self, tables: u64) -> u64 {
        let caches = self.registry.iter().map(|cache| to_u64(cache.span(self.os()).bytes));
        let central = self.central.table_bytes(self.os());
        tables + central + self.transfers.table_bytes(self.os()) + caches.sum::<u64>()
    }

    /// Checks that the sums add up (I-8); the heap must be at rest.
    #[cfg(test)]
    pub(super) fn validate_statistics(&self) {
        let stats = self.stats();
        assert_eq!(stats.active, stats.allocated + stats.cached + stats.slack, "I-8");
        assert_eq!(
            stats.cached,
            stats.cached_running + stats.cached_idle + stats.cached_transfer,
            "I-8"
        );
        assert_eq!(stats.slack, stats.slack_shared + stats.slack_holes + stats.slack_clean, "I-8");
        assert_eq!(stats.dirty, stats.dirty_young + stats.dirty_old, "I-8");
        let segment = self.segments.page_counts();
        let mapped = segment.committed * to_u64(PAGE_BYTES) + segment.huge_bytes;
        assert_eq!(mapped, stats.active + stats.dirty + stats.retained, "I-8");
        assert!(segment.peak_active_bytes >= stats.active, "a peak below the present");
        // At rest the sums need no clamping.
        let central = self.central.slab_counts(|_, _, _| {});
        assert!(self.cached(&mut ()).sum() <= central.used_bytes);
    }
}
