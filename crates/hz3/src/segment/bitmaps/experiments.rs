//! The part of a segment's state that only the experiments use: the age of ranges, and epochs
//! without a change.

use core::sync::atomic::Ordering;

use super::parts;
use crate::base::bits;
use crate::base::units::Run;
use crate::segment::tables::Tables;

impl Tables {
    /// Makes the free dirty pages of a run old or young. Returns how many pages of the segments
    /// were old before, and how many are now.
    /// The bit means nothing for pages that are not free, and a page loses it when it becomes free.
    pub(crate) fn set_age(&self, run: Run, is_old: bool) -> (u32, u32) {
        parts(run).fold((0, 0), |(before, after), part| {
            let meta = self.segment(part.segment);
            let before = before + meta.old_pages();
            if is_old {
                bits::set_where(&meta.old, &meta.dirty, part.start, part.pages);
            } else {
                bits::clear(&meta.old, part.start, part.pages);
            }
            (before, after + meta.old_pages())
        })
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
