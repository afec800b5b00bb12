//! Functions on free pages that only the experiments use: ranges by age, and epochs without a
//! change of a segment.

use super::Segments;
use super::arena::Arena;
use super::meta::Age;
use crate::base::units::{PageIndex, Pages, Run};
use crate::os::Os;

impl<O: Os> Segments<O> {
    /// Returns the first maximal range of free dirty pages of an age in `within`; a hint.
    pub(crate) fn next_dirty(&self, within: Run, age: Age) -> Option<Run> {
        let end = within.end().min(self.arena.frontier());
        let start = within.start.max(Arena::<O>::first_page());
        if start >= end {
            return None;
        }
        self.tables().next_free_dirty(start, end, within.pages, age)
    }

    /// Claims the next range of young pages at or after `from`, at most `limit` pages of it. The
    /// pages are old from now on, until they are taken.
    pub(crate) fn claim_young(&self, from: PageIndex, limit: Pages) -> Option<Run> {
        let frontier = self.arena.frontier();
        let from = from.max(Arena::<O>::first_page());
        if from >= frontier {
            return None;
        }
        let mut heap = self.pages.lock();
        let run = self.tables().next_free_dirty(from, frontier, limit, Age::Young)?;
        heap.set_age(self.tables(), run, true);
        Some(run)
    }

    /// Makes the free dirty pages of a range old.
    pub(crate) fn make_old(&self, run: Run) {
        self.pages.lock().set_age(self.tables(), run, true);
    }

    /// Makes the pages of a range young, so that they can be claimed again.
    pub(crate) fn make_young(&self, run: Run) {
        self.pages.lock().set_age(self.tables(), run, false);
    }

    /// Counts an epoch of a segment. Returns how many had passed since a page of it was taken or
    /// freed.
    pub(crate) fn count_epoch(&self, segment: usize) -> u32 {
        self.tables().count_epoch(segment)
    }

    /// Restores a segment's number of untouched epochs, which a purge has reset.
    pub(crate) fn set_untouched(&self, segment: usize, epochs: u32) {
        self.tables().set_untouched(segment, epochs);
    }
}
