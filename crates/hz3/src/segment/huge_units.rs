//! Units: the parts of the arena that may have huge pages, and the bits of those that have them.
//! `advice` decides which units get them, and why.
//!
//! **I-9.** A unit with huge pages is either wholly free and clean, or all of its free pages are
//! dirty. A slab laid over such units enters its bin with all of its pages dirty.

use core::sync::atomic::Ordering;

use super::tables::Tables;
use crate::base::units::{PageIndex, Pages, Run, SEGMENT_PAGES, to_usize};

/// Pages of a unit, which is as long as a huge page of 2 MiB.
const UNIT_PAGES: u32 = 512;

/// Returns the units that lie wholly in a run, as a run.
pub(super) fn units_inside(run: Run) -> Option<Run> {
    let start = run.start.align_up(Pages::new(UNIT_PAGES));
    let end = unit_of(run.end());
    (end > start).then(|| Run::new(start, end - start))
}

/// Returns the first page of the unit that contains a page.
fn unit_of(page: PageIndex) -> PageIndex {
    PageIndex::new(page.get() / UNIT_PAGES * UNIT_PAGES)
}

/// Returns the unit that starts at a page.
pub(super) fn unit_at(start: PageIndex) -> Run {
    Run::new(start, Pages::new(UNIT_PAGES))
}

/// Returns the first pages of the units that a run touches.
pub(super) fn units_touched(run: Run) -> impl Iterator<Item = PageIndex> {
    (unit_of(run.start).get()..run.end().get()).step_by(to_usize(UNIT_PAGES)).map(PageIndex::new)
}

/// Returns the first pages of the units that a run covers only in part: two at most.
pub(super) fn units_cut(run: Run) -> impl Iterator<Item = PageIndex> {
    let (first, last) = (unit_of(run.start), unit_of(run.last()));
    let whole = move |unit: PageIndex| run.start <= unit && unit_at(unit).end() <= run.end();
    [Some(first), (last != first).then_some(last)]
        .into_iter()
        .flatten()
        .filter(move |&unit| !whole(unit))
}

/// Returns the segment of a unit, and the mask of its bit there.
fn bit_of(unit: PageIndex) -> (usize, u32) {
    let bit = unit.get() % SEGMENT_PAGES / UNIT_PAGES;
    (to_usize(unit.get() / SEGMENT_PAGES), 1 << bit)
}

impl Tables {
    /// Returns whether the unit that contains a page has huge pages.
    pub(crate) fn is_advised(&self, page: PageIndex) -> bool {
        let (segment, mask) = bit_of(unit_of(page));
        self.segment(segment).advised.load(Ordering::Relaxed) & mask != 0
    }

    pub(super) fn set_advised(&self, unit: PageIndex, advised: bool) {
        let (segment, mask) = bit_of(unit);
        let word = &self.segment(segment).advised;
        // Growth and a purge may change two units of a segment at the same time.
        if advised {
            word.fetch_or(mask, Ordering::Relaxed);
        } else {
            word.fetch_and(!mask, Ordering::Relaxed);
        }
    }

    /// Marks the rest of the advised units dirty that `run` covers in part (I-9). Call it for pages
    /// that were free and are about to be touched. Returns how many pages became dirty.
    pub(super) fn mark_units_dirty(&self, run: Run) -> u32 {
        units_cut(run)
            .filter(|&unit| self.is_advised(unit))
            .map(|unit| self.mark_dirty(unit_at(unit)))
            .sum()
    }

    /// Checks I-9 for the units below `frontier`.
    #[cfg(any(test, feature = "check"))]
    pub(super) fn validate_units(&self, frontier: PageIndex) {
        let all = Run::new(PageIndex::new(0), frontier - PageIndex::new(0));
        for unit in units_inside(all).into_iter().flat_map(units_touched) {
            if self.is_advised(unit) {
                let (free, dirty) = self.free_and_dirty(unit_at(unit));
                let untouched = free == UNIT_PAGES && dirty == 0;
                assert!(untouched || dirty == free, "I-9: {dirty} of {free} dirty at {unit:?}");
            }
        }
    }
}
