//! Memory for a whole run by one system call.
//!
//! A first touch is a fault, and faults are paid page by page. Where a run is as good as certain to
//! be written soon, the kernel is asked for all of its pages at once, which takes about three
//! quarters of the time. Who is certain is for the caller to say: `Central::open_slab`.

use core::sync::atomic::Ordering;

use super::Segments;
use crate::base::units::{PAGE_BYTES, Run, to_u64};
use crate::os::{Os, Refused};

impl<O: Os> Segments<O> {
    /// Brings memory to all pages of a run that is the caller's (I-3), if at least half of them are
    /// clean. Returns whether it tried: any of the pages may hold memory then.
    ///
    /// No lock of a bin or of the page heap may be held.
    pub(crate) fn prefault(&self, run: Run) -> bool {
        if !self.prefaults.load(Ordering::Relaxed) {
            return false;
        }
        let clean = run.pages.get() - self.tables().dirty_pages(run);
        // The kernel looks at every page, also at those that are there: too few gain nothing.
        if clean < run.pages.get() / 2 {
            return false;
        }
        // SAFETY: I-3: the run is the caller's, and what was taken is committed.
        if unsafe { self.os().prefault(self.span(run)) } == Err(Refused) {
            // Most likely a system that cannot do it: it is not asked again. Faults still work.
            self.prefaults.store(false, Ordering::Relaxed);
        } else {
            self.account.note_prefaulted(u64::from(clean) * to_u64(PAGE_BYTES));
        }
        true
    }
}
