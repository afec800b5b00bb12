//! Which parts of the arena have huge pages.
//!
//! A *unit* is an aligned part of the arena as long as a huge page. A heap that has proved to grow
//! gets units that are *advised*: a first touch brings all of it, at the price of one fault. So an
//! advised unit is either wholly free and clean, or all of its free pages are dirty, touched or
//! not (I-9). The start of a heap is never advised: a small process pays nothing.
//!
//! The kernel keeps a huge page whole in memory as long as one of its pages is in use. So what is
//! purged only in part is broken first: it goes back to small pages, and is advised again once it
//! is purged whole. The range to be purged is chosen to avoid it (`Segments::whole_units`).

use core::sync::atomic::Ordering;

use super::Segments;
use super::tables::{Age, Tables};
use crate::base::units::{PageIndex, Pages, Run, SEGMENT_PAGES, widen};
use crate::os::{Os, Refused};

/// Pages of a unit: a huge page of 2 MiB.
const UNIT_PAGES: u32 = 512;
/// Units below this page are never advised: the first 16 MiB, but fewer in tests, whose arenas are
/// small.
const FIRST_ADVISED: u32 = if cfg!(test) { 1 } else { 4 } * SEGMENT_PAGES;

/// The units that lie wholly in a run, as a run.
fn units_inside(run: Run) -> Option<Run> {
    let start = run.start.align_up(Pages::new(UNIT_PAGES));
    let end = unit_of(run.end());
    (end > start).then(|| Run::new(start, end - start))
}

/// The first page of the unit that a page lies in.
fn unit_of(page: PageIndex) -> PageIndex {
    PageIndex::new(page.get() / UNIT_PAGES * UNIT_PAGES)
}

/// The unit that starts at a page.
fn unit_at(start: PageIndex) -> Run {
    Run::new(start, Pages::new(UNIT_PAGES))
}

/// The first pages of the units that a run touches.
fn units_touched(run: Run) -> impl Iterator<Item = PageIndex> {
    (unit_of(run.start).get()..run.end().get()).step_by(widen(UNIT_PAGES)).map(PageIndex::new)
}

/// The first pages of the units that a run covers in part only: two at most.
fn units_cut(run: Run) -> impl Iterator<Item = PageIndex> {
    let (first, last) = (unit_of(run.start), unit_of(run.last()));
    let whole = move |unit: PageIndex| run.start <= unit && unit_at(unit).end() <= run.end();
    [Some(first), (last != first).then_some(last)]
        .into_iter()
        .flatten()
        .filter(move |&unit| !whole(unit))
}

/// The place of a unit's bit: segment and mask.
fn place(unit: PageIndex) -> (usize, u32) {
    let bit = unit.get() % SEGMENT_PAGES / UNIT_PAGES;
    (widen(unit.get() / SEGMENT_PAGES), 1 << bit)
}

impl Tables {
    /// Whether the unit that a page lies in has huge pages.
    pub(crate) fn is_advised(&self, page: PageIndex) -> bool {
        let (segment, mask) = place(unit_of(page));
        self.segment(segment).advised.load(Ordering::Relaxed) & mask != 0
    }

    fn set_advised(&self, unit: PageIndex, advised: bool) {
        let (segment, mask) = place(unit);
        let word = &self.segment(segment).advised;
        // Two units of a segment may be changed at once, by growth and by a purge.
        if advised {
            word.fetch_or(mask, Ordering::Relaxed);
        } else {
            word.fetch_and(!mask, Ordering::Relaxed);
        }
    }

    /// Notes that pages of a run are about to be touched, which was free: in advised units, what
    /// is left free beside it is dirty then (I-9). Returns how many pages became so.
    pub(super) fn soil_units(&self, run: Run) -> u32 {
        units_cut(run)
            .filter(|&unit| self.is_advised(unit))
            .map(|unit| self.soil(unit_at(unit)))
            .sum()
    }

    /// Checks I-9 of the units below `frontier`.
    #[cfg(test)]
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

impl<O: Os> Segments<O> {
    /// What to purge in `within` for the sake of a run of free pages of an age: longer than the
    /// run where that makes units whole, shorter where the rest of a free unit is not of that age
    /// yet; `None` when nothing is left of it.
    pub(super) fn whole_units(&self, run: Run, within: Run, age: Age) -> Option<Run> {
        if !self.huge_pages.load(Ordering::Relaxed) {
            return Some(run);
        }
        let tables = self.tables();
        let (mut start, mut end) = (run.start, run.end());
        for unit in units_cut(run).map(unit_at) {
            let inside = within.start <= unit.start && unit.end() <= within.end();
            if !inside || !tables.is_all_free(unit) {
                continue;
            }
            if !tables.has_dirty_of_other_age(unit, age) {
                start = start.min(unit.start);
                end = end.max(unit.end());
            } else if tables.is_advised(unit.start) {
                if unit.start <= start {
                    start = unit.end();
                } else {
                    end = unit.start;
                }
            }
        }
        (end > start).then(|| Run::new(start, end - start))
    }

    /// Asks for huge pages in the units inside a run of clean pages that nobody else has.
    pub(crate) fn advise_units(&self, run: Run) {
        let Some(units) = units_inside(run) else { return };
        if !self.huge_pages.load(Ordering::Relaxed) || units.start.get() < FIRST_ADVISED {
            return;
        }
        if units_touched(units).all(|unit| self.tables().is_advised(unit)) {
            return;
        }
        // SAFETY: I-3: the run is the caller's.
        if unsafe { self.os().prefer_huge(self.span(units)) } == Err(Refused) {
            // A system without huge pages is not asked again.
            self.huge_pages.store(false, Ordering::Relaxed);
            return;
        }
        for unit in units_touched(units) {
            self.tables().set_advised(unit, true);
        }
    }

    /// Turns advised units that a run covers only in part back to small pages, before the run is
    /// purged.
    pub(crate) fn break_units(&self, run: Run) {
        for unit in units_cut(run).filter(|&unit| self.tables().is_advised(unit)) {
            self.tables().set_advised(unit, false);
            // SAFETY: the unit is committed; its contents stay what they are.
            let _ = unsafe { self.os().prefer_small(self.span(unit_at(unit))) };
        }
    }
}
