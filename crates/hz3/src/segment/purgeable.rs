//! Free dirty pages for reclaim, which takes them off the free map and puts them back clean.
//!
//! The pages between [`Segments::withdraw_dirty`] and [`Segments::put_back`] belong to the caller
//! (I-3).

use super::Segments;
use super::meta::Age;
use crate::base::units::{ChunkIndex, PageIndex, Pages, Run};
use crate::os::Os;

impl<O: Os> Segments<O> {
    /// Withdraws the first free dirty pages of an age in `within` from the free map, at most
    /// `limit`. They belong to the caller, which puts them back by [`Segments::put_back`].
    pub(crate) fn withdraw_dirty(&self, within: Run, limit: Pages, age: Age) -> Option<Run> {
        let end = within.end().min(self.arena.frontier());
        // The search may be long, so it runs without the lock. Its result is searched again with
        // the lock.
        let tables = self.tables();
        let mut from = tables.next_free_dirty(within.start, end, limit, age)?.start;
        let mut heap = self.pages.lock();
        loop {
            let run = tables.next_free_dirty(from, end, limit, age)?;
            from = run.end();
            if let Some(run) = self.whole_units(run, within, age) {
                heap.withdraw(tables, run);
                return Some(run);
            }
        }
    }

    /// Returns all committed pages from `from` on.
    pub(crate) fn committed_from(&self, from: PageIndex) -> Run {
        let frontier = self.arena.frontier();
        Run::new(from.min(frontier), frontier - from.min(frontier))
    }

    /// Puts pages back that [`Segments::withdraw_dirty`] withdrew.
    pub(crate) fn put_back(&self, run: Run) {
        let frontier = self.arena.frontier();
        let mut heap = self.pages.lock();
        heap.put_back(self.tables(), run, frontier);
        self.note(&heap);
    }

    /// Makes all free dirty pages old.
    pub(crate) fn age(&self) {
        for segment in 0..self.segment_count() {
            if self.tables().has_free_dirty(segment) {
                self.pages.lock().age(self.tables(), segment);
            }
        }
    }

    /// Notes that the pages of a run that belongs to the caller were purged.
    pub(crate) fn mark_clean(&self, run: Run) {
        let _pages = self.pages.lock();
        self.tables().set_clean(run);
    }

    /// Returns the number of free pages that may hold memory.
    pub(crate) fn dirty_pages(&self) -> u64 {
        self.pages.lock().dirty_pages()
    }

    /// Ages the slabs of a segment. Returns the chunks of the slabs that have become quiet: they
    /// had traffic before the last ageing and none since.
    pub(crate) fn age_slabs(&self, segment: usize) -> impl Iterator<Item = ChunkIndex> + use<O> {
        self.tables().age_slabs(segment)
    }

    /// Returns the chunks at which slabs of a segment start that may have holes.
    pub(crate) fn slabs_with_holes(
        &self,
        segment: usize,
    ) -> impl Iterator<Item = ChunkIndex> + use<O> {
        self.tables().slabs_with_holes(segment)
    }

    /// Notes that the slab at `chunk` has no holes. If it has, the caller purges them now, or notes
    /// them again; it holds the lock of the purges, so that no forked child lacks the note.
    pub(crate) fn forget_holes(&self, chunk: ChunkIndex) {
        self.tables().forget_holes(chunk);
    }

    /// Returns whether slabs of a segment had traffic and are not quiet yet.
    pub(crate) fn has_ageing_slabs(&self, segment: usize) -> bool {
        self.tables().has_ageing_slabs(segment)
    }
}
