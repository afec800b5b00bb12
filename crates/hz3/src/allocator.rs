//! Implements the trait `Allocator` of the crate `allocator-api2`, or of nightly's `core`.
//!
//! With the feature `nightly` both names mean the same trait, so one implementation is enough.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

#[cfg(not(feature = "nightly"))]
use allocator_api2::alloc::{AllocError, Allocator};
#[cfg(feature = "nightly")]
use core::alloc::{AllocError, Allocator};

use crate::Hz3;

/// Converts a block to the slice that the trait returns, and NULL to its error.
fn slice(block: *mut u8, size: usize) -> Result<NonNull<[u8]>, AllocError> {
    let block = NonNull::new(block).ok_or(AllocError)?;
    Ok(NonNull::slice_from_raw_parts(block, size))
}

/// Returns the pointer that stands for a block of no bytes: aligned, never read, never freed.
fn empty(layout: Layout) -> NonNull<[u8]> {
    // An alignment is never 0.
    let address = NonNull::new(ptr::without_provenance_mut(layout.align()));
    NonNull::slice_from_raw_parts(address.unwrap_or(NonNull::dangling()), 0)
}

/// Allocates by `allocate`, a method of [`GlobalAlloc`], which must not be called for 0 bytes.
#[inline(always)]
fn allocate_unless_empty(
    layout: Layout,
    allocate: unsafe fn(&Hz3, Layout) -> *mut u8,
) -> Result<NonNull<[u8]>, AllocError> {
    if layout.size() == 0 {
        return Ok(empty(layout));
    }
    // SAFETY: the size is not 0.
    slice(unsafe { allocate(&Hz3, layout) }, layout.size())
}

/// Changes the layout of a block, in place where that is possible.
///
/// # Safety
/// As for [`Allocator::grow`] and [`Allocator::shrink`].
unsafe fn resize(
    block: NonNull<u8>,
    old: Layout,
    new: Layout,
) -> Result<NonNull<[u8]>, AllocError> {
    if old.size() > 0 && new.size() > 0 && old.align() == new.align() {
        // SAFETY: the block has the old layout, and the new size is not 0.
        let moved = unsafe { Hz3.realloc(block.as_ptr(), old, new.size()) };
        return slice(moved, new.size());
    }
    let target = Hz3.allocate(new)?;
    let kept = old.size().min(new.size());
    // SAFETY: both blocks have that many bytes, and only this function uses the new one.
    unsafe { block.copy_to_nonoverlapping(target.cast(), kept) };
    // SAFETY: the caller gave the block up for the new one.
    unsafe { Hz3.deallocate(block, old) };
    Ok(target)
}

// SAFETY: blocks stay where they are until they are freed, and all values of `Hz3` share one heap.
unsafe impl Allocator for Hz3 {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        allocate_unless_empty(layout, <Hz3 as GlobalAlloc>::alloc)
    }

    #[inline]
    fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        allocate_unless_empty(layout, <Hz3 as GlobalAlloc>::alloc_zeroed)
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() > 0 {
            // SAFETY: a block of more than 0 bytes came from `alloc` with this layout.
            unsafe { self.dealloc(block.as_ptr(), layout) };
        }
    }

    unsafe fn grow(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise.
        unsafe { resize(block, old, new) }
    }

    unsafe fn grow_zeroed(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise.
        let grown = unsafe { resize(block, old, new) }?;
        let added = new.size() - old.size();
        // SAFETY: the new block has the new size, which is not less than the old one.
        let tail = unsafe { grown.cast::<u8>().add(old.size()) };
        // SAFETY: these bytes are the new part of the caller's block.
        unsafe { tail.write_bytes(0, added) };
        Ok(grown)
    }

    unsafe fn shrink(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise.
        unsafe { resize(block, old, new) }
    }
}
