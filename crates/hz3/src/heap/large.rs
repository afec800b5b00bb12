//! Blocks that do not come from slabs: runs of pages, and mappings of their own.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use super::Heap;
use crate::cache::Front;
use crate::os::Os;
use crate::segment::large::{LargeBlock, NotABlock};

/// Events of blocks that do not come from slabs.
#[derive(Debug, Default)]
pub(super) struct LargeCounts {
    pub(super) large_allocs: AtomicU64,
    pub(super) large_frees: AtomicU64,
    pub(super) huge_allocs: AtomicU64,
}

/// What is known of a fresh block's contents.
pub(super) enum Fresh {
    /// Every byte is zero.
    Zero,
    /// A run, whose dirty pages are not zero.
    Large(LargeBlock),
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl<O: Os> Heap<O> {
    /// A block that is a run of pages, or a mapping of its own where the arena has no room; and
    /// whether it is known to read as zero.
    pub(super) fn allocate_large(
        &self,
        front: Front<'_>,
        size: usize,
        align: usize,
    ) -> Option<(NonNull<u8>, Fresh)> {
        if let Some(found) = self.try_large(size, align) {
            return Some(found);
        }
        self.make_room(front);
        self.try_large(size, align)
    }

    fn try_large(&self, size: usize, align: usize) -> Option<(NonNull<u8>, Fresh)> {
        if let Some(block) = self.segments.allocate_large(size, align) {
            count(&self.counts.large_allocs);
            return Some((block.start, Fresh::Large(block)));
        }
        let block = self.segments.allocate_huge(size, align)?;
        count(&self.counts.huge_allocs);
        Some((block, Fresh::Zero))
    }

    /// Frees the large block at `offset`, on which the program has no claim any more.
    pub(super) fn free_large(&self, offset: usize) -> Result<(), NotABlock> {
        count(&self.counts.large_frees);
        self.segments.free_large(offset)
    }

    /// Number of large blocks freed.
    pub(crate) fn large_frees(&self) -> u64 {
        self.counts.large_frees.load(Ordering::Relaxed)
    }
}
