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
use super::pass::Scope;
use super::source::Layers;
use super::{Next, Reclaim};
use crate::cache::ThreadCache;
use crate::os::lock::Lock;
use crate::os::{Os, held, rank};
use crate::stats::Stats;

/// The pace of the ticks, and counters of their work.
#[derive(Debug)]
pub(super) struct Ticks {
    pace: Lock<Pace, { rank::AGEING }>,
    count: AtomicU64,
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
            count: AtomicU64::new(0),
            idle_class_bytes: AtomicU64::new(0),
            retired_bytes: AtomicU64::new(0),
        }
    }

    /// Takes the lock that ticks and trims hold; `None` while another thread holds it.
    pub(super) fn try_begin(&self) -> Option<crate::os::lock::Guard<'_, Pace, { rank::AGEING }>> {
        self.pace.try_lock()
    }

    pub(super) fn report(&self, stats: &mut Stats) {
        stats.ticks = self.count.load(Ordering::Relaxed);
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
}

impl Reclaim {
    /// Runs one tick. Does nothing while another thread runs one.
    pub(super) fn default_tick<O: Os>(&self, layers: Layers<'_, O>) -> Next {
        let Some(mut pace) = self.ticks.try_begin() else { return Next::Tick };
        self.begin_tick(layers);
        self.timed(layers.os(), || self.tick_at_pace(layers, &mut pace))
    }

    /// Counts a tick. Near the memory limit it releases all free memory, whatever its age.
    pub(super) fn begin_tick<O: Os>(&self, layers: Layers<'_, O>) {
        self.ticks.count.fetch_add(1, Ordering::Relaxed);
        let segments = layers.segments();
        if segments.limit().is_near(segments.held_bytes()) {
            self.release_under_pressure(layers);
        }
    }

    fn tick_at_pace<O: Os>(&self, layers: Layers<'_, O>, pace: &mut Pace) -> Next {
        let moved = self.pass(layers, Scope::IDLE);
        self.ticks.idle_class_bytes.fetch_add(moved.caches.idle_class_bytes, Ordering::Relaxed);
        self.ticks.retired_bytes.fetch_add(moved.slabs.bytes, Ordering::Relaxed);
        let is_busy = moved.caches.is_active;
        let now_ms = layers.os().now_ms();
        self.slack.lower_after_quiet(now_ms);
        pace.ageing.set_tick_ms(u64::from(self.driver.tick_ms()));
        if pace.ageing.tick(now_ms, layers.segments().refaulted_pages(), is_busy) {
            self.age(layers, pace);
        }
        let work = is_busy || moved.stolen_bytes() > 0 || moved.transfers.is_active;
        if work || Self::is_ageing(layers, pace.stuck_dirty) { Next::Tick } else { Next::Rest }
    }

    /// Purges old pages and holes, and ages the others.
    fn age<O: Os>(&self, layers: Layers<'_, O>, pace: &mut Pace) {
        let purged = self.pass(layers, Scope::OLD_PAGES).purged_pages();
        pace.ageing.note_purge(purged);
        let left = layers.segments().dirty_pages();
        let is_stuck = purged == 0 && left == pace.left_dirty;
        pace.stuck_dirty = if is_stuck { left } else { 0 };
        pace.left_dirty = left;
        self.pass(layers, Scope::OLD_HOLES);
    }

    /// Returns whether free pages or holes wait for an ageing. Stuck pages do not count.
    fn is_ageing<O: Os>(layers: Layers<'_, O>, stuck_dirty: u64) -> bool {
        layers.segments().dirty_pages() > stuck_dirty || layers.holes().are_ageing()
    }

    /// Returns whether a tick would find nothing to do.
    pub(super) fn is_settled<O: Os>(&self, layers: Layers<'_, O>) -> bool {
        let stuck = self.ticks.pace.try_lock().map_or(0, |pace| pace.stuck_dirty);
        let has_blocks = |cache: &ThreadCache| cache.is_active() || cache.cached_bytes() > 0;
        !layers.registry.iter().any(has_blocks) && !Self::is_ageing(layers, stuck)
    }
}
