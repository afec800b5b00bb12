//! The layers that the slow paths of the caches call.

use core::sync::atomic::AtomicU64;

use crate::base::size_class::SizeClass;
use crate::base::sync::Slot;
use crate::central::Central;
use crate::os::Os;
use crate::segment::Segments;
use crate::transfer::Transfers;

/// References to the layers below the caches, and to the shared sum of capacities.
pub(crate) struct Below<'a, O> {
    pub(crate) transfers: &'a Transfers,
    pub(crate) central: &'a Central,
    pub(crate) segments: &'a Segments<O>,
    /// The sum of the capacities of all caches, in bytes.
    pub(crate) granted: &'a AtomicU64,
}

impl<O: Os> Below<'_, O> {
    /// Takes a batch; see [`Transfers::fetch`].
    pub(crate) fn fetch(self, class: SizeClass, out: &[Slot]) -> usize {
        self.transfers.fetch(self.central, self.segments, class, out)
    }

    /// Passes a batch on; see [`Transfers::flush`].
    pub(crate) fn flush(self, class: SizeClass, batch: &[Slot]) {
        self.transfers.flush(self.central, self.segments, class, batch);
    }

    /// Puts blocks straight back into their slabs; see [`Central::put`].
    pub(crate) fn put(self, class: SizeClass, batch: &[Slot]) {
        self.central.put(self.segments, class, batch);
    }
}

impl<O> Clone for Below<'_, O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O> Copy for Below<'_, O> {}

/// Checks that a cached block is of `class` and not free in its slab; panics on a breach of I-7.
#[cfg(any(test, feature = "check"))]
pub(super) fn check_block<O: Os>(below: Below<'_, O>, class: SizeClass, block: *mut u8) {
    let offset = below.segments.arena().offset_of(block.addr());
    let offset = offset.unwrap_or_else(|| panic!("I-7: {block:?} is not in the arena"));
    let found = below.segments.class_at(offset);
    assert_eq!(found, class, "I-7: the class of {block:?}");
    let state = Central::check_in_use(below.segments, class, offset);
    assert_eq!(state, Ok(()), "I-7: {block:?}, of {class:?}");
}
