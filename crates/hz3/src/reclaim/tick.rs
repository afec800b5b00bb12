//! One tick of the default policy: unused memory moves down a layer, and old free pages go to the
//! system.
//!
//! | step | a tick takes |
//! |---|---|
//! | caches | those without a slow path since the last tick; of others, the classes without one |
//! | slabs | all empty ones |
//! | pages | old ones (see [`super::ageing`]) |
//! | holes | those of slabs without traffic since the last ageing |

use core::sync::atomic::{AtomicU64, Ordering};

use super::ageing::Ageing;
use super::pass::{Passes, Scope};
use super::slack::Slack;
use super::source::Layers;
use crate::cache::ThreadCache;
use crate::os::lock::{Guard, Lock};
use crate::os::{Os, held, rank};
use crate::stats::Stats;

/// Whether another tick is worthwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another tick may give memory back.
    Tick,
    /// Everything is given back until a thread allocates or frees.
    Rest,
}

/// The pace of the ticks, and counters of their work.
#[derive(Debug)]
pub(super) struct Ticks {
    pace: Lock<Pace, { rank::AGEING }>,
    idle_class_bytes: AtomicU64,
    retired_bytes: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Pace {
    ageing: Ageing,
    /// Free dirty pages that the last ageing left.
    left_dirty: u64,
    /// Free dirty pages that cannot be given back and are no reason for another tick. The system
    /// refused them, or they are parts of larger system pages.
    stuck_dirty: u64,
}

impl Ticks {
    /// Takes the time between two ticks while there is work, in milliseconds.
    pub(super) const fn new(tick_ms: u64) -> Ticks {
        Ticks {
            pace: Lock::new(Pace { ageing: Ageing::new(tick_ms), left_dirty: 0, stuck_dirty: 0 }),
            idle_class_bytes: AtomicU64::new(0),
            retired_bytes: AtomicU64::new(0),
        }
    }

    /// Takes the lock that ticks and trims hold; `None` while another thread holds it.
    pub(super) fn try_begin(&self) -> Option<Guard<'_, Pace, { rank::AGEING }>> {
        self.pace.try_lock()
    }

    pub(super) fn report(&self, stats: &mut Stats) {
        stats.idle_class_bytes = self.idle_class_bytes.load(Ordering::Relaxed);
        stats.retired_bytes = self.retired_bytes.load(Ordering::Relaxed);
    }

    /// In a forked child: the thread that may have been in a tick is not in this process.
    pub(super) fn forget_other_threads(&self) {
        if !held::is_ticking() && self.pace.try_lock().is_none() {
            // The state is plain numbers, valid at any point of an interrupted tick.
            self.pace.release();
        }
    }

    /// Runs one tick. Does nothing while another thread runs one.
    pub(super) fn run<O: Os>(
        &self,
        layers: Layers<'_, O>,
        passes: &Passes,
        slack: &Slack,
        tick_ms: u32,
    ) -> Next {
        let Some(mut pace) = self.try_begin() else { return Next::Tick };
        passes.begin_tick(layers);
        passes.timed(layers.os(), || {
            let moved = passes.run(layers, Scope::IDLE);
            self.idle_class_bytes.fetch_add(moved.caches.idle_class_bytes, Ordering::Relaxed);
            self.retired_bytes.fetch_add(moved.slabs.bytes, Ordering::Relaxed);
            let is_busy = moved.caches.is_active;
            let now_ms = layers.os().now_ms();
            slack.lower_after_quiet(now_ms);
            pace.ageing.set_tick_ms(u64::from(tick_ms));
            if pace.ageing.tick(now_ms, layers.segments().refaulted_pages(), is_busy) {
                pace.age(layers, passes);
            }
            let work = is_busy || moved.stolen_bytes() > 0 || moved.transfers.is_active;
            if work || is_ageing(layers, pace.stuck_dirty) { Next::Tick } else { Next::Rest }
        })
    }

    /// Returns whether a tick would find nothing to do.
    pub(super) fn is_settled<O: Os>(&self, layers: Layers<'_, O>) -> bool {
        let stuck = self.pace.try_lock().map_or(0, |pace| pace.stuck_dirty);
        let has_blocks = |cache: &ThreadCache| cache.is_active() || cache.cached_bytes() > 0;
        !layers.registry.iter().any(has_blocks) && !is_ageing(layers, stuck)
    }
}

impl Pace {
    /// Purges old pages and holes, and ages the others.
    fn age<O: Os>(&mut self, layers: Layers<'_, O>, passes: &Passes) {
        let purged = passes.run(layers, Scope::OLD_PAGES).purged_pages();
        self.ageing.note_purge(purged);
        let left = layers.segments().dirty_pages();
        let is_stuck = purged == 0 && left == self.left_dirty;
        self.stuck_dirty = if is_stuck { left } else { 0 };
        self.left_dirty = left;
        passes.run(layers, Scope::OLD_HOLES);
    }
}

/// Returns whether free pages or holes wait for an ageing. Stuck pages do not count.
fn is_ageing<O: Os>(layers: Layers<'_, O>, stuck_dirty: u64) -> bool {
    layers.segments().dirty_pages() > stuck_dirty || layers.holes().are_ageing()
}
