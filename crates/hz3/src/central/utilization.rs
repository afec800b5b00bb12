//! How full the slab of one block is, for programs that move blocks out of sparse slabs.

use super::Central;
use super::slab::Slab;
use crate::base::size_class::SizeClass;
use crate::base::units::{ChunkIndex, to_usize};
use crate::os::Os;
use crate::segment::Segments;
use crate::stats::Utilization;

impl Central {
    /// Returns how full the slab at `offset` of the arena is. `None` if there is no slab, if no
    /// block starts there, or if the block is free in its slab.
    ///
    /// Takes no lock: exact if the caller holds the block and no other thread uses the slab.
    pub(crate) fn utilization<O: Os>(segments: &Segments<O>, offset: usize) -> Option<Utilization> {
        let tables = segments.tables();
        let chunk = ChunkIndex::of_offset(offset);
        let class = tables.published_class(chunk);
        if class == SizeClass::NONE || Self::check_in_use(segments, class, offset).is_err() {
            return None;
        }
        let slab = Slab::of(tables, Slab::first_chunk(tables, chunk));
        // Another thread may just have replaced the slab by one of another class.
        let used = class.capacity().saturating_sub(slab.free());
        Some(Utilization {
            block_bytes: class.block_bytes(),
            blocks: to_usize(class.capacity()),
            used: to_usize(used),
        })
    }
}
