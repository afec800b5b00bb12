//! The purge of a range within a budget.

use super::super::purge::{Purged, Purger, RANGE_PAGES};
use crate::base::units::{Pages, Run};
use crate::os::Os;
use crate::segment::Segments;
use crate::segment::meta::Age;

/// How much one step may purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    pub(crate) pages: u64,
    /// Calls of the system.
    pub(crate) calls: u64,
}

impl Budget {
    /// No bound.
    pub(super) const ALL: Budget = Budget { pages: u64::MAX, calls: u64::MAX };

    /// Returns the rest of the budget after a purge.
    pub(super) fn less(self, done: Purged) -> Budget {
        Budget {
            pages: self.pages.saturating_sub(done.pages),
            calls: self.calls.saturating_sub(done.calls),
        }
    }
}

impl Purger {
    /// Purges the free pages of an age in a range, within a budget. Pages that may still hold
    /// memory, because the system refused them or has larger pages, become old, so that no queue
    /// takes them again.
    pub(crate) fn range<O: Os>(
        &self,
        segments: &Segments<O>,
        range: Run,
        age: Age,
        budget: Budget,
    ) -> Purged {
        let mut done = Purged::default();
        let mut rest = range;
        while done.calls < budget.calls && done.pages < budget.pages && rest.pages > Pages::ZERO {
            let left = u32::try_from(budget.pages - done.pages).map_or(RANGE_PAGES, Pages::new);
            let Some(_purging) = self.begin() else { break };
            let taken = segments.withdraw_dirty(rest, left.min(RANGE_PAGES), age);
            let Some(run) = taken else { break };
            rest = Run::new(run.end(), rest.end() - run.end());
            let before = done.pages;
            done.purge_run(segments, run);
            if done.pages - before < u64::from(run.pages.get()) {
                segments.make_old(run);
            }
        }
        self.count(done);
        done
    }
}
