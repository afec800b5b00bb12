//! Blocks that do not come from slabs: runs of pages, and mappings of their own.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use super::Heap;
use crate::base::units::{PAGE_BYTES, Pages, Run};
use crate::cache::{Counts, Front, ThreadCache, runs};
use crate::os::Os;
use crate::segment::large::{LargeBlock, NotABlock};

/// Events of blocks that do not come from slabs, but for those that a cache counts.
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
    /// A run that the thread freed last; what it wrote is there.
    Used(LargeBlock),
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
        if let Some(cache) = front.cache()
            && align <= PAGE_BYTES
            && let Some(block) = self.take_cached(cache, size)
        {
            return Some((block.start, Fresh::Used(block)));
        }
        if let Some(found) = self.try_large(size, align) {
            return Some(found);
        }
        self.retry(front, || self.try_large(size, align))
    }

    /// A large block of `size` bytes that the calling thread freed not long ago.
    #[inline]
    pub(crate) fn take_freed(&self, cache: &ThreadCache, size: usize) -> Option<NonNull<u8>> {
        self.take_cached(cache, size).map(|block| block.start)
    }

    /// Frees the large block at an address of the arena if the calling thread's cache has room for its
    /// run. False: nothing was done, and [`Heap::free_large`] may do more.
    #[inline]
    pub(crate) fn keep_freed(&self, cache: &ThreadCache, address: usize) -> bool {
        let Some(offset) = self.segments.arena().offset_of(address) else { return false };
        let Ok(run) = self.segments.large_at(offset) else { return false };
        let claim = || self.segments.claim_large(offset).ok();
        let is_kept = cache.runs.put_if_room(run.pages, claim);
        if is_kept {
            Counts::count(&cache.counts.large_frees);
        }
        is_kept
    }

    /// A block that the thread freed not long ago.
    #[inline]
    fn take_cached(&self, cache: &ThreadCache, size: usize) -> Option<LargeBlock> {
        if size > runs::LONGEST.bytes() {
            return None;
        }
        let run = cache.runs.take(Pages::containing(size)?)?;
        Counts::count(&cache.counts.large_allocs);
        Some(self.segments.register_large(run))
    }

    pub(super) fn try_large(&self, size: usize, align: usize) -> Option<(NonNull<u8>, Fresh)> {
        if let Some(block) = self.segments.allocate_large(size, align) {
            count(&self.counts.large_allocs);
            return Some((block.start, Fresh::Large(block)));
        }
        if let Some(block) = self.segments.allocate_huge(size, align) {
            count(&self.counts.huge_allocs);
            return Some((block, Fresh::Zero));
        }
        let block = self.segments.allocate_long(size, align)?;
        count(&self.counts.large_allocs);
        Some((block.start, Fresh::Large(block)))
    }

    /// Frees the large block at `offset`, on which the program has no claim any more.
    pub(super) fn free_large(&self, front: Front<'_>, offset: usize) -> Result<(), NotABlock> {
        let run = self.segments.claim_large(offset)?;
        let give = |run: Run| self.segments.give(run, run.pages);
        match front {
            Front::Cache(cache) => {
                Counts::count(&cache.counts.large_frees);
                if run.pages <= runs::LONGEST {
                    cache.runs.put(run, give);
                } else {
                    give(run);
                }
            }
            Front::Direct => {
                count(&self.counts.large_frees);
                give(run);
            }
        }
        Ok(())
    }
}
