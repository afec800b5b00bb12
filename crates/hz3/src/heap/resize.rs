//! The kind of a block at an address, how full its slab is, and changes of a block's size.

use core::ptr::NonNull;

use super::{Foreign, Heap};
use crate::base::size_class::{MAX_SMALL, SizeClass};
use crate::base::units::Run;
use crate::cache::Front;
use crate::central::Central;
use crate::os::Os;
use crate::os::fatal::fatal;
use crate::profiler::guards::Noted;
use crate::stats::Utilization;

/// The kind of block at an address.
pub(super) enum BlockKind {
    Small(SizeClass),
    Large(Run),
    Huge(usize),
    /// A guarded block of that size.
    Guarded(usize),
    /// An address beside a guarded block, or a freed one; noted as a misuse.
    Misused,
    Foreign,
}

/// The sample that a block is which will be resized.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sampled {
    No,
    /// A sampled small block, which may not change its length in place.
    Twin,
    /// A large or huge block, which is an ordinary one until its sample returns or ends.
    Withdrawn(u32),
}

impl Sampled {
    fn of(withdrawn: Option<u32>) -> Sampled {
        withdrawn.map_or(Sampled::No, Sampled::Withdrawn)
    }
}

impl<O: Os> Heap<O> {
    /// Returns the kind of the block of the arena that starts at `address` or, in a slab, contains
    /// it.
    fn kind_in_arena(&self, address: usize) -> Option<BlockKind> {
        let offset = self.segments.arena().offset_of(address)?;
        let class = self.segments.class_at(offset);
        if class != SizeClass::NONE {
            return Some(BlockKind::Small(class));
        }
        self.segments.large_at(offset).ok().map(BlockKind::Large)
    }

    fn kind_of(&self, address: usize) -> BlockKind {
        if let Some(kind) = self.kind_in_arena(address) {
            return kind;
        }
        match self.profile().guards().size_at(address) {
            Ok(Some(bytes)) => return BlockKind::Guarded(bytes),
            Err(Noted) => return BlockKind::Misused,
            Ok(None) => {}
        }
        // A huge block may lie in pages that the arena skipped.
        if let Some(bytes) = self.segments.huge_at(address) {
            return BlockKind::Huge(bytes);
        }
        if self.segments.arena().offset_of(address).is_some() {
            fatal("not a block: inside one, or already free", address);
        }
        if self.segments.arena().contains(address) {
            fatal("not a block: no memory was ever handed out there", address);
        }
        if self.segments.is_in_huge(address) {
            fatal("not a block: inside one", address);
        }
        BlockKind::Foreign
    }

    /// Returns how many bytes the block at `address` holds; `None` for a foreign address.
    pub(crate) fn usable_size(&self, address: usize) -> Option<usize> {
        match self.kind_of(address) {
            BlockKind::Small(class) => Some(class.block_bytes()),
            BlockKind::Large(run) => Some(run.pages.bytes()),
            BlockKind::Huge(bytes) | BlockKind::Guarded(bytes) => Some(bytes),
            BlockKind::Misused => Some(0),
            BlockKind::Foreign => None,
        }
    }

    /// Returns how full the slab of the block at `address` is; `None` if no block starts there, or
    /// if it is free. Any address is allowed.
    pub(crate) fn utilization(&self, address: usize) -> Option<Utilization> {
        let alone = |block_bytes| Utilization { block_bytes, blocks: 1, used: 1 };
        match self.kind_in_arena(address) {
            Some(BlockKind::Small(_)) => {
                let offset = self.segments.arena().offset_of(address)?;
                Central::utilization(&self.segments, offset)
            }
            Some(BlockKind::Large(run)) => Some(alone(run.pages.bytes())),
            _ => {
                let guarded = self.profile().guards().live_size(address);
                guarded.or_else(|| self.segments.huge_at(address)).map(alone)
            }
        }
    }

    /// As [`Heap::usable_size`], for a call that must not wait for a lock.
    /// Returns 0 for an address of no block of the arena while another thread uses the table of
    /// huge blocks.
    pub(crate) fn size_without_waiting(&self, address: usize) -> Option<usize> {
        match self.kind_in_arena(address) {
            Some(BlockKind::Small(class)) => return Some(class.block_bytes()),
            Some(BlockKind::Large(run)) => return Some(run.pages.bytes()),
            _ => {}
        }
        if let Some(bytes) = self.profile().guards().size_in_place(address) {
            return Some(bytes);
        }
        match self.segments.try_huge_at(address) {
            Ok(None) if self.segments.arena().contains(address) => {
                fatal("not a block: inside one, already free, or never handed out", address)
            }
            Ok(found) => found,
            Err(_) => fatal("not a block: inside one", address),
        }
    }

    /// Changes the size of a block, which may move. Returns `Ok(None)` if there is no memory; the
    /// block is then unchanged.
    ///
    /// # Safety
    /// The block is the caller's, and only the result is used afterwards, unless it is `None`.
    pub(crate) unsafe fn reallocate(
        &self,
        front: Front<'_>,
        block: NonNull<u8>,
        size: usize,
    ) -> Result<Option<NonNull<u8>>, Foreign> {
        let kind = self.kind_of(block.addr().get());
        let present = match kind {
            BlockKind::Foreign => return Err(Foreign),
            BlockKind::Small(class) if class.keeps(size) => return Ok(Some(block)),
            BlockKind::Small(class) => class.block_bytes(),
            BlockKind::Large(run) => run.pages.bytes(),
            BlockKind::Huge(bytes) | BlockKind::Guarded(bytes) => bytes,
            BlockKind::Misused => return Ok(None),
        };
        // For the profile a block that is resized is freed and allocated. Its sample ends only once
        // that has succeeded.
        let sample = match kind {
            BlockKind::Large(run) => self.withdraw_sample_of(run),
            BlockKind::Huge(_) => Sampled::of(self.profile().withdraw_huge(block.addr().get())),
            _ => Sampled::No,
        };
        // SAFETY: the caller's promise.
        let resized = unsafe { self.resize(front, block, &kind, present, size, sample) };
        if let Sampled::Withdrawn(number) = sample {
            if resized.is_some() {
                self.profile().leave(self.os(), number);
            } else {
                self.put_back_sample(&kind, number);
            }
        }
        // Shrinking never fails: without memory for a copy, the block stays as it is.
        Ok(resized.or((size <= present).then_some(block)))
    }

    /// Resizes or moves a block of `present` bytes. Returns `None` if that is not possible; the
    /// block is then unchanged.
    ///
    /// # Safety
    /// As for [`Heap::reallocate`].
    unsafe fn resize(
        &self,
        front: Front<'_>,
        block: NonNull<u8>,
        kind: &BlockKind,
        present: usize,
        size: usize,
        sample: Sampled,
    ) -> Option<NonNull<u8>> {
        let in_place = || {
            // A sampled small block has its number where the length of a large one would go.
            let resized = match sample {
                Sampled::Twin => None,
                _ => self.resize_pages(front, block, kind, size),
            }?;
            self.note_large(front, resized, size);
            Some(resized)
        };
        if size > MAX_SMALL
            && let Some(resized) = in_place()
        {
            return Some(resized);
        }
        // SAFETY: the caller's promise.
        let moved = unsafe { self.move_block(front, block, present.min(size), size) };
        if moved.is_none() && size <= present {
            // Without memory for a copy, the block gives up as many pages as it can.
            return in_place();
        }
        moved
    }

    /// Resizes a block of whole pages without copying, if that is possible.
    fn resize_pages(
        &self,
        front: Front<'_>,
        block: NonNull<u8>,
        kind: &BlockKind,
        size: usize,
    ) -> Option<NonNull<u8>> {
        match *kind {
            BlockKind::Large(run) => self.segments.resize_large(run, size.max(1)),
            BlockKind::Huge(_) => {
                let resize = || self.segments.resize_huge(block, size.max(1));
                resize().or_else(|| self.retry(front, resize))
            }
            _ => None,
        }
    }

    /// Moves a block's first `kept` bytes to a new block of `size`.
    ///
    /// # Safety
    /// As for [`Heap::reallocate`]. The block holds at least `kept` bytes, and so does `size`.
    unsafe fn move_block(
        &self,
        front: Front<'_>,
        block: NonNull<u8>,
        kept: usize,
        size: usize,
    ) -> Option<NonNull<u8>> {
        let target = self.allocate(front, size)?;
        // SAFETY: both blocks hold `kept` bytes, and the new one belongs to this call alone.
        unsafe { target.copy_from_nonoverlapping(block, kept) };
        // SAFETY: the caller gave the block up. It is hz3's, so the free succeeds.
        let freed = unsafe { self.free(front, block.as_ptr()) };
        debug_assert!(freed.is_ok());
        Some(target)
    }
}
