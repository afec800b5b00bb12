//! Frees that fit no block in use: how they are found, kept and reported.
//!
//! A fault is found under a bin's lock. A handler of SIGABRT may wait for threads that need that
//! lock, so the fault is kept until its thread holds none.

use core::sync::atomic::Ordering;

use super::Central;
use super::blocks::{BadBlock, Blocks};
use super::slab::Slab;
use crate::base::size_class::SizeClass;
use crate::base::units::ChunkIndex;
use crate::os::Os;
use crate::os::fatal::fatal_small;
use crate::segment::Segments;

/// Ends the process because of an invalid free. The caller holds no lock, because a handler of
/// SIGABRT may wait for threads that need it.
#[cold]
pub(crate) fn refuse(reason: BadBlock, class: SizeClass, address: usize) -> ! {
    let bytes = class.block_bytes();
    match reason {
        BadBlock::NoSlab => fatal_small("double free", bytes, "of a slab that is gone", address),
        BadBlock::AlreadyFree => fatal_small("double free", bytes, "free in its slab", address),
        BadBlock::NotInUse => {
            let reason = "double free, or free of a block that was never handed out";
            fatal_small(reason, bytes, "free in its slab", address)
        }
        BadBlock::NoBlockStart => {
            fatal_small("free of an address inside a block", bytes, "no block starts here", address)
        }
    }
}

impl Central {
    /// Checks that a block of `class` starts at an offset in the arena and is not free in its slab.
    ///
    /// Exact for a block that the caller may free, because no other thread changes its bit. An
    /// invalid free may pass if another thread takes or puts back the same block meanwhile.
    ///
    /// # Errors
    /// [`BadBlock::NoBlockStart`] or [`BadBlock::NotInUse`].
    pub(crate) fn check_in_use<O: Os>(
        segments: &Segments<O>,
        class: SizeClass,
        offset: usize,
    ) -> Result<(), BadBlock> {
        let tables = segments.tables();
        let first = Slab::first_chunk(tables, ChunkIndex::of_offset(offset));
        let blocks = Blocks::of(tables, first, class);
        let block = blocks.block_at(offset.wrapping_sub(first.offset()))?;
        if blocks.is_free(block) {
            return Err(BadBlock::NotInUse);
        }
        Ok(())
    }

    /// Records that a block cannot be put back. The first fault ends the process as soon as the
    /// thread that noticed it holds no lock. Until then the block is lost.
    #[cold]
    pub(super) fn note_fault(&self, reason: BadBlock, class: SizeClass, address: usize) {
        let mut fault = self.fault.lock();
        fault.get_or_insert((reason, class, address));
        // Set under the lock, because `report_fault` clears it when it takes the fault.
        self.is_faulty.store(true, Ordering::Relaxed);
    }

    /// Ends the process if a block could not be put back. The caller holds no lock.
    #[inline]
    pub(crate) fn end_if_faulty(&self) {
        if self.is_faulty.load(Ordering::Relaxed) {
            self.report_fault();
        }
    }

    #[cold]
    fn report_fault(&self) {
        // One thread takes the fault. The others go on, because a handler of SIGABRT may wait for
        // them.
        let fault = {
            let mut fault = self.fault.lock();
            self.is_faulty.store(false, Ordering::Relaxed);
            fault.take()
        };
        if let Some((reason, class, address)) = fault {
            refuse(reason, class, address);
        }
    }
}
