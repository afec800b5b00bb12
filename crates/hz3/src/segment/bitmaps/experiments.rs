//! The part of a segment's state that only the experiments use: the age of ranges, and epochs
//! without a change.

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

    /// Makes the pages of a free run old. The bit means nothing for other pages, and a page loses
    /// it when it becomes free.
    pub(crate) fn set_old(&self, run: Run) {
        for part in parts(run) {
            bits::set(&self.segment(part.segment).old, part.start, part.pages);
        }
    }

    /// Counts an epoch of a segment. Returns how many had passed since a page of it was taken or
    /// freed.
    pub(crate) fn count_epoch(&self, segment: usize) -> u32 {
        let untouched = &self.segment(segment).untouched;
        let epochs = untouched.load(Ordering::Relaxed);
        untouched.store(epochs.saturating_add(1), Ordering::Relaxed);
        epochs
    }

    /// Restores a segment's number of untouched epochs, which a purge has reset.
    pub(crate) fn set_untouched(&self, segment: usize, epochs: u32) {
        self.segment(segment).untouched.store(epochs, Ordering::Relaxed);
    }
}
