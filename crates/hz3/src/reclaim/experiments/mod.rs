//! The experiments: reclaim policies made of epochs, with one mechanism each, to compare the
//! default with.
//!
//! They rebuild experiments of the C hz3 that this project reimplements;
//! `docs/experiments/README.md` describes them. An epoch comes after a number of slow paths of a
//! thread, at every tick, and on request. Nothing outside this folder knows what an epoch does:
//! [`super::entries`] asks whether there is an experiment, and lets it run instead of the default
//! policy.

mod counters;
mod epoch;
mod log;
mod plan;
mod queue;
mod ranges;

use core::fmt::{self, Write};

use super::pass::Passes;
use super::source::Layers;
use super::tick::Next;
use crate::cache::below::Below;
use crate::cache::{OwnCache, ThreadCache};
use crate::options::{Config, Policy};
use crate::os::lock::Lock;
use crate::os::{Os, held, rank};
use crate::stats::Stats;
use counters::Counters;
use epoch::{Epochs, Step};
use plan::Plan;

/// A policy made of epochs, with its state.
#[derive(Debug)]
pub(super) struct Experiment {
    policy: Policy,
    plan: Plan,
    epochs: &'static Lock<Epochs, { rank::AGEING }>,
    counters: Counters,
}

/// Returns the room for the epochs' state, which is long. It lies apart from the heap, because few
/// processes need it and every process would touch its pages. A process has one heap.
#[cfg(not(test))]
fn room_for_epochs() -> &'static Lock<Epochs, { rank::AGEING }> {
    static EPOCHS: Lock<Epochs, { rank::AGEING }> = Lock::new(Epochs::new());
    &EPOCHS
}

/// As above, for a test's heap.
#[cfg(test)]
fn room_for_epochs() -> &'static Lock<Epochs, { rank::AGEING }> {
    std::boxed::Box::leak(std::boxed::Box::new(Lock::new(Epochs::new())))
}

impl Experiment {
    /// Returns the configured experiment; `None` if the policy is none.
    pub(super) fn of(config: &Config) -> Option<Experiment> {
        let plan = Plan::of(config.policy, &config.limits)?;
        let policy = config.policy;
        Some(Experiment { policy, plan, epochs: room_for_epochs(), counters: Counters::new() })
    }

    /// Returns whether the thread has run enough slow paths for an epoch; if so, counts anew.
    pub(super) fn take_due(&self, own: OwnCache<'_>) -> bool {
        let interval = u64::from(self.plan.interval);
        interval > 0 && own.counts.take_epoch_due(own.slow_paths(), interval)
    }

    /// Runs one epoch. Does nothing while another thread runs one.
    pub(super) fn tick<O: Os>(&self, passes: &Passes, layers: Layers<'_, O>) -> Next {
        let Some(mut epochs) = self.epochs.try_lock() else { return Next::Tick };
        passes.begin_tick(layers);
        passes.timed(layers.os(), || {
            let next = self.epoch(passes, layers, &mut epochs);
            epochs.left_dirty = layers.segments().dirty_pages();
            next
        })
    }

    fn epoch<O: Os>(&self, passes: &Passes, layers: Layers<'_, O>, epochs: &mut Epochs) -> Next {
        let Experiment { plan, counters, .. } = self;
        epochs.number += 1;
        counters.epochs.add(1);
        if let Some(own) = layers.own() {
            self.shrink(own, layers.below);
        }
        // Without these, no thread would empty the caches of idle threads.
        let shrinks_caches = plan.decay.is_some() || plan.dump_blocks > 0;
        let (is_active, stolen) = if shrinks_caches {
            let idle = layers.caches().release_of_idle_threads();
            let tick = layers.below.transfers.drain_unwanted(layers.central(), layers.segments());
            (idle.is_active, idle.bytes + tick.drained_bytes)
        } else {
            (was_any_active(layers), 0)
        };
        passes.count_stolen(stolen);
        let step = Step { below: layers.below, purger: &passes.purger, counters };
        let done = step.run(plan, epochs);
        let work = is_active || stolen > 0 || done.pages > 0 || epochs.queue.len() > 0;
        if work { Next::Tick } else { Next::Rest }
    }

    /// S58, S64: the calling thread's cache gives blocks up.
    fn shrink<O: Os>(&self, own: OwnCache<'_>, below: Below<'_, O>) {
        let Experiment { plan, counters, .. } = self;
        if let Some(rules) = &plan.decay {
            let done = own.decay(below, rules.overages, rules.blocks);
            counters.decay_epochs.add(1);
            counters.decay_shrinks.add(done.shrinks);
            counters.decay_returns.add(u64::from(done.blocks > 0));
            counters.decayed_blocks.add(done.blocks);
        }
        if plan.dump_blocks > 0 {
            let blocks = own.dump(below, plan.dump_blocks);
            counters.dumps.add(1);
            counters.dump_stops.add(u64::from(blocks == u64::from(plan.dump_blocks)));
            counters.dumped_blocks.add(blocks);
        }
    }

    /// A thread has ended and its cache is back.
    pub(super) fn thread_ended<O: Os>(&self, passes: &Passes, below: Below<'_, O>) {
        let Some(budget) = self.plan.exit else { return };
        let step = Step { below, purger: &passes.purger, counters: &self.counters };
        passes.timed(below.segments.os(), || step.exit(budget));
    }

    /// Returns whether an epoch would find nothing to do.
    pub(super) fn is_quiet<O: Os>(&self, layers: Layers<'_, O>) -> bool {
        // Large blocks are freed without a slow path of a cache.
        let done = |epochs: &Epochs| {
            epochs.queue.len() == 0 && layers.segments().dirty_pages() <= epochs.left_dirty
        };
        self.epochs.try_lock().is_some_and(|epochs| done(&epochs))
            && !layers.registry.iter().any(ThreadCache::is_active)
    }

    /// Adds its counters to a report.
    pub(super) fn report(&self, stats: &mut Stats) {
        self.counters.report(stats);
    }

    /// Writes the lines of its mechanisms.
    pub(super) fn write_lines(&self, out: &mut impl Write, stats: &Stats) -> fmt::Result {
        log::lines(out, stats, self.policy)
    }

    /// In a forked child: the thread that may have been in an epoch is not in this process.
    pub(super) fn forget_other_threads(&self) {
        if !held::is_ticking() && self.epochs.try_lock().is_none() {
            // The state is plain numbers, valid at any point of an interrupted epoch.
            self.epochs.release();
        }
    }
}

/// Returns whether a thread ran a slow path since the last epoch, and resets the mark of every
/// cache.
fn was_any_active<O: Os>(layers: Layers<'_, O>) -> bool {
    layers.registry.iter().filter(|cache| cache.take_activity()).count() > 0
}
