//! Which parts of the arena have huge pages.
//!
//! A *unit* is an aligned part of the arena as long as a huge page. Once the heap has grown beyond
//! 16 MiB, hz3 *advises* new units: it asks the kernel for huge pages there. The first touch of an
//! advised unit then brings in all of it by one fault. So an advised unit is either wholly free and
//! clean, or all of its free pages are dirty, touched or not (I-9). Small processes stay below the
//! first advised unit and pay nothing.
//!
//! The kernel keeps a huge page in memory as long as one of its small pages is in use. So a unit
//! that is purged only in part is split into small pages first, and advised again once it is purged
//! as a whole. `Segments::whole_units` chooses the purged range so that this is rare.

use core::sync::atomic::Ordering;

use super::Segments;
use super::huge_units::{unit_at, units_cut, units_inside, units_touched};
use super::meta::Age;
use crate::base::units::{Run, SEGMENT_PAGES};
use crate::os::{Os, Refused};

/// Units below this page are never advised: the first 16 MiB. Less in tests, whose arenas are
/// small.
const FIRST_ADVISED: u32 = if cfg!(test) { 1 } else { 4 } * SEGMENT_PAGES;

impl<O: Os> Segments<O> {
    /// Adapts a run of free pages that is to be purged, so that it covers whole units. The result
    /// lies in `within`. It is longer than the run if that completes units. It is shorter if the
    /// rest of a free advised unit is not of this age. Returns `None` if nothing is left of the
    /// run.
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

    /// Asks for huge pages in the units inside a run of clean pages that belongs to the caller.
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

    /// Splits advised units that a run covers only in part into small pages, before the run is
    /// purged.
    pub(crate) fn split_units(&self, run: Run) {
        for unit in units_cut(run).filter(|&unit| self.tables().is_advised(unit)) {
            self.tables().set_advised(unit, false);
            // SAFETY: the unit is committed; its contents stay what they are.
            let _ = unsafe { self.os().prefer_small(self.span(unit_at(unit))) };
        }
    }
}
