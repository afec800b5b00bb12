//! Prefaulting: memory for a whole run by one system call.
//!
//! The first touch of a page is a fault, and each fault costs time. If a run will almost certainly
//! be written soon, hz3 asks the kernel for all of its pages at once. That takes about two thirds
//! of the time of single faults (`docs/decisions/0008-prefault-whole-slabs.md`). The caller,
//! `Central::open_slab`, decides whether it is certain enough.

use core::sync::atomic::Ordering;

use super::Segments;
use crate::base::units::{PAGE_BYTES, Run, to_u64};
use crate::os::{Os, Refused};

impl<O: Os> Segments<O> {
    /// Prefaults all pages of a run that belongs to the caller (I-3), if at least half of them are
    /// clean. Returns whether it asked the system: then any of the pages may hold memory.
    ///
    /// The caller holds no lock of a bin or of the page heap.
    pub(crate) fn prefault(&self, run: Run) -> bool {
        if !self.prefaults.load(Ordering::Relaxed) {
            return false;
        }
        let clean = run.pages.get() - self.tables().dirty_pages(run);
        // The kernel visits every page, also resident ones, so it does not pay for a few clean
        // pages.
        if clean < run.pages.get() / 2 {
            return false;
        }
        // SAFETY: I-3: the run is the caller's, and what was taken is committed.
        if unsafe { self.os().prefault(self.span(run)) } == Err(Refused) {
            // The system probably cannot prefault at all, so it is not asked again. Faults still
            // work.
            self.prefaults.store(false, Ordering::Relaxed);
        } else {
            self.account.note_prefaulted(u64::from(clean) * to_u64(PAGE_BYTES));
        }
        true
    }
}
