//! One pass: the order in which memory goes back.
//!
//! A pass always runs from top to bottom, so that memory that one layer releases is there for the
//! next: thread caches, transfer caches, empty slabs, free pages, holes of part-used slabs. Every
//! reclaim is one of the scopes below.

use super::purge::{Purged, Purger};
use super::source::{BlockScope, Layers, Released, Source};
use crate::os::Os;

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
