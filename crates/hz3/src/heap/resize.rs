//! What lies at an address, and what becomes of a block whose size changes.

use core::ptr::NonNull;

use super::{Foreign, Heap};
use crate::base::size_class::{MAX_SMALL, SizeClass};
use crate::base::units::Run;
use crate::cache::Front;
use crate::os::Os;
use crate::os::fatal::fatal;

/// What an address turned out to be.
enum Place {
    Small(SizeClass),
    Large(Run),
    Huge(usize),
    Foreign,
}

impl<O: Os> Heap<O> {
    fn place(&self, address: usize) -> Place {
        let Some(offset) = self.segments.arena().offset_of(address) else {
            if let Some(bytes) = self.segments.huge_at(address) {
                return Place::Huge(bytes);
            }
            if self.segments.arena().contains(address) {
                fatal("not a block: no memory was ever handed out there", address);
            }
            if self.segments.is_in_huge(address) {
                fatal("not a block: inside one", address);
            }
            return Place::Foreign;
        };
        let class = self.segments.class_at(offset);
        if class != SizeClass::NONE {
            return Place::Small(class);
        }
        match self.segments.large_at(offset) {
            Ok(run) => Place::Large(run),
            Err(_) => fatal("not a block: inside one, or already free", address),
        }
    }

    /// Bytes that the block at `address` holds.
    pub(crate) fn usable_size(&self, address: usize) -> Option<usize> {
        match self.place(address) {
            Place::Small(class) => Some(class.block_bytes()),
            Place::Large(run) => Some(run.pages.bytes()),
            Place::Huge(bytes) => Some(bytes),
            Place::Foreign => None,
        }
    }

    /// As [`Heap::usable_size`], for a call that must not wait for a lock: 0 for an address outside the
    /// arena while the table of blocks there is in use.
    pub(crate) fn size_without_waiting(&self, address: usize) -> Option<usize> {
        if self.segments.arena().contains(address) {
            return self.usable_size(address);
        }
        self.segments
            .try_huge_at(address)
            .unwrap_or_else(|_| fatal("not a block: inside one", address))
    }

    /// Changes the size of a block; the result may be another one. `Ok(None)`: there is no memory
    /// and the block is what it was.
    ///
    /// # Safety
    /// The front is the calling thread's; the block is the caller's, and only the result is used
    /// afterwards, unless it is `None`.
    pub(crate) unsafe fn reallocate(
        &self,
        front: Front<'_>,
        block: NonNull<u8>,
        size: usize,
    ) -> Result<Option<NonNull<u8>>, Foreign> {
        let place = self.place(block.addr().get());
        let present = match place {
            Place::Foreign => return Err(Foreign),
            Place::Small(class) if class.keeps(size) => return Ok(Some(block)),
            Place::Small(class) => class.block_bytes(),
            Place::Large(run) => run.pages.bytes(),
            Place::Huge(bytes) => bytes,
        };
        if size > MAX_SMALL
            && let Some(resized) = self.resize_pages(front, block, &place, size)
        {
            return Ok(Some(resized));
        }
        // SAFETY: the caller's promise.
        let moved = unsafe { self.move_block(front, block, present.min(size), size) };
        if moved.is_none() && size <= present {
            // Shrinking never fails: without memory for a copy the block loses what it can.
            return Ok(self.resize_pages(front, block, &place, size).or(Some(block)));
        }
        Ok(moved)
    }

    /// Resizes a block of whole pages without copying, if it is one and that is possible.
    fn resize_pages(
        &self,
        front: Front<'_>,
        block: NonNull<u8>,
        place: &Place,
        size: usize,
    ) -> Option<NonNull<u8>> {
        match *place {
            Place::Large(run) => self.segments.resize_large(run, size.max(1)),
            Place::Huge(_) => {
                let resize = || self.segments.resize_huge(block, size.max(1));
                resize().or_else(|| self.retry(front, resize))
            }
            Place::Small(_) | Place::Foreign => None,
        }
    }

    /// Moves a block's first `kept` bytes to a new block of `size`.
    ///
    /// # Safety
    /// As for [`Heap::reallocate`]; the block holds at least `kept` bytes, and so does `size`.
    unsafe fn move_block(
        &self,
        front: Front<'_>,
        block: NonNull<u8>,
        kept: usize,
        size: usize,
    ) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise.
        let target = unsafe { self.allocate(front, size) }?;
        // SAFETY: both blocks hold `kept` bytes, and the new one is nobody else's.
        unsafe { target.copy_from_nonoverlapping(block, kept) };
        // SAFETY: the caller gave the block up. It is hz3's, so the free succeeds.
        let freed = unsafe { self.free(front, block.as_ptr()) };
        debug_assert!(freed.is_ok());
        Some(target)
    }
}
