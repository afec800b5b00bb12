//! Serves calls while the heap is shut to them: from [`emergency`], and without waiting.
//!
//! The heap is shut to a thread that is already inside one of its operations. Such a call comes
//! from a signal handler that interrupted the operation, from a handler of SIGABRT after hz3 found
//! a fault, or from another library's fork handler. The heap is also shut to all threads of a
//! forked child if the forking thread was inside an operation. In both cases a lock may be held by
//! a thread that cannot release it.
//!
//! A heap block that is freed meanwhile is leaked, because freeing it would change data that the
//! interrupted operation is changing.

use core::ptr::NonNull;

use super::{address, emergency, existing_heap};
use crate::base::size_class::MIN_ALIGN;
use crate::heap::Foreign;
use crate::os::{held, lock};

/// Returns whether the heap is shut to the calling thread.
#[inline(always)]
pub(super) fn is_shut() -> bool {
    held::is_inside() || lock::is_heap_closed()
}

/// Allocates a block of at least `size` bytes that reads as zero; returns NULL on exhaustion.
#[cold]
pub(super) fn aligned(align: usize, size: usize) -> *mut u8 {
    address(emergency::allocate(align, size))
}

/// Frees a block of [`emergency`], and leaks a block of the heap.
#[cold]
pub(super) fn free(block: *mut u8) -> Result<(), Foreign> {
    if emergency::free(block.addr()) { Ok(()) } else { size_in_heap(block.addr()).map(drop) }
}

/// Returns the bytes that the block at `address` holds; 0 if the table with its size is locked.
#[cold]
pub(super) fn usable_size(address: usize) -> Option<usize> {
    emergency::usable_size(address).or_else(|| size_in_heap(address).ok())
}

/// Moves the contents of a block that is too small to a new block of [`emergency`].
///
/// # Safety
/// The caller owns the block and uses only the result afterwards, unless it is NULL.
#[cold]
pub(super) unsafe fn reallocate(block: NonNull<u8>, size: usize) -> Result<*mut u8, Foreign> {
    let present = usable_size(block.addr().get()).ok_or(Foreign)?;
    // A block of unknown length can't be copied.
    let allocate =
        |size| if present > 0 { aligned(MIN_ALIGN, size) } else { core::ptr::null_mut() };
    // SAFETY: the caller's promise; the block holds `present` bytes.
    unsafe { grow(block, present, size, allocate, free) }
}

/// Moves the `present` bytes of a block that is too small to a new one of at least `size` bytes.
///
/// Returns `Ok(NULL)` if there is no memory; then the block is unchanged.
///
/// # Safety
/// As for [`reallocate`]; the block holds `present` bytes, and `free` frees it.
pub(super) unsafe fn grow(
    block: NonNull<u8>,
    present: usize,
    size: usize,
    allocate: impl FnOnce(usize) -> *mut u8,
    free: impl FnOnce(*mut u8) -> Result<(), Foreign>,
) -> Result<*mut u8, Foreign> {
    if size <= present {
        return Ok(block.as_ptr());
    }
    let target = allocate(size);
    if !target.is_null() {
        // SAFETY: the block holds `present` bytes, the new one more, and only this call uses it.
        unsafe { target.copy_from_nonoverlapping(block.as_ptr(), present) };
        free(block.as_ptr())?;
    }
    Ok(target)
}

fn size_in_heap(address: usize) -> Result<usize, Foreign> {
    existing_heap().and_then(|heap| heap.size_without_waiting(address)).ok_or(Foreign)
}
