//! The entries of reclaim: after a slow path ([`Reclaim::after_slow_path`]), after a thread's end,
//! and the turn of the reclaimer's thread ([`Reclaim::thread_turn`]).
//!
//! The state of [`super::driver`] says which of them does the work. In any state, a slow path that
//! finds the heap near its memory limit releases free memory at once.

use core::sync::atomic::Ordering;

use super::driver::{INLINE, OFF, RUNNING, Turns};
use super::source::{Layers, Source};
use super::{Next, Reclaim};
use crate::cache::{OwnCache, ThreadCache};
use crate::os::Os;

/// Bytes that justify a thread or a tick.
const WORTH_A_TICK: u64 = 8 * 1024 * 1024;
/// If this many bytes could go back, the reclaimer is late or dead, so slow paths check on it.
const OVERDUE: u64 = 4 * WORTH_A_TICK;
/// Slow paths of a thread between two estimates of the memory that could be given back.
const SLOW_PATHS_AN_ESTIMATE: u64 = 64;

impl Reclaim {
    /// Releases memory under pressure, and otherwise reclaims or asks for a reclaimer if enough is
    /// free. Call it after a slow path, with no lock held.
    #[inline]
    pub(crate) fn after_slow_path<O: Os>(&self, layers: Layers<'_, O>) {
        if layers.segments().limit().take_pressure() {
            self.passes.release_under_pressure(layers);
        }
        match self.driver.state_after_post() {
            INLINE => {
                self.reclaim_inline(layers);
                if let Some(own) = layers.own() {
                    own.runs.note_poll(self.driver.present_number());
                }
            }
            RUNNING if may_hold(layers, OVERDUE) => self.driver.end_if_dead(layers.os().now_ms()),
            OFF if layers.own().is_some_and(take_estimate_due) => {
                // With this policy no tick runs, but its time is also that of the statistics page.
                self.driver.take_tick_due(layers.os().now_ms());
            }
            _ => {}
        }
        if let Some(experiment) = &self.experiment
            && layers.own().is_some_and(|own| experiment.take_due(own))
        {
            experiment.tick(&self.passes, layers);
        }
    }

    /// Returns whether [`Reclaim::after_slow_path`] is due after a large block was freed into the
    /// calling thread's cache. It is not due if the cache holds no more than at the last poll. But
    /// large frees also count as the clock of estimates.
    #[inline]
    pub(crate) fn is_poll_due(&self, own: &ThreadCache) -> bool {
        let is_inline = self.driver.state_after_post() == INLINE;
        let number = self.driver.present_number();
        let has_checked = !is_inline || own.runs.is_poll_current(number);
        !has_checked || own.large_frees().is_multiple_of(SLOW_PATHS_AN_ESTIMATE)
    }

    /// As [`Reclaim::after_slow_path`], for a thread that has just given its cache back. Such a
    /// thread may hold locks of the C library, so it starts no thread.
    pub(crate) fn after_thread_end<O: Os>(&self, layers: Layers<'_, O>) {
        match self.driver.state_after_post() {
            INLINE => {
                self.trim_unless_experiment(layers, true);
                self.tick_if_due(layers);
            }
            // A process that is down to one thread rarely starts another. And if it ends with its
            // last thread, the reclaimer must not keep it alive.
            RUNNING if !self.wants_thread(layers) => {
                self.driver.end();
                if self.experiment.is_none() {
                    self.switch_to_inline(layers);
                }
            }
            _ => {}
        }
    }

    /// Runs a turn of the reclaimer's thread, after each sleep. Returns whether the thread
    /// continues.
    pub(crate) fn thread_turn<O: Os>(&self, layers: Layers<'_, O>, turns: &mut Turns) -> bool {
        if !self.driver.begin_turn(turns, || layers.os().now_ms()) {
            return false;
        }
        let next = self.tick(layers);
        let is_alone = turns.note_tick(self.wants_thread(layers));
        !((next == Next::Rest || is_alone) && self.leave(layers, is_alone))
    }

    /// Runs one tick of the default policy, or one epoch of an experiment.
    pub(crate) fn tick<O: Os>(&self, layers: Layers<'_, O>) -> Next {
        match &self.experiment {
            None => self.ticks.run(layers, &self.passes, &self.slack, self.driver.tick_ms()),
            Some(experiment) => experiment.tick(&self.passes, layers),
        }
    }

    /// Reclaims on the calling thread, or asks for the reclaimer's thread if the process may have
    /// one.
    #[cold]
    fn reclaim_inline<O: Os>(&self, layers: Layers<'_, O>) {
        let is_due = layers.own().is_some_and(take_estimate_due);
        if !self.wants_thread(layers) {
            self.trim_unless_experiment(layers, is_due);
            if is_due || layers.pages().releasable_bytes() >= WORTH_A_TICK {
                self.tick_if_due(layers);
            }
            return;
        }
        // The free pages do not yet include freed large blocks that the thread's cache keeps.
        let worth = WORTH_A_TICK.saturating_sub(layers.own().map_or(0, |own| own.runs.bytes()));
        // Free pages, and memory that caches may come to hold, count at once: a program may free
        // ten large blocks and then nothing more, and a free that a cache serves checks nothing.
        // Free bytes in slabs are estimated only now and then.
        let is_worth = may_hold(layers, worth)
            || (is_due
                && (can_release(layers, WORTH_A_TICK)
                    || self.driver.has_rested_too_long(|| layers.os().now_ms())));
        if is_worth && self.driver.ask_for_thread() {
            // No thread could start it since the last slow path.
            self.trim_unless_experiment(layers, is_due);
            self.tick_if_due(layers);
        }
    }

    /// Trims, unless an experiment decides what stays free.
    fn trim_unless_experiment<O: Os>(&self, layers: Layers<'_, O>, counts_slabs: bool) {
        if self.experiment.is_none() {
            self.trim(layers, counts_slabs);
        }
    }

    fn wants_thread<O: Os>(&self, layers: Layers<'_, O>) -> bool {
        self.driver.wants_thread(layers.registry.in_use())
    }

    fn tick_if_due<O: Os>(&self, layers: Layers<'_, O>) {
        // The thread that moves the deadline does the work.
        if self.driver.take_tick_due(layers.os().now_ms()) {
            self.tick(layers);
        }
    }

    /// Ends the reclaimer's work, unless work is left that no other thread may notice.
    fn leave<O: Os>(&self, layers: Layers<'_, O>, is_alone: bool) -> bool {
        if !is_alone && self.experiment.is_none() {
            // The next free of every cached class must run a slow path; a hit would ask for no
            // reclaimer. The experiments rely on slow paths alone.
            layers.registry.iter().for_each(ThreadCache::arm_slow_paths);
        }
        let is_quiet = || is_alone || self.is_quiet(layers);
        self.driver.leave(|| layers.os().barrier(), is_quiet)
    }

    /// Returns whether a tick, or an epoch of an experiment, would find nothing to do.
    pub(super) fn is_quiet<O: Os>(&self, layers: Layers<'_, O>) -> bool {
        match &self.experiment {
            None => self.ticks.is_settled(layers),
            Some(experiment) => experiment.is_quiet(layers),
        }
    }
}

/// Returns whether a thread has run enough slow paths since its last estimate; if so, counts anew.
///
/// Slow paths and large frees are the clock, because every program moves it.
fn take_estimate_due(own: OwnCache<'_>) -> bool {
    let slow_paths = own.slow_paths() + own.large_frees();
    own.counts.take_estimate_due(slow_paths, SLOW_PATHS_AN_ESTIMATE)
}

/// Returns whether at least `bytes` could go back to the system, now or after frees that only
/// caches see. A hint that costs a few loads. Free bytes in slabs are not counted.
fn may_hold<O: Os>(layers: Layers<'_, O>, bytes: u64) -> bool {
    // The caches may hold as much as they were granted, but no more than is in use.
    let granted = layers.registry.granted().load(Ordering::Relaxed);
    let cached = granted.min(layers.segments().account().active_bytes());
    layers.pages().releasable_bytes() + cached >= bytes
}

/// Returns whether the layers could release at least `bytes`. All of that is dirty or in use, so a
/// small heap needs two loads. Otherwise it takes time in proportion to the number of caches.
fn can_release<O: Os>(layers: Layers<'_, O>, bytes: u64) -> bool {
    let dirty = layers.pages().releasable_bytes();
    let in_use = || {
        layers.slabs().releasable_bytes()
            + layers.transfers().releasable_bytes()
            + layers.caches().releasable_bytes()
    };
    dirty + layers.segments().account().active_bytes() >= bytes && dirty + in_use() >= bytes
}
