//! One pass: in what order memory goes back.
//!
//! Always from top to bottom, so that what one layer lets go of is there for the next: thread caches,
//! transfer caches, empty slabs, free pages, holes of part-used slabs. Every reclaim is one of the
//! scopes below.

use super::purge::{Purged, Purger};
use super::source::{Blocks, Layers, Passed, Source};
use crate::os::Os;

/// What a pass takes of each layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) blocks: Blocks,
    pub(super) pages: Pages,
    pub(super) holes: Holes,
}

/// Which free pages a pass purges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pages {
    Stay,
    /// Those that were free at the last ageing already. The others age.
    Old,
    /// Those beyond so many bytes.
    Beyond(usize),
}

/// Which holes of part-used slabs a pass purges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holes {
    Stay,
    /// Those of slabs without traffic since the last ageing. The others age.
    Old,
    /// Those of slabs of which they are at least this part, or of all.
    AtLeast(Option<u32>),
}

impl Scope {
    /// A tick: what no thread used since the last one.
    pub(super) const IDLE: Scope =
        Scope { blocks: Blocks::Idle, pages: Pages::Stay, holes: Holes::Stay };
    /// An ageing, its first half: what was free at the last one already.
    pub(super) const OLD_PAGES: Scope =
        Scope { blocks: Blocks::Stay, pages: Pages::Old, holes: Holes::Stay };
    /// Its second half. Not one scope with the first: a slab that leaves here brings young pages, which
    /// must not count among those that the first half left.
    pub(super) const OLD_HOLES: Scope =
        Scope { blocks: Blocks::Stay, pages: Pages::Stay, holes: Holes::Old };
    /// Memory has ended, and the pages are wanted by this process: nothing goes to the system.
    pub(super) const EVERY_BLOCK: Scope =
        Scope { blocks: Blocks::All, pages: Pages::Stay, holes: Holes::Stay };
    /// The same for a thread that must not disturb the others.
    pub(super) const OWN_BLOCKS: Scope =
        Scope { blocks: Blocks::Own, pages: Pages::Stay, holes: Holes::Stay };
    /// The memory limit is near: all that counts towards it and can go without a look at every slab.
    pub(super) const PRESSURE: Scope =
        Scope { blocks: Blocks::All, pages: Pages::Beyond(0), holes: Holes::Stay };

    /// Everything but `keep` bytes of free pages; holes go only if nothing is kept.
    pub(super) const fn all_but(keep: usize) -> Scope {
        let holes = if keep == 0 { Holes::AtLeast(None) } else { Holes::Stay };
        Scope { blocks: Blocks::All, pages: Pages::Beyond(keep), holes }
    }
}

/// What a pass moved.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moved {
    pub(super) caches: Passed,
    pub(super) transfers: Passed,
    pub(super) slabs: Passed,
    pub(super) pages: Purged,
    pub(super) holes: Purged,
}

impl Moved {
    /// Bytes of blocks that other threads' caches and the transfer caches lost.
    pub(super) fn stolen_bytes(&self) -> u64 {
        self.caches.bytes + self.transfers.bytes
    }

    /// Pages that went to the system.
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
        Pages::Stay => Purged::default(),
        Pages::Old => layers.pages().purge_old(purger),
        Pages::Beyond(keep) => layers.pages().purge(purger, keep),
    };
    moved.holes = match scope.holes {
        Holes::Stay => Purged::default(),
        Holes::Old => layers.holes().purge_old(purger),
        Holes::AtLeast(part) => layers.holes().purge(purger, part),
    };
    moved
}
