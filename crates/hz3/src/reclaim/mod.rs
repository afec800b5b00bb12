//! Reclaim: memory on its way back, through the same layers from top to bottom.
//!
//! The order is always: caches, then empty slabs, then pages, then the holes of part-used slabs.
//! It runs at cold boundaries only: by the reclaimer thread at every tick, and on demand
//! ([`Reclaim::collect`]). Nothing here is called from the hot path.
//!
//! | step | a tick gives back | on demand |
//! |---|---|---|
//! | caches | those without a slow path since the last tick; of others, the classes without one | all |
//! | slabs | all empty ones | all empty ones |
//! | pages | old ones (see [`aging`]) | all |
//! | holes | of slabs without traffic since the last ageing | all |

mod aging;
mod counters;
mod epoch;
mod plan;
mod purge;
mod queue;
mod slack;

use core::sync::atomic::{AtomicU64, Ordering};

use crate::base::units::{ChunkIndex, PAGE_BYTES, wide};
use crate::cache::refill::Below;
use crate::cache::registry::Registry;
use crate::cache::{Front, ThreadCache};
use crate::central::Central;
use crate::options::Config;
use crate::os::lock::Lock;
use crate::os::{Os, held, rank};
use crate::segment::Segments;
use crate::segment::meta::Age;
use crate::stats::Stats;
use aging::Aging;
use counters::Counters;
use epoch::{Epochs, Step};
use plan::Plan;
use purge::{Purged, Purging};
use slack::{Slack, Time};

/// The state and the counters of the pipeline.
#[derive(Debug)]
pub(crate) struct Reclaim {
    aging: Lock<Pace, { rank::AGEING }>,
    /// The steps of an epoch, for the policies that are made of epochs.
    plan: Option<Plan>,
    counters: Counters,
    slack: Slack,
    /// Held while pages are off their map for a purge.
    purging: Purging,
    ticks: AtomicU64,
    stolen_bytes: AtomicU64,
    unwanted_bytes: AtomicU64,
    retired_bytes: AtomicU64,
    hole_pages: AtomicU64,
    purged_pages: AtomicU64,
    madvise_calls: AtomicU64,
    madvise_refused: AtomicU64,
}

/// What the ticks remember.
#[derive(Debug)]
struct Pace {
    aging: Aging,
    /// Free dirty pages that were left by the last ageing.
    left_dirty: u64,
    /// Free dirty pages that cannot be given back, being refused or parts of larger pages of the
    /// system: they are no reason to go on.
    stuck_dirty: u64,
    epochs: Epochs,
}

/// Whether there is anything left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another tick may give memory back.
    Tick,
    /// Everything is back until somebody allocates or frees.
    Rest,
}

/// What a tick found in the caches.
struct Found {
    stolen_bytes: u64,
    /// Caches whose threads ran slow paths since the last tick.
    active: usize,
}

impl Found {
    /// Only how many caches were active.
    fn nothing(registry: &Registry) -> Found {
        let active = registry.iter().filter(|cache| cache.was_active()).count();
        Found { stolen_bytes: 0, active }
    }
}

/// Moves blocks from the caches into their slabs and gives the runs of empty slabs back: the
/// caller's cache as its owner, the others' by stealing. Returns the bytes of blocks moved by
/// stealing.
pub(crate) fn gather<O: Os>(registry: &Registry, below: Below<'_, O>, front: Front<'_>) -> u64 {
    let own = front.cache();
    if let Some(cache) = own {
        // SAFETY: the front is the calling thread's, which is not inside a cache operation.
        unsafe { cache.drain(below) };
    }
    let mut stolen = 0;
    for cache in registry.iter() {
        if !own.is_some_and(|own| core::ptr::eq(own, cache)) && cache.cached_bytes() > 0 {
            stolen += cache.steal(below).unwrap_or(0);
        }
    }
    stolen += below.central.drain_transfers(below.segments);
    below.central.retire(below.segments);
    stolen
}

/// Moves the blocks of the caller's cache into their slabs and gives the runs of empty slabs back.
pub(crate) fn gather_own<O: Os>(below: Below<'_, O>, front: Front<'_>) {
    if let Some(cache) = front.cache() {
        // SAFETY: the front is the calling thread's, which is not inside a cache operation.
        unsafe { cache.drain(below) };
    }
    below.central.retire(below.segments);
}

impl Reclaim {
    /// For a policy and the user's limits.
    pub(crate) fn new(config: &Config) -> Reclaim {
        let (aging, epochs) = (Aging::new(u64::from(config.tick_ms.get())), Epochs::new());
        Reclaim {
            aging: Lock::new(Pace { aging, left_dirty: 0, stuck_dirty: 0, epochs }),
            plan: Plan::of(config.policy, &config.limits),
            counters: Counters::new(),
            slack: Slack::new(),
            purging: Purging::new(()),
            ticks: AtomicU64::new(0),
            stolen_bytes: AtomicU64::new(0),
            unwanted_bytes: AtomicU64::new(0),
            retired_bytes: AtomicU64::new(0),
            hole_pages: AtomicU64::new(0),
            purged_pages: AtomicU64::new(0),
            madvise_calls: AtomicU64::new(0),
            madvise_refused: AtomicU64::new(0),
        }
    }

    /// Gives everything back until at most `keep` bytes of free pages may hold memory; holes are
    /// purged only for `keep` 0. Returns the bytes given back.
    pub(crate) fn collect<O: Os>(
        &self,
        registry: &Registry,
        below: Below<'_, O>,
        front: Front<'_>,
        keep: usize,
    ) -> usize {
        let pages = self.release(registry, below, front, keep);
        let mut holes = Purged::default();
        if keep == 0 {
            let end = below.segments.arena().frontier().chunk().get();
            for chunk in (1..end).map(ChunkIndex::new) {
                holes.add(purge::holes(below, &self.purging, chunk));
            }
        }
        self.count_holes(holes);
        usize::try_from(pages + holes.pages).unwrap_or(usize::MAX) * PAGE_BYTES
    }

    /// Empties all caches and gives all free pages back, because the limit is near.
    pub(crate) fn relieve<O: Os>(
        &self,
        registry: &Registry,
        below: Below<'_, O>,
        front: Front<'_>,
    ) {
        self.release(registry, below, front, 0);
        below.segments.allowance().relieved(below.segments.held_bytes());
    }

    /// As [`gather`], counted.
    fn gather<O: Os>(&self, registry: &Registry, below: Below<'_, O>, front: Front<'_>) {
        let stolen = gather(registry, below, front);
        self.stolen_bytes.fetch_add(stolen, Ordering::Relaxed);
    }

    /// Empties all caches, and gives free pages back until at most `keep` bytes of them may hold
    /// memory. Returns the pages given back.
    fn release<O: Os>(
        &self,
        registry: &Registry,
        below: Below<'_, O>,
        front: Front<'_>,
        keep: usize,
    ) -> u64 {
        self.gather(registry, below, front);
        let purged = purge::free_pages(below.segments, &self.purging, Age::Any, keep);
        self.count(purged);
        purged.pages
    }

    /// One tick, or one epoch of the policies that are made of them; near the limit it begins with
    /// relief. Does nothing when another thread is in one.
    ///
    /// # Safety
    /// The front is the calling thread's.
    pub(crate) unsafe fn tick<O: Os>(
        &self,
        registry: &Registry,
        below: Below<'_, O>,
        front: Front<'_>,
    ) -> Next {
        let Some(mut pace) = self.aging.try_lock() else { return Next::Tick };
        self.ticks.fetch_add(1, Ordering::Relaxed);
        if below.segments.allowance().is_near(below.segments.held_bytes()) {
            self.relieve(registry, below, front);
        }
        epoch::timed(below.segments.os(), &self.counters, || match &self.plan {
            None => self.default_tick(registry, below, &mut pace),
            Some(plan) => {
                // SAFETY: the caller's promise.
                let next = unsafe { self.epoch(plan, registry, below, front, &mut pace.epochs) };
                // A policy may leave pages for ever: only others are a reason to go on.
                pace.stuck_dirty = below.segments.dirty_pages();
                next
            }
        })
    }

    /// Slow paths of one thread between two epochs; 0 when the policy is not made of epochs.
    pub(crate) fn interval(&self) -> u32 {
        self.plan.as_ref().map_or(0, |plan| plan.interval)
    }

    /// One epoch.
    ///
    /// # Safety
    /// The front is the calling thread's.
    unsafe fn epoch<O: Os>(
        &self,
        plan: &Plan,
        registry: &Registry,
        below: Below<'_, O>,
        front: Front<'_>,
        epochs: &mut Epochs,
    ) -> Next {
        epochs.number += 1;
        self.counters.epochs.add(1);
        if let Front::Cache(cache) = front {
            if let Some(rules) = &plan.decay {
                // SAFETY: the caller owns its cache.
                let done = unsafe { cache.decay(below, rules.overages, rules.blocks) };
                self.counters.decay_epochs.add(1);
                self.counters.decay_shrinks.add(done.shrinks);
                self.counters.decay_returns.add(u64::from(done.blocks > 0));
                self.counters.decayed_blocks.add(done.blocks);
            }
            if plan.dump_blocks > 0 {
                // SAFETY: as above.
                let blocks = unsafe { cache.dump(below, plan.dump_blocks) };
                self.counters.dumps.add(1);
                self.counters.dump_stops.add(u64::from(blocks == u64::from(plan.dump_blocks)));
                self.counters.dumped_blocks.add(blocks);
            }
        }
        // Caches of idle threads: nobody else would empty them.
        let gives_up = plan.decay.is_some() || plan.dump_blocks > 0;
        let found = if gives_up {
            Self::steal_idle(registry, below, front.cache())
        } else {
            Found::nothing(registry)
        };
        let mut stolen = found.stolen_bytes;
        if gives_up {
            stolen += below.central.settle_transfers(below.segments).drained_bytes;
        }
        self.stolen_bytes.fetch_add(stolen, Ordering::Relaxed);
        let step = Step { below, purging: &self.purging, counters: &self.counters };
        let done = step.run(plan, epochs);
        self.count(done);
        let work = found.active > 0 || stolen > 0 || done.pages > 0 || epochs.queue.len() > 0;
        if work { Next::Tick } else { Next::Rest }
    }

    /// Keeps what is free and may be resident within a bound, where no thread gives memory back; see
    /// [`slack`]. What is free in slabs is looked at if `counts_slabs`. Costs a few loads as long as
    /// there is nothing to do.
    ///
    /// # Safety
    /// The front is the calling thread's.
    pub(crate) unsafe fn trim<O: Os>(
        &self,
        registry: &Registry,
        below: Below<'_, O>,
        front: Front<'_>,
        counts_slabs: bool,
    ) {
        let segments = below.segments;
        if self.plan.is_some() {
            return;
        }
        let retaken = segments.retaken_hint();
        if self.slack.is_suspicious(retaken) {
            self.slack.judge(Self::time(registry, segments.os()), retaken);
        }
        if counts_slabs {
            self.slack.note_takes(front.cache().map_or(0, ThreadCache::takes));
        } else if segments.dirty_hint() <= self.slack.least() {
            return;
        }
        let bound = self.slack.bound(segments.active_hint());
        let slabs = || below.central.free_and_dissolved();
        let in_slabs = if counts_slabs { self.slack.note_slabs(slabs(), bound) } else { 0 };
        let dirty = self.slack.purgeable(segments.dirty_hint());
        if dirty <= bound && in_slabs == 0 {
            return;
        }
        let Some(_pace) = self.aging.try_lock() else { return };
        // Most of what is free in slabs may never have been touched.
        let part = self.slack.hole_part();
        let in_holes = if in_slabs > 0 { Self::holes_from(below, part) } else { 0 };
        if dirty + in_holes > bound {
            if self.slack.only_frees() {
                Self::shed(below, front);
            }
            let kept = slack::kept_bytes(bound);
            let mut done = purge::free_pages(segments, &self.purging, Age::Any, kept);
            self.count(done);
            self.slack.left(segments.dirty_hint(), wide(kept));
            if in_holes > bound / 2 {
                done.add(self.purge_holes_from(registry, below, front, part));
            }
            self.slack.purged(
                Self::time(registry, segments.os()),
                done.pages,
                segments.retaken_hint(),
            );
        }
        if in_slabs > 0 {
            self.slack.looked_at_slabs(slabs());
        }
    }

    /// The process has come to one thread, and to slow paths that give memory back: everything free
    /// goes at once, if that did not happen within the last second.
    ///
    /// # Safety
    /// The front is the calling thread's.
    pub(crate) unsafe fn hand_over<O: Os>(
        &self,
        registry: &Registry,
        below: Below<'_, O>,
        front: Front<'_>,
    ) {
        let now = below.segments.os().now_ms();
        if self.plan.is_none() && self.slack.may_hand_over(now) {
            self.collect(registry, below, front, 0);
        } else {
            // SAFETY: the caller's promise.
            unsafe { self.trim(registry, below, front, true) };
        }
    }

    /// The time, and how long the process has run if it has one thread.
    fn time<O: Os>(registry: &Registry, os: &O) -> Time {
        let cpu_ms = if registry.in_use() > 1 { 0 } else { os.cpu_ms() };
        Time { now_ms: os.now_ms(), cpu_ms }
    }

    /// A program that frees and takes nothing needs no blocks in its cache, and no empty slabs.
    fn shed<O: Os>(below: Below<'_, O>, front: Front<'_>) {
        if let Some(cache) = front.cache() {
            // SAFETY: the front is the calling thread's, which is not inside a cache operation.
            unsafe { cache.shed(below) };
        }
        below.central.drain_transfers(below.segments);
        below.central.retire(below.segments);
    }

    /// The chunks of the arena in use.
    fn chunks<O: Os>(below: Below<'_, O>) -> impl Iterator<Item = ChunkIndex> {
        (1..below.segments.arena().frontier().chunk().get()).map(ChunkIndex::new)
    }

    /// Bytes of the holes of all slabs of which they are at least this part.
    fn holes_from<O: Os>(below: Below<'_, O>, part: u32) -> u64 {
        let grain = purge::grain(below.segments.os());
        let bytes = |chunk| Central::holes_from(below.segments, chunk, grain, part);
        Self::chunks(below).map(bytes).sum()
    }

    /// Brings free blocks back into their slabs and purges the holes of all slabs of which they are
    /// at least this part.
    fn purge_holes_from<O: Os>(
        &self,
        registry: &Registry,
        below: Below<'_, O>,
        front: Front<'_>,
        part: u32,
    ) -> Purged {
        self.gather(registry, below, front);
        let grain = purge::grain(below.segments.os());
        let mut done = Purged::default();
        for chunk in Self::chunks(below) {
            if Central::holes_from(below.segments, chunk, grain, part) > 0 {
                done.add(purge::holes(below, &self.purging, chunk));
            }
        }
        self.count_holes(done);
        done
    }

    /// A thread has ended and its cache is back.
    pub(crate) fn thread_ended<O: Os>(&self, below: Below<'_, O>) {
        let Some(budget) = self.plan.as_ref().and_then(|plan| plan.exit) else { return };
        let step = Step { below, purging: &self.purging, counters: &self.counters };
        let os = below.segments.os();
        let done = epoch::timed(os, &self.counters, || step.exit(budget));
        self.count(done);
    }

    /// One tick of the default policy.
    fn default_tick<O: Os>(
        &self,
        registry: &Registry,
        below: Below<'_, O>,
        pace: &mut Pace,
    ) -> Next {
        let found = Self::steal_idle(registry, below, None);
        let unwanted = Self::steal_unwanted(registry, below);
        self.unwanted_bytes.fetch_add(unwanted, Ordering::Relaxed);
        let transfers = below.central.settle_transfers(below.segments);
        let stolen_bytes = found.stolen_bytes + unwanted + transfers.drained_bytes;
        self.stolen_bytes.fetch_add(stolen_bytes, Ordering::Relaxed);
        let retired = below.central.retire(below.segments);
        self.retired_bytes.fetch_add(wide(retired.bytes()), Ordering::Relaxed);
        let busy = found.active > 0;
        let segments = below.segments;
        self.slack.relax(segments.os().now_ms());
        if pace.aging.tick(segments.os().now_ms(), segments.refaulted_pages(), busy) {
            self.age_pages(segments, pace);
            self.purge_quiet_holes(below);
        }
        let work = busy || stolen_bytes > 0 || transfers.left;
        if work || Self::is_aging(segments, pace.stuck_dirty) { Next::Tick } else { Next::Rest }
    }

    /// Empties the caches of threads without a slow path since the last tick. The thread of `own`
    /// is at work here: it is not idle.
    fn steal_idle<O: Os>(
        registry: &Registry,
        below: Below<'_, O>,
        own: Option<&ThreadCache>,
    ) -> Found {
        let mut found = Found { stolen_bytes: 0, active: 0 };
        for cache in registry.iter() {
            if own.is_some_and(|own| core::ptr::eq(own, cache)) {
                continue;
            }
            if cache.was_active() {
                found.active += 1;
            } else if cache.cached_bytes() > 0 {
                // A cache that cannot be emptied, for want of a barrier, is no work left.
                found.stolen_bytes += cache.steal(below).unwrap_or(0);
            }
        }
        found
    }

    /// Empties the other classes of caches whose threads are at work in some. Returns the bytes.
    fn steal_unwanted<O: Os>(registry: &Registry, below: Below<'_, O>) -> u64 {
        registry.iter().filter_map(|cache| cache.steal_unwanted(below)).sum()
    }

    /// Purges what is old and ages the rest.
    fn age_pages<O: Os>(&self, segments: &Segments<O>, pace: &mut Pace) {
        let purged = purge::free_pages(segments, &self.purging, Age::Old, 0);
        segments.age();
        self.count(purged);
        pace.aging.purged(purged.pages);
        let left = segments.dirty_pages();
        let stuck = purged.pages == 0 && left == pace.left_dirty;
        pace.stuck_dirty = if stuck { left } else { 0 };
        pace.left_dirty = left;
    }

    /// Purges the holes of slabs that had no traffic since the last ageing, and lets those that had
    /// some settle.
    fn purge_quiet_holes<O: Os>(&self, below: Below<'_, O>) {
        let mut done = Purged::default();
        for segment in 0..below.segments.segment_count() {
            for chunk in below.segments.tables().settle(segment) {
                done.add(purge::holes(below, &self.purging, chunk));
            }
        }
        self.count_holes(done);
    }

    /// Whether free pages or holes wait for an ageing. Stuck pages do not.
    fn is_aging<O: Os>(segments: &Segments<O>, stuck_dirty: u64) -> bool {
        segments.dirty_pages() > stuck_dirty
            || (0..segments.segment_count()).any(|segment| segments.tables().is_settling(segment))
    }

    /// Before the reclaimer sleeps: closes the caches, whose owners' frees would be hits otherwise and
    /// wake nobody. The policies that are made of epochs count on slow paths alone.
    pub(crate) fn close_caches(&self, registry: &Registry) {
        if self.plan.is_none() {
            registry.iter().for_each(ThreadCache::close);
        }
    }

    /// Whether nothing has happened since the last tick that a tick would have to look at.
    pub(crate) fn is_quiet<O: Os>(&self, registry: &Registry, below: Below<'_, O>) -> bool {
        let segments = below.segments;
        if self.plan.is_some() {
            // Large blocks are freed without a slow path of a cache.
            let done = |pace: &Pace| {
                pace.epochs.queue.len() == 0 && segments.dirty_pages() <= pace.stuck_dirty
            };
            return self.aging.try_lock().is_some_and(|pace| done(&pace))
                && !registry.iter().any(ThreadCache::is_active);
        }
        let stuck = self.aging.try_lock().map_or(0, |pace| pace.stuck_dirty);
        !registry.iter().any(|cache| cache.is_active() || cache.cached_bytes() > 0)
            && !Self::is_aging(segments, stuck)
    }

    fn count(&self, purged: Purged) {
        self.purged_pages.fetch_add(purged.pages, Ordering::Relaxed);
        self.madvise_calls.fetch_add(purged.calls, Ordering::Relaxed);
        self.madvise_refused.fetch_add(purged.refused, Ordering::Relaxed);
    }

    fn count_holes(&self, purged: Purged) {
        self.hole_pages.fetch_add(purged.pages, Ordering::Relaxed);
        self.count(purged);
    }

    /// Adds the pipeline's counters to a report.
    pub(crate) fn report(&self, stats: &mut Stats) {
        let page = wide(PAGE_BYTES);
        self.counters.report(stats);
        stats.ticks = self.ticks.load(Ordering::Relaxed);
        stats.stolen_bytes = self.stolen_bytes.load(Ordering::Relaxed);
        stats.unwanted_bytes = self.unwanted_bytes.load(Ordering::Relaxed);
        stats.retired_bytes = self.retired_bytes.load(Ordering::Relaxed);
        stats.madvise_calls = self.madvise_calls.load(Ordering::Relaxed);
        stats.madvise_refused = self.madvise_refused.load(Ordering::Relaxed);
        stats.purged_bytes = self.purged_pages.load(Ordering::Relaxed) * page;
        stats.hole_bytes = self.hole_pages.load(Ordering::Relaxed) * page;
    }

    /// Waits until no page is off its map for a purge, and keeps it so, for fork.
    pub(crate) fn acquire_all(&self) {
        // A thread that forks in a signal handler, or in a hook of the system call, may be the purger.
        if !held::is_purging() {
            self.purging.acquire();
        }
    }

    /// Releases what [`Reclaim::acquire_all`] took, perhaps in a forked child.
    pub(crate) fn release_all(&self) {
        if !held::is_purging() {
            self.purging.release();
        }
    }

    /// In a forked child: the thread that may have been in a tick is not in this process.
    pub(crate) fn forget_other_threads(&self) {
        if !held::is_ticking() && self.aging.try_lock().is_none() {
            // Its state is plain numbers, whatever the tick had got to.
            self.aging.release();
        }
    }
}
