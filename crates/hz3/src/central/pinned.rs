//! The memory that one block keeps resident, for the heap profile.

use super::Central;
use super::blocks::Blocks;
use super::slab::Slab;
use crate::base::size_class::SizeClass;
use crate::base::units::{ChunkIndex, to_u32};
use crate::os::Os;
use crate::segment::Segments;

impl Central {
    /// Returns the bytes that the block at `offset` pins: those in its system pages that no block
    /// in use covers. The blocks in use of a page share its bytes evenly. So the sum over all
    /// blocks in use is the free memory that no purge can give back.
    ///
    /// A block in a cache counts as in use. The caller holds the block; without the lock of the bin
    /// the rest is a hint.
    pub(crate) fn pinned_by<O: Os>(
        segments: &Segments<O>,
        class: SizeClass,
        offset: usize,
        page_bytes: usize,
    ) -> f64 {
        let tables = segments.tables();
        let first = Slab::first_chunk(tables, ChunkIndex::of_offset(offset));
        let blocks = Blocks::of(tables, first, class);
        let (size, slab_bytes) = (class.block_bytes(), class.slab_pages().bytes());
        let inside = offset - first.offset();
        let pages = inside / page_bytes..=(inside + size - 1) / page_bytes;
        let share = |page: usize| {
            let (start, end) = (page * page_bytes, ((page + 1) * page_bytes).min(slab_bytes));
            let (mut used, mut unused) = (0, end - start);
            for block in start / size..(end.div_ceil(size)).min(class.capacity() as usize) {
                if !blocks.is_free(to_u32(block)) {
                    used += 1;
                    unused -= end.min((block + 1) * size) - start.max(block * size);
                }
            }
            f64::from(to_u32(unused)) / f64::from(used.max(1))
        };
        pages.map(share).sum()
    }
}
