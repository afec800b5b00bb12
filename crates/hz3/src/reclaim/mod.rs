//! Reclaim: how memory goes back to the system, through the layers from top to bottom.
//!
//! | file | its part |
//! |---|---|
//! | [`entries`] | when: after a slow path, and at the turns of the reclaimer's thread |
//! | [`driver`] | which thread: a state machine |
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
mod entries;
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

use crate::base::units::PAGE_BYTES;
use crate::cache::below::Below;
use crate::options::Config;
use crate::os::Os;
use crate::stats::Stats;
use driver::Driver;
use experiments::Experiment;
use pass::{PageScope, Passes, Scope};
use slack::Slack;
use source::Layers;
use tick::Ticks;

pub(crate) use purge::system_page;
pub(crate) use tick::Next;

/// The state and the counters of reclaim.
#[derive(Debug)]
pub(crate) struct Reclaim {
    driver: Driver,
    ticks: Ticks,
    slack: Slack,
    passes: Passes,
    /// Replaces the default policy, if one is configured.
    experiment: Option<Experiment>,
}

impl Reclaim {
    /// Takes the policy and the limits from the configuration.
    pub(crate) fn new(config: &Config) -> Reclaim {
        Reclaim {
            driver: Driver::new(config),
            ticks: Ticks::new(u64::from(config.tick_ms.get())),
            slack: Slack::new(),
            passes: Passes::new(),
            experiment: Experiment::of(config),
        }
    }

    pub(crate) fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Takes the options from a changed configuration that may change in a running process.
    pub(crate) fn reconfigure(&self, config: &Config) {
        self.driver.reconfigure(config);
    }

    /// Gives everything back until at most `keep` bytes of free pages may hold memory. Holes are
    /// purged only if `keep` is 0. Returns the bytes given back.
    pub(crate) fn collect<O: Os>(&self, layers: Layers<'_, O>, keep: usize) -> usize {
        let pages = self.passes.run(layers, Scope::all_but(keep)).purged_pages();
        usize::try_from(pages).unwrap_or(usize::MAX) * PAGE_BYTES
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
            self.passes.release_under_pressure(layers);
        } else {
            self.passes.run(layers, Scope::EVERY_BLOCK);
        }
    }

    /// As [`Reclaim::make_room`], without emptying other threads' caches.
    pub(crate) fn make_own_room<O: Os>(&self, layers: Layers<'_, O>) {
        let has_limit = layers.segments().limit().bytes().is_some();
        let pages = if has_limit { PageScope::Beyond(0) } else { PageScope::Keep };
        self.passes.run(layers, Scope { pages, ..Scope::OWN_BLOCKS });
    }

    /// Call it after a thread has ended and its cache was released.
    pub(crate) fn thread_ended<O: Os>(&self, below: Below<'_, O>) {
        if let Some(experiment) = &self.experiment {
            experiment.thread_ended(&self.passes, below);
        }
    }

    /// Adds reclaim's counters to a report.
    pub(crate) fn report(&self, stats: &mut Stats) {
        self.ticks.report(stats);
        self.passes.report(stats);
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
        self.passes.purger.acquire();
    }

    /// Releases the locks that [`Reclaim::acquire_all`] took, perhaps in a forked child.
    pub(crate) fn release_all(&self) {
        self.passes.purger.release();
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
