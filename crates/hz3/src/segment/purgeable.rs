//! What reclaim asks of the free pages: those that may hold memory leave their map, and return clean.
//!
//! What lies between [`Segments::take_dirty`] and [`Segments::put_back`] belongs to the caller (I-3).

use super::Segments;
use super::meta::Age;
use crate::base::units::{ChunkIndex, PageIndex, Pages, Run};
use crate::os::Os;

impl<O: Os> Segments<O> {
    /// The first free pages of an age in `within` that may hold memory, at most `limit`; they are
    /// off the free map and belong to the caller, who gives them back by [`Segments::put_back`].
    pub(crate) fn take_dirty(&self, within: Run, limit: Pages, age: Age) -> Option<Run> {
        let end = within.end().min(self.arena.frontier());
        // The search may be long, so it runs without the lock; what it finds is checked with it.
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

    /// All committed pages from `from` on.
    pub(crate) fn committed_from(&self, from: PageIndex) -> Run {
        let frontier = self.arena.frontier();
        Run::new(from.min(frontier), frontier - from.min(frontier))
    }

    /// Gives pages back that [`Segments::take_dirty`] took.
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
                let _pages = self.pages.lock();
                self.tables().age(segment);
            }
        }
    }

    /// Notes that pages of a run of the caller's hold nothing any more.
    pub(crate) fn mark_clean(&self, run: Run) {
        let _pages = self.pages.lock();
        self.tables().set_clean(run);
    }

    /// Number of free pages that may hold memory.
    pub(crate) fn dirty_pages(&self) -> u64 {
        self.pages.lock().dirty_pages()
    }

    /// An ageing of the slabs of a segment: the chunks whose slabs had traffic before the last one and
    /// none since.
    pub(crate) fn quiet_slabs(&self, segment: usize) -> impl Iterator<Item = ChunkIndex> + use<O> {
        self.tables().settle(segment)
    }

    /// Whether slabs of a segment await another ageing.
    pub(crate) fn has_settling_slabs(&self, segment: usize) -> bool {
        self.tables().is_settling(segment)
    }
}
