//! What the calls do while the heap is shut to them: serve themselves from [`emergency`] and never
//! wait.
//!
//! The heap is shut to a thread that is inside an operation of it already. Such a call comes from a
//! signal handler that interrupted the operation, from a handler of SIGABRT after hz3 itself found a
//! fault, or from another library's handler while the process forks. And it is shut to all threads of
//! a forked child whose parent's thread was inside an operation. In either case a lock may be held
//! by a thread that cannot release it.
//!
//! A block of the heap that is freed meanwhile is lost to the process. That is harmless: the
//! alternative is to change what the interrupted operation is just changing.

use core::ptr::NonNull;

use super::{address, emergency, existing_heap};
use crate::base::size_class::MIN_ALIGN;
use crate::heap::Foreign;
use crate::os::{held, lock};

/// Whether the heap is shut to the calling thread.
#[inline(always)]
pub(super) fn is_shut() -> bool {
    held::is_inside() || lock::is_heap_closed()
}

/// A block of at least `size` bytes that reads as zero; NULL on exhaustion.
#[cold]
pub(super) fn aligned(align: usize, size: usize) -> *mut u8 {
    address(emergency::allocate(align, size))
}

/// Frees a block of [`emergency`]'s, and drops one of the heap's.
#[cold]
pub(super) fn free(block: *mut u8) -> Result<(), Foreign> {
    if emergency::free(block.addr()) { Ok(()) } else { size_in_heap(block.addr()).map(drop) }
}

/// Bytes that the block at `address` holds. 0 when the table that would say so is in use.
#[cold]
pub(super) fn usable_size(address: usize) -> Option<usize> {
    emergency::usable_size(address).or_else(|| size_in_heap(address).ok())
}

/// Moves the contents of a block, whosever, to a new one of [`emergency`]'s if it is too small.
///
/// # Safety
/// The block is the caller's, and only the result is used afterwards, unless it is NULL.
#[cold]
pub(super) unsafe fn reallocate(block: NonNull<u8>, size: usize) -> Result<*mut u8, Foreign> {
    let present = usable_size(block.addr().get()).ok_or(Foreign)?;
    // A block of unknown length can't be copied.
    let allocate =
        |size| if present > 0 { aligned(MIN_ALIGN, size) } else { core::ptr::null_mut() };
    // SAFETY: the caller's promise; the block holds `present` bytes.
    unsafe { grow(block, present, size, allocate, free) }
}

/// Moves the `present` bytes of a block to a new one of at least `size` bytes if it is too small.
/// `Ok(NULL)`: there is no memory, and the block is what it was.
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
        // SAFETY: the block holds so many bytes, the new one more, and it is nobody else's.
        unsafe { target.copy_from_nonoverlapping(block.as_ptr(), present) };
        free(block.as_ptr())?;
    }
    Ok(target)
}

fn size_in_heap(address: usize) -> Result<usize, Foreign> {
    existing_heap().and_then(|heap| heap.size_without_waiting(address)).ok_or(Foreign)
}
