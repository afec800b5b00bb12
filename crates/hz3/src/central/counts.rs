//! Sums over all bins, exact under their locks or as hints without them.

use core::sync::atomic::Ordering;

use super::Central;
use crate::base::size_class::SizeClass;
use crate::base::units::to_u64;

/// Counts over all slabs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SlabCounts {
    pub(crate) slabs: u64,
    /// Bytes of the slabs' runs.
    pub(crate) slab_bytes: u64,
    /// Bytes of free blocks that lie in slabs.
    pub(crate) free_bytes: u64,
    /// Bytes of blocks in use by caches or the program.
    pub(crate) used_bytes: u64,
    /// How often a thread found the lock of a bin held.
    pub(crate) contended_bins: u64,
}

/// Free and used bytes of all slabs; a hint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FreeBytes {
    pub(crate) free: u64,
    /// In blocks that are not free in their slab: those of the program and those in caches.
    pub(crate) used: u64,
    /// Bytes of all slabs that became empty and left their bins so far; `free` does not include
    /// them.
    pub(crate) dissolved: u64,
}

impl Central {
    /// Returns the bytes of the free blocks in slabs; a hint, because it takes no lock.
    pub(crate) fn free_bytes_hint(&self) -> u64 {
        let free_bytes = |(shard, class): (usize, SizeClass)| {
            self.bin(shard, class).free_blocks() * to_u64(class.block_bytes())
        };
        self.bins_by_shard().map(free_bytes).sum()
    }

    /// Returns free, used and dissolved bytes; hints.
    pub(crate) fn free_and_dissolved(&self) -> FreeBytes {
        let dissolved = self.dissolved.load(Ordering::Relaxed);
        let slabs = self.opened.load(Ordering::Relaxed).saturating_sub(dissolved);
        let free = self.free_bytes_hint();
        FreeBytes { free, used: slabs.saturating_sub(free), dissolved }
    }

    /// Sums the counts of all bins, which it locks one by one. Calls `note` with the class, the
    /// slabs and the blocks in use of each bin.
    pub(crate) fn slab_counts(&self, mut note: impl FnMut(SizeClass, u64, u64)) -> SlabCounts {
        let mut counts = SlabCounts::default();
        for (shard, class) in self.bins_by_shard() {
            let bin = self.bin(shard, class);
            let (slabs, free) = {
                let state = bin.state.lock();
                (u64::from(state.slabs()), bin.free_blocks())
            };
            let block = to_u64(class.block_bytes());
            counts.contended_bins += bin.state.contended();
            counts.slabs += slabs;
            counts.slab_bytes += slabs * to_u64(class.slab_pages().bytes());
            counts.free_bytes += free * block;
            let used = slabs * u64::from(class.capacity()) - free;
            counts.used_bytes += used * block;
            note(class, slabs, used);
        }
        counts
    }
}
