//! The list of slabs that have blocks again which their bin does not count yet; see `scattered`.

use crate::base::units::ChunkIndex;

/// The most slabs in the list.
pub(super) const MAX_VISITS: usize = 128;

/// A slab that blocks have come back to, and that its bin does not know of yet.
#[derive(Clone, Copy)]
pub(super) struct Visit {
    /// The slab's first chunk.
    pub(super) slab: ChunkIndex,
    /// How many free blocks the slab had before.
    pub(super) before: u32,
}

/// The slabs of one bin that wait for their visit. Each is marked as unsettled
/// (`Slab::is_unsettled`).
pub(super) struct Visits {
    slabs: [Visit; MAX_VISITS],
    count: usize,
}

impl Visits {
    pub(super) fn new() -> Visits {
        Visits { slabs: [Visit { slab: ChunkIndex::new(0), before: 0 }; MAX_VISITS], count: 0 }
    }

    /// Adds a slab. There must be room; see [`Visits::is_full`].
    pub(super) fn add(&mut self, slab: ChunkIndex, before: u32) {
        self.slabs[self.count] = Visit { slab, before };
        self.count += 1;
    }

    pub(super) fn is_full(&self) -> bool {
        self.count == MAX_VISITS
    }

    /// Returns the visits, and forgets them.
    pub(super) fn drain(&mut self) -> &[Visit] {
        let count = core::mem::take(&mut self.count);
        &self.slabs[..count]
    }
}
