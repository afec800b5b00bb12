//! Blocks that do not come from slabs: runs of pages, and mappings of their own.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use super::Heap;
use crate::base::size_class::SizeClass;
use crate::base::units::{PAGE_BYTES, Pages, Run};
use crate::cache::{Counts, Front, ThreadCache};
use crate::os::Os;
use crate::segment::large::{LargeBlock, NotABlock};

/// The contents of a fresh block.
enum Fresh {
    /// Every byte is zero.
    Zero,
    /// A run, in which only clean pages are zero.
    Large(LargeBlock),
    /// A run that the thread freed recently, with its old contents.
    Used(LargeBlock),
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl<O: Os> Heap<O> {
    /// Allocates a run of pages, or a mapping of its own if the arena has no room.
    pub(super) fn allocate_large(
        &self,
        front: Front<'_>,
        size: usize,
        align: usize,
    ) -> Option<NonNull<u8>> {
        let (block, _) = self.find_large(front, size, align)?;
        self.note_large(front, block, size);
        Some(block)
    }

    /// As [`Heap::allocate_large`], and the block reads as zero. Clean pages are not written.
    pub(super) fn allocate_large_zeroed(
        &self,
        front: Front<'_>,
        size: usize,
        align: usize,
    ) -> Option<NonNull<u8>> {
        let (block, fresh) = self.find_large(front, size, align)?;
        self.note_large(front, block, size);
        match fresh {
            Fresh::Zero => {}
            Fresh::Large(block) => self.segments.zero_large(block),
            Fresh::Used(block) => self.segments.zero_used(block, size),
        }
        Some(block)
    }

    /// Returns a block with what is known of its contents.
    fn find_large(
        &self,
        front: Front<'_>,
        size: usize,
        align: usize,
    ) -> Option<(NonNull<u8>, Fresh)> {
        if let Some(cache) = front.cache()
            && align <= PAGE_BYTES
            && let Some(block) = self.take_cached(&cache, size)
        {
            return Some((block.start, Fresh::Used(block)));
        }
        if let Some(found) = self.try_large(size, align) {
            return Some(found);
        }
        self.retry(front, || self.try_large(size, align))
    }

    /// Allocates a large block of `size` bytes from the runs that the calling thread freed
    /// recently. While the profile runs there are none: [`Heap::allocate_miss`] counts the request.
    #[inline]
    pub(crate) fn allocate_from_cache(
        &self,
        cache: &ThreadCache,
        size: usize,
    ) -> Option<NonNull<u8>> {
        if self.profile().is_on() {
            return None;
        }
        self.take_cached(cache, size).map(|block| block.start)
    }

    /// Frees the large block at an offset of the arena if the calling thread's cache has room for
    /// its run. Returns false if it did nothing; [`Heap::free_miss`] then frees the block.
    #[inline]
    pub(crate) fn free_to_cache(&self, cache: &ThreadCache, offset: usize) -> bool {
        // No large block lies in the pages of the tables, and their records say so.
        if offset >= self.segments.arena().frontier().offset() {
            return false;
        }
        let Ok(run) = self.segments.large_at(offset) else { return false };
        let bin = self.segments.bin_of_large(run);
        let is_kept = cache.runs.put_if_room(run, bin, || self.segments.claim_run(run));
        if is_kept {
            Counts::count(&cache.counts.large_frees);
        }
        is_kept
    }

    /// Takes a run that the thread freed recently.
    #[inline]
    fn take_cached(&self, cache: &ThreadCache, size: usize) -> Option<LargeBlock> {
        let run = cache.runs.take(Pages::containing(size)?)?;
        Counts::count(&cache.counts.large_allocs);
        Some(self.segments.register_again(run))
    }

    fn try_large(&self, size: usize, align: usize) -> Option<(NonNull<u8>, Fresh)> {
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

    /// Gives a small block a run or a mapping of its own, if no slab of its class can be made.
    #[cold]
    pub(super) fn allocate_without_slab(&self, class: SizeClass) -> Option<NonNull<u8>> {
        // An aligned request comes with a class whose blocks all have the alignment.
        let bytes = class.block_bytes();
        let align = 1 << bytes.trailing_zeros();
        self.try_large(bytes, align).map(|(block, _)| block)
    }

    /// Frees the large block at `offset`, which the program no longer uses.
    pub(super) fn free_large(&self, front: Front<'_>, offset: usize) -> Result<(), NotABlock> {
        let Ok(run) = self.segments.claim_large(offset) else {
            return self.free_sample(front, offset);
        };
        let give = |run: Run| self.segments.give(run, run.pages);
        match front {
            Front::Cache(cache) => {
                Counts::count(&cache.counts.large_frees);
                cache.runs.put(run, give);
            }
            Front::Direct => {
                count(&self.counts.large_frees);
                give(run);
            }
        }
        Ok(())
    }
}
