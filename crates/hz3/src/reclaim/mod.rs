//! Reclaim: how memory goes back to the system, through the layers from top to bottom.
//!
//! | file | its part |
//! |---|---|
//! | [`driver`] | when: a state machine, entered after a slow path and by the reclaimer's thread |
//! | [`tick`] | which memory one tick takes, at [`ageing`]'s pace |
//! | [`trim`] | how much may stay free in a process without a reclaimer, by [`slack`]'s bound |
//! | [`pass`] | in which order: one function for every reclaim, limited by a scope |
//! | [`source`] | which memory each layer can release, and the only way to take it |
//! | [`purge`] | the system call |
//! | [`experiments`] | other policies, to compare with; left out without the feature of that name |
//!
//! Nothing here is called from the fast path.

mod ageing;
pub(crate) mod driver;
#[cfg(feature = "experiments")]
mod experiments;
#[cfg(not(feature = "experiments"))]
#[path = "no_experiments.rs"]
mod experiments;
mod pass;
mod purge;
mod slack;
pub(crate) mod source;
#[cfg(test)]
mod tests;
mod tick;
mod trim;

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU64, Ordering};

use crate::base::units::PAGE_BYTES;
use crate::cache::below::Below;
use crate::options::Config;
use crate::os::Os;
use crate::stats::Stats;
use driver::Driver;
use experiments::Experiment;
use pass::{Moved, PageScope, Scope};
use purge::Purger;
use slack::Slack;
use source::Layers;
use tick::Ticks;

pub(crate) use purge::system_page;

/// The state and the counters of reclaim.
#[derive(Debug)]
pub(crate) struct Reclaim {
    driver: Driver,
    ticks: Ticks,
    slack: Slack,
    purger: Purger,
    /// Replaces the default policy, if one is configured.
    experiment: Option<Experiment>,
    stolen_bytes: AtomicU64,
    time_ns: AtomicU64,
}

/// Whether another tick is worthwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another tick may give memory back.
    Tick,
    /// Everything is given back until a thread allocates or frees.
    Rest,
}

impl Reclaim {
    /// Takes the policy and the limits from the configuration.
    pub(crate) fn new(config: &Config) -> Reclaim {
        Reclaim {
            driver: Driver::new(config),
            ticks: Ticks::new(u64::from(config.tick_ms.get())),
            slack: Slack::new(),
            purger: Purger::new(),
            experiment: Experiment::of(config),
            stolen_bytes: AtomicU64::new(0),
            time_ns: AtomicU64::new(0),
        }
    }

    /// Takes the options from a changed configuration that may change in a running process.
    pub(crate) fn reconfigure(&self, config: &Config) {
        self.driver.reconfigure(config);
    }

    /// Gives everything back until at most `keep` bytes of free pages may hold memory. Holes are
    /// purged only if `keep` is 0. Returns the bytes given back.
    pub(crate) fn collect<O: Os>(&self, layers: Layers<'_, O>, keep: usize) -> usize {
        let pages = self.pass(layers, Scope::all_but(keep)).purged_pages();
        usize::try_from(pages).unwrap_or(usize::MAX) * PAGE_BYTES
    }

    /// Empties all caches and gives all free pages back, because the memory limit is near.
    pub(crate) fn release_under_pressure<O: Os>(&self, layers: Layers<'_, O>) {
        self.pass(layers, Scope::PRESSURE);
        let segments = layers.segments();
        segments.limit().note_release(segments.held_bytes());
    }

    /// Gives everything free back, whatever its age, because memory is short outside the heap. A
    /// policy other than the default decides for itself.
    pub(crate) fn release_for_system<O: Os>(&self, layers: Layers<'_, O>) {
        if self.driver.is_off() || self.experiment.is_some() {
            return;
        }
        self.collect(layers, 0);
        let segments = layers.segments();
        segments.limit().note_release(segments.held_bytes());
    }

    /// Makes every free page available because memory is exhausted. If there is a memory limit,
    /// free pages go to the system, because the limit counts them.
    pub(crate) fn make_room<O: Os>(&self, layers: Layers<'_, O>) {
        if layers.segments().limit().bytes().is_some() {
            self.release_under_pressure(layers);
        } else {
            self.pass(layers, Scope::EVERY_BLOCK);
        }
    }

    /// As [`Reclaim::make_room`], without emptying other threads' caches.
    pub(crate) fn make_own_room<O: Os>(&self, layers: Layers<'_, O>) {
        let has_limit = layers.segments().limit().bytes().is_some();
        let pages = if has_limit { PageScope::Beyond(0) } else { PageScope::Keep };
        self.pass(layers, Scope { pages, ..Scope::OWN_BLOCKS });
    }

    /// Call it after a thread has ended and its cache was released.
    pub(crate) fn thread_ended<O: Os>(&self, below: Below<'_, O>) {
        if let Some(experiment) = &self.experiment {
            experiment.thread_ended(self, below);
        }
    }

    /// Runs one pass and counts the stolen bytes.
    fn pass<O: Os>(&self, layers: Layers<'_, O>, scope: Scope) -> Moved {
        let moved = pass::run(layers, &self.purger, scope);
        self.stolen_bytes.fetch_add(moved.stolen_bytes(), Ordering::Relaxed);
        moved
    }

    /// Runs a step and counts its time.
    fn timed<T>(&self, os: &impl Os, step: impl FnOnce() -> T) -> T {
        let start = os.now_ns();
        let result = step();
        self.time_ns.fetch_add(os.now_ns().saturating_sub(start), Ordering::Relaxed);
        result
    }

    /// Adds reclaim's counters to a report.
    pub(crate) fn report(&self, stats: &mut Stats) {
        self.ticks.report(stats);
        self.purger.report(stats);
        stats.stolen_bytes = self.stolen_bytes.load(Ordering::Relaxed);
        stats.time_ns = self.time_ns.load(Ordering::Relaxed);
        if let Some(experiment) = &self.experiment {
            experiment.report(stats);
        }
    }

    /// Writes the lines of an experiment's report, if one is configured.
    pub(crate) fn write_lines(&self, out: &mut impl Write, stats: &Stats) -> fmt::Result {
        self.experiment.as_ref().map_or(Ok(()), |experiment| experiment.write_lines(out, stats))
    }

    /// Waits until no page is off its map for a purge, and prevents further purges, for fork.
    pub(crate) fn acquire_all(&self) {
        self.purger.acquire();
    }

    /// Releases the locks that [`Reclaim::acquire_all`] took, perhaps in a forked child.
    pub(crate) fn release_all(&self) {
        self.purger.release();
    }

    /// In a forked child: forgets the reclaimer and a thread that may have been in a tick.
    pub(crate) fn forget_other_threads(&self) {
        self.driver.forget_thread();
        self.ticks.forget_other_threads();
        if let Some(experiment) = &self.experiment {
            experiment.forget_other_threads();
        }
    }
}
