//! What the experiments ask of the free pages: ranges by age, and how long a segment was left alone.

use super::Segments;
use super::arena::Arena;
use super::meta::Age;
use crate::base::units::{PageIndex, Pages, Run};
use crate::os::Os;

impl<O: Os> Segments<O> {
    /// The first maximal range of free pages of an age in `within` that may hold memory; a hint.
    pub(crate) fn next_dirty(&self, within: Run, age: Age) -> Option<Run> {
        let end = within.end().min(self.arena.frontier());
        let start = within.start.max(Arena::<O>::first_page());
        if start >= end {
            return None;
        }
        self.tables().next_free_dirty(start, end, within.pages, age)
    }

    /// The next range of young pages at or after `from`, at most `limit` of it; they are old from
    /// now on, until they are taken.
    pub(crate) fn claim_young(&self, from: PageIndex, limit: Pages) -> Option<Run> {
        let frontier = self.arena.frontier();
        let from = from.max(Arena::<O>::first_page());
        if from >= frontier {
            return None;
        }
        let _pages = self.pages.lock();
        let run = self.tables().next_free_dirty(from, frontier, limit, Age::Young)?;
        self.tables().set_old(run);
        Some(run)
    }

    /// Makes the free pages of a range old.
    pub(crate) fn make_old(&self, run: Run) {
        let _pages = self.pages.lock();
        self.tables().set_old(run);
    }

    /// Makes the pages of a range young, so that they can be claimed again.
    pub(crate) fn make_young(&self, run: Run) {
        let _pages = self.pages.lock();
        self.tables().set_young(run);
    }

    /// Ends an epoch for a segment: how many have passed since a page of it was taken or became
    /// free.
    pub(crate) fn grow_older(&self, segment: usize) -> u32 {
        self.tables().grow_older(segment)
    }

    /// Undoes that a purge touched a segment.
    pub(crate) fn stay_untouched(&self, segment: usize, epochs: u32) {
        self.tables().stay_untouched(segment, epochs);
    }
}
