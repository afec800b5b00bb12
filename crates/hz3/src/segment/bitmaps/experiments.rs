//! What the experiments note of segments: the age of ranges, and the epochs without a change.

use core::sync::atomic::Ordering;

use super::parts;
use crate::base::bits;
use crate::base::units::Run;
use crate::segment::tables::Tables;

impl Tables {
    /// Makes the pages of a run young.
    pub(crate) fn set_young(&self, run: Run) {
        for part in parts(run) {
            bits::clear(&self.segment(part.segment).old, part.start, part.pages);
        }
    }

    /// Makes the pages of a free run old. The bit says nothing of other pages; those that become
    /// free lose it.
    pub(crate) fn set_old(&self, run: Run) {
        for part in parts(run) {
            bits::set(&self.segment(part.segment).old, part.start, part.pages);
        }
    }

    /// Ends an epoch for a segment: how many have passed since a page of it was taken or became
    /// free.
    pub(crate) fn grow_older(&self, segment: usize) -> u32 {
        let untouched = &self.segment(segment).untouched;
        let epochs = untouched.load(Ordering::Relaxed);
        untouched.store(epochs.saturating_add(1), Ordering::Relaxed);
        epochs
    }

    /// Undoes that a purge touched a segment.
    pub(crate) fn stay_untouched(&self, segment: usize, epochs: u32) {
        self.segment(segment).untouched.store(epochs, Ordering::Relaxed);
    }
}
