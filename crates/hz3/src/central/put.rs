//! The way into central: blocks go back to their slabs, and the runs of empty slabs to the
//! segments.

use core::sync::atomic::Ordering;

use super::bin::{BinView, Put, Retired};
use super::blocks::BadBlock;
use super::slab::Slab;
use super::{Central, scattered};
use crate::base::size_class::SizeClass;
use crate::base::sync::Slot;
use crate::base::units::{ChunkIndex, Pages, to_u64};
use crate::os::Os;
use crate::segment::Segments;

impl Central {
    /// Puts blocks of one class back into their slabs, with one lock per shard. Reorders `batch`.
    ///
    /// A bin keeps one slab that becomes empty; the runs of the others go back to the segments.
    pub(crate) fn put<O: Os>(&self, segments: &Segments<O>, class: SizeClass, batch: &[Slot]) {
        let is_scattered = scattered::is_scattered(batch);
        let mut rest = batch;
        while let Some(slot) = rest.first() {
            let Some(first) = self.locate(segments, class, slot.load(Ordering::Relaxed)) else {
                rest = &rest[1..];
                continue;
            };
            let tables = segments.tables();
            let shard = Slab::of(tables, first).shard();
            let bin = self.bin(shard, class);
            let mut state = bin.state.lock();
            let view = BinView { bin, state: &mut state, tables, class };
            let others = if is_scattered {
                self.put_scattered(segments, view, shard, rest)
            } else {
                self.put_grouped(segments, view, shard, rest)
            };
            rest = &rest[..others];
        }
    }

    /// Puts the blocks back whose slabs belong to `shard`, the bin's, and moves the others to the
    /// front of the batch. Returns how many others there are.
    fn put_grouped<O: Os>(
        &self,
        segments: &Segments<O>,
        mut view: BinView<'_>,
        shard: usize,
        batch: &[Slot],
    ) -> usize {
        let (tables, class) = (view.tables, view.class);
        let (mut at, mut others) = (0, 0);
        while let Some(slot) = batch.get(at) {
            let block = slot.load(Ordering::Relaxed);
            let Some(first) = self.locate(segments, class, block) else {
                at += 1;
                continue;
            };
            // While the lock of a slab's bin is held, the slab stays in that bin.
            if Slab::of(tables, first).shard() != shard {
                batch[others].store(block, Ordering::Relaxed);
                others += 1;
                at += 1;
                continue;
            }
            let start = segments.arena().address(first.offset());
            match view.put(first, start, &batch[at..]) {
                Ok(Put { count, retired }) => {
                    at += count;
                    if let Some(retired) = retired {
                        self.dissolve(segments, class, retired);
                    }
                    if count == 0 {
                        self.note_fault(BadBlock::NoBlockStart, class, block.addr());
                        at += 1;
                    }
                }
                Err((reason, address)) => {
                    self.note_fault(reason, class, address);
                    at += 1;
                }
            }
        }
        others
    }

    /// Returns the first chunk of a block's slab; `None`, and a fault is noted, if there is no slab
    /// of the class.
    pub(super) fn locate<O: Os>(
        &self,
        segments: &Segments<O>,
        class: SizeClass,
        block: *mut u8,
    ) -> Option<ChunkIndex> {
        let offset = block.addr() - segments.arena().base().addr().get();
        let chunk = ChunkIndex::of_offset(offset);
        let tables = segments.tables();
        if tables.class(chunk) != class {
            self.note_fault(BadBlock::NoSlab, class, block.addr());
            return None;
        }
        Some(Slab::first_chunk(tables, chunk))
    }

    /// Makes a retired slab a run again, and gives that to the page heap.
    pub(super) fn dissolve<O: Os>(
        &self,
        segments: &Segments<O>,
        class: SizeClass,
        retired: Retired,
    ) {
        self.dissolved.fetch_add(to_u64(class.slab_pages().bytes()), Ordering::Relaxed);
        let (run, touched) = Slab::dissolve(segments.tables(), retired.0, class);
        segments.give(run, touched);
    }

    /// Gives the runs of all empty slabs back to the segments. Returns their pages.
    pub(crate) fn retire<O: Os>(&self, segments: &Segments<O>) -> Pages {
        let mut pages = Pages::ZERO;
        for (shard, class) in self.bins_by_shard() {
            let bin = self.bin(shard, class);
            // A hint, but not for blocks that the calling thread, or one before it, has put back.
            if bin.free_blocks() < u64::from(class.capacity()) {
                continue;
            }
            let mut state = bin.state.lock();
            let mut view = BinView { bin, state: &mut state, tables: segments.tables(), class };
            while let Some(retired) = view.retire() {
                self.dissolve(segments, class, retired);
                pages += class.slab_pages();
            }
        }
        pages
    }
}
