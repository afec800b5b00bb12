//! The sources: which free memory each layer holds, and how reclaim takes it. Reclaim reaches the
//! layers only through this file.
//!
//! | source | [`BlockScope::Idle`] | [`BlockScope::All`] | where it goes |
//! |---|---|---|---|
//! | [`CacheSource`] | idle caches; idle classes of the others | every block | slabs |
//! | [`TransferSource`] | blocks that no refill took since the last tick | every block | slabs |
//! | [`SlabSource`] | every empty slab | every empty slab | free pages |
//!
//! Free pages and holes are the last two steps; they go to the system through
//! [`super::purge::Purger`].

use super::purge::{Purged, Purger, system_page};
use crate::base::units::{ChunkIndex, to_u64};
use crate::cache::below::Below;
use crate::cache::registry::Registry;
use crate::cache::{Front, OwnCache};
use crate::central::Central;
use crate::os::Os;
use crate::segment::Segments;
use crate::segment::meta::Age;

/// Selects the free blocks that a pass moves down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockScope {
    /// None: the pass begins at the free pages.
    Keep,
    /// Blocks of the calling thread's cache.
    Own,
    /// Blocks above the first capacity of the calling thread's cache, and all in transfer caches.
    /// For a program that only frees.
    Surplus,
    /// Blocks that no thread used since the last tick.
    Idle,
    /// Every free block.
    All,
}

/// The memory that a source passed down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Released {
    /// Bytes taken from other threads, or of slabs.
    pub(crate) bytes: u64,
    /// The part of `bytes` in idle classes of threads that are active in other classes.
    pub(crate) idle_class_bytes: u64,
    /// Whether more may come at a later tick: threads are active, or blocks still wait.
    pub(crate) is_active: bool,
}

/// A layer that holds free memory.
pub(crate) trait Source {
    /// Returns the bytes that the layer could pass down; a hint.
    fn releasable_bytes(&self) -> u64;

    /// Passes memory down to the next layer.
    fn release(&self, blocks: BlockScope) -> Released;
}

/// The layers, from the calling thread's cache down to the free pages.
pub(crate) struct Layers<'a, O> {
    pub(crate) registry: &'a Registry,
    pub(crate) below: Below<'a, O>,
    pub(super) front: Front<'a>,
}

impl<O> Clone for Layers<'_, O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O> Copy for Layers<'_, O> {}

impl<'a, O: Os> Layers<'a, O> {
    pub(crate) fn new(
        registry: &'a Registry,
        below: Below<'a, O>,
        front: Front<'a>,
    ) -> Layers<'a, O> {
        Layers { registry, below, front }
    }

    /// Returns the calling thread's cache, if it has one.
    pub(super) fn own(self) -> Option<OwnCache<'a>> {
        self.front.cache()
    }

    pub(super) fn segments(self) -> &'a Segments<O> {
        self.below.segments
    }

    pub(super) fn central(self) -> &'a Central {
        self.below.central
    }

    pub(super) fn os(self) -> &'a O {
        self.below.segments.os()
    }

    /// Returns the sources of blocks, in the order of a pass.
    pub(super) fn caches(self) -> CacheSource<'a, O> {
        CacheSource(self)
    }

    pub(super) fn transfers(self) -> TransferSource<'a, O> {
        TransferSource(self)
    }

    pub(super) fn slabs(self) -> SlabSource<'a, O> {
        SlabSource(self)
    }

    pub(super) fn pages(self) -> PageSource<'a, O> {
        PageSource(self.below.segments)
    }

    pub(super) fn holes(self) -> HoleSource<'a, O> {
        HoleSource(self.below)
    }
}

/// The thread caches.
pub(super) struct CacheSource<'a, O>(Layers<'a, O>);

impl<O: Os> CacheSource<'_, O> {
    /// Empties the caches of threads without a slow path since the last tick. The calling thread is
    /// active, so its own cache is not one of them.
    #[cfg(feature = "experiments")]
    pub(super) fn release_of_idle_threads(&self) -> Released {
        let Layers { registry, below, .. } = self.0;
        let idle = registry.steal_idle(below, self.0.own());
        Released { bytes: idle.bytes, idle_class_bytes: 0, is_active: idle.active > 0 }
    }
}

impl<O: Os> Source for CacheSource<'_, O> {
    fn releasable_bytes(&self) -> u64 {
        self.0.registry.cached_bytes()
    }

    fn release(&self, blocks: BlockScope) -> Released {
        let Layers { registry, below, .. } = self.0;
        let own = self.0.own();
        match blocks {
            BlockScope::Keep => Released::default(),
            BlockScope::Own => {
                if let Some(own) = own {
                    own.drain(below);
                }
                Released::default()
            }
            BlockScope::Surplus => {
                if let Some(own) = own {
                    own.shrink_to_initial(below);
                }
                Released::default()
            }
            BlockScope::Idle => {
                let idle = registry.steal_idle(below, None);
                let idle_class_bytes = registry.steal_idle_classes(below);
                let bytes = idle.bytes + idle_class_bytes;
                Released { bytes, idle_class_bytes, is_active: idle.active > 0 }
            }
            BlockScope::All => {
                self.release(BlockScope::Own);
                let bytes = registry.steal_all_but(own, below);
                Released { bytes, ..Released::default() }
            }
        }
    }
}

/// The transfer caches.
pub(super) struct TransferSource<'a, O>(Layers<'a, O>);

impl<O: Os> Source for TransferSource<'_, O> {
    fn releasable_bytes(&self) -> u64 {
        self.0.below.transfers.waiting_bytes()
    }

    fn release(&self, blocks: BlockScope) -> Released {
        let Below { transfers, central, segments, .. } = self.0.below;
        match blocks {
            BlockScope::Keep | BlockScope::Own => Released::default(),
            BlockScope::Idle => {
                let tick = transfers.drain_unwanted(central, segments);
                let bytes = tick.drained_bytes;
                Released { bytes, is_active: tick.left, ..Released::default() }
            }
            BlockScope::Surplus | BlockScope::All => {
                let bytes = transfers.drain_all(central, segments);
                Released { bytes, ..Released::default() }
            }
        }
    }
}

/// The slabs, of which the empty ones leave.
pub(super) struct SlabSource<'a, O>(Layers<'a, O>);

impl<O: Os> Source for SlabSource<'_, O> {
    fn releasable_bytes(&self) -> u64 {
        self.0.central().free_bytes_hint()
    }

    fn release(&self, blocks: BlockScope) -> Released {
        if blocks == BlockScope::Keep {
            return Released::default();
        }
        let retired = self.0.central().retire(self.0.segments());
        Released { bytes: to_u64(retired.bytes()), ..Released::default() }
    }
}

/// The free pages, which go to the system.
pub(super) struct PageSource<'a, O>(&'a Segments<O>);

impl<O: Os> PageSource<'_, O> {
    /// Returns the bytes of free pages that may hold memory; a hint.
    pub(super) fn releasable_bytes(&self) -> u64 {
        self.0.account().dirty_bytes()
    }

    /// Purges until at most `keep` bytes of free pages may hold memory.
    pub(super) fn purge(&self, purger: &Purger, keep: usize) -> Purged {
        purger.purge_free_pages(self.0, Age::Any, keep)
    }

    /// Purges the pages that were already free at the last ageing, and ages the others.
    pub(super) fn purge_old(&self, purger: &Purger) -> Purged {
        let purged = purger.purge_free_pages(self.0, Age::Old, 0);
        self.0.age();
        purged
    }
}

/// The holes of part-used slabs.
pub(super) struct HoleSource<'a, O>(Below<'a, O>);

impl<O: Os> HoleSource<'_, O> {
    /// Returns the bytes of the holes of all slabs in which at least one page in `one_in` is in a
    /// hole.
    pub(super) fn releasable_bytes(&self, one_in: u32) -> u64 {
        let system_page = system_page(self.0.segments.os());
        let bytes = |chunk| Central::holes_from(self.0.segments, chunk, system_page, one_in);
        self.chunks().map(bytes).sum()
    }

    /// Purges the holes of all slabs, or only of slabs in which at least one page in `one_in` is in
    /// a hole. The first takes little time if few blocks came back since the last such purge.
    pub(super) fn purge(&self, purger: &Purger, one_in: Option<u32>) -> Purged {
        let mut done = Purged::default();
        if one_in.is_some() {
            for chunk in self.chunks() {
                done.add(purger.purge_holes_of_slab(self.0, chunk, one_in));
            }
        } else {
            for segment in 0..self.0.segments.segment_count() {
                done.add(purger.purge_holes_of_segment(self.0, segment));
            }
        }
        done
    }

    /// Purges the holes of slabs without traffic since the last ageing, and ages the others.
    pub(super) fn purge_old(&self, purger: &Purger) -> Purged {
        let mut done = Purged::default();
        for segment in 0..self.0.segments.segment_count() {
            for chunk in self.0.segments.age_slabs(segment) {
                done.add(purger.purge_holes_of_slab(self.0, chunk, None));
            }
        }
        done
    }

    /// Returns whether slabs wait for another ageing.
    pub(super) fn are_ageing(&self) -> bool {
        let segments = self.0.segments;
        (0..segments.segment_count()).any(|segment| segments.has_ageing_slabs(segment))
    }

    /// Returns the chunks below the frontier.
    fn chunks(&self) -> impl Iterator<Item = ChunkIndex> + use<O> {
        (1..self.0.segments.arena().frontier().chunk().get()).map(ChunkIndex::new)
    }
}
