//! One pass: the order in which memory goes back.
//!
//! A pass always runs from top to bottom, so that memory that one layer releases is there for the
//! next: thread caches, transfer caches, empty slabs, free pages, holes of part-used slabs. Every
//! reclaim is one of the scopes below.

use core::sync::atomic::{AtomicU64, Ordering};

use super::purge::{Purged, Purger};
use super::source::{BlockScope, Layers, Released, Source};
use crate::os::Os;
use crate::stats::Stats;

/// Selects which memory of each layer a pass takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) blocks: BlockScope,
    pub(super) pages: PageScope,
    pub(super) holes: HoleScope,
}

/// Selects the free pages that a pass purges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageScope {
    Keep,
    /// Pages that were already free at the last ageing. The others age.
    Old,
    /// All beyond this many bytes.
    Beyond(usize),
}

/// Selects the holes of part-used slabs that a pass purges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HoleScope {
    Keep,
    /// Holes of slabs without traffic since the last ageing. The others age.
    Old,
    /// Holes of slabs in which at least one page in so many is in a hole; `None`: of all slabs.
    OneIn(Option<u32>),
}

impl Scope {
    /// A tick: memory that no thread used since the last one.
    pub(super) const IDLE: Scope =
        Scope { blocks: BlockScope::Idle, pages: PageScope::Keep, holes: HoleScope::Keep };
    /// The first half of an ageing: pages that were already free at the last one.
    pub(super) const OLD_PAGES: Scope =
        Scope { blocks: BlockScope::Keep, pages: PageScope::Old, holes: HoleScope::Keep };
    /// The second half of an ageing. It is a scope of its own because a slab that is retired here
    /// brings young pages, which must not count among those that the first half left.
    pub(super) const OLD_HOLES: Scope =
        Scope { blocks: BlockScope::Keep, pages: PageScope::Keep, holes: HoleScope::Old };
    /// Memory is exhausted. The process needs the pages itself, so none goes to the system.
    pub(super) const EVERY_BLOCK: Scope =
        Scope { blocks: BlockScope::All, pages: PageScope::Keep, holes: HoleScope::Keep };
    /// The same without disturbing other threads.
    pub(super) const OWN_BLOCKS: Scope =
        Scope { blocks: BlockScope::Own, pages: PageScope::Keep, holes: HoleScope::Keep };
    /// The memory limit is near: all that counts towards it and can go without a scan of every
    /// slab.
    pub(super) const PRESSURE: Scope =
        Scope { blocks: BlockScope::All, pages: PageScope::Beyond(0), holes: HoleScope::Keep };

    /// Returns everything but `keep` bytes of free pages. Holes go only if `keep` is 0.
    pub(super) const fn all_but(keep: usize) -> Scope {
        let holes = if keep == 0 { HoleScope::OneIn(None) } else { HoleScope::Keep };
        Scope { blocks: BlockScope::All, pages: PageScope::Beyond(keep), holes }
    }
}

/// Amounts that a pass moved.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moved {
    pub(super) caches: Released,
    pub(super) transfers: Released,
    pub(super) slabs: Released,
    pub(super) pages: Purged,
    pub(super) holes: Purged,
}

impl Moved {
    /// Returns the bytes of blocks taken from other threads' caches and from the transfer caches.
    pub(super) fn stolen_bytes(&self) -> u64 {
        self.caches.bytes + self.transfers.bytes
    }

    /// Returns the number of pages that went to the system.
    pub(super) fn purged_pages(&self) -> u64 {
        self.pages.pages + self.holes.pages
    }
}

/// The passes of a process: the purger that they share, and counters of their work.
#[derive(Debug)]
pub(super) struct Passes {
    pub(super) purger: Purger,
    ticks: AtomicU64,
    stolen_bytes: AtomicU64,
    time_ns: AtomicU64,
}

impl Passes {
    pub(super) const fn new() -> Passes {
        Passes {
            purger: Purger::new(),
            ticks: AtomicU64::new(0),
            stolen_bytes: AtomicU64::new(0),
            time_ns: AtomicU64::new(0),
        }
    }

    /// Runs one pass and counts the stolen bytes.
    pub(super) fn run<O: Os>(&self, layers: Layers<'_, O>, scope: Scope) -> Moved {
        let moved = run(layers, &self.purger, scope);
        self.count_stolen(moved.stolen_bytes());
        moved
    }

    /// Empties all caches and gives all free pages back, because the memory limit is near.
    pub(super) fn release_under_pressure<O: Os>(&self, layers: Layers<'_, O>) {
        self.run(layers, Scope::PRESSURE);
        let segments = layers.segments();
        segments.limit().note_release(segments.held_bytes());
    }

    /// Counts a tick. Near the memory limit it releases all free memory, whatever its age.
    pub(super) fn begin_tick<O: Os>(&self, layers: Layers<'_, O>) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
        let segments = layers.segments();
        if segments.limit().is_near(segments.held_bytes()) {
            self.release_under_pressure(layers);
        }
    }

    /// Runs a step and counts its time.
    pub(super) fn timed<T>(&self, os: &impl Os, step: impl FnOnce() -> T) -> T {
        let start = os.now_ns();
        let result = step();
        self.time_ns.fetch_add(os.now_ns().saturating_sub(start), Ordering::Relaxed);
        result
    }

    /// Counts bytes taken from other threads' caches and from the transfer caches.
    pub(super) fn count_stolen(&self, bytes: u64) {
        self.stolen_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Adds the counters to a report.
    pub(super) fn report(&self, stats: &mut Stats) {
        self.purger.report(stats);
        stats.ticks = self.ticks.load(Ordering::Relaxed);
        stats.stolen_bytes = self.stolen_bytes.load(Ordering::Relaxed);
        stats.time_ns = self.time_ns.load(Ordering::Relaxed);
    }
}

/// Runs one pass.
pub(super) fn run<O: Os>(layers: Layers<'_, O>, purger: &Purger, scope: Scope) -> Moved {
    let mut moved = Moved {
        caches: layers.caches().release(scope.blocks),
        transfers: layers.transfers().release(scope.blocks),
        slabs: layers.slabs().release(scope.blocks),
        ..Moved::default()
    };
    moved.pages = match scope.pages {
        PageScope::Keep => Purged::default(),
        PageScope::Old => layers.pages().purge_old(purger),
        PageScope::Beyond(keep) => layers.pages().purge(purger, keep),
    };
    moved.holes = match scope.holes {
        HoleScope::Keep => Purged::default(),
        HoleScope::Old => layers.holes().purge_old(purger),
        HoleScope::OneIn(one_in) => layers.holes().purge(purger, one_in),
    };
    moved
}
