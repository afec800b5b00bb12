//! The slow paths of `malloc` and `free`, if the thread's cache cannot serve them.
//!
//! `malloc` and `free` jump here, so the first function sees their return address;
//! [`crate::caller`] says why that matters.

use hz3_alloc::raw;

use crate::caller::start_wanted_reclaimer;
use crate::errno::{keeping_errno, or_enomem, request};
use crate::foreign;

/// Serves a miss of `malloc`'s fast path; `caller` is the return address of `malloc`.
pub(crate) extern "C" fn malloc_from(size: usize, caller: usize) -> *mut u8 {
    // SAFETY: the fast path has missed with this size and calls this first.
    if let Some(block) = unsafe { raw::finish_malloc(size) } {
        return block;
    }
    if let Some(block) = raw::malloc_large(size) {
        return block;
    }
    malloc_slowly(size, caller)
}

/// Serves [`malloc_from`] if the thread freed no suitable large block lately.
#[inline(never)]
fn malloc_slowly(size: usize, caller: usize) -> *mut u8 {
    let block = malloc_missed(size);
    start_wanted_reclaimer(caller);
    block
}

/// Serves a miss as [`malloc_from`] does, if the caller is unknown.
#[cold]
#[inline(never)]
pub(crate) fn malloc_within(size: usize) -> *mut u8 {
    // SAFETY: the fast path has missed with this size and calls this first.
    unsafe { raw::finish_malloc(size) }.unwrap_or_else(|| malloc_missed(size))
}

/// Serves [`malloc_within`] if the cache has no block, or the block is to be sampled.
#[inline(never)]
fn malloc_missed(size: usize) -> *mut u8 {
    // SAFETY: the fast path has missed with this size and calls this first.
    or_enomem(request(size, || unsafe { raw::malloc_miss(size) })).cast()
}

/// Serves a miss of `free`'s fast path: the thread's cache is full, or the block is not small.
/// `caller` is the return address of `free`.
pub(crate) extern "C" fn free_from(block: *mut u8, caller: usize) {
    // SAFETY: the program passed `block` to free; the core checks it.
    if !unsafe { raw::free_large(block) } {
        free_slowly(block, caller);
    }
}

/// Serves [`free_from`] if the thread does not keep the block.
#[inline(never)]
fn free_slowly(block: *mut u8, caller: usize) {
    free_within(block);
    keeping_errno(|| start_wanted_reclaimer(caller));
}

/// Serves a miss as [`free_from`] does, if the caller is unknown.
#[cold]
#[inline(never)]
pub(crate) fn free_within(block: *mut u8) {
    keeping_errno(|| {
        // SAFETY: the program passed `block` to free; the core checks it.
        if unsafe { raw::free_miss(block) }.is_err() {
            // SAFETY: as above, and the core has found that the block is foreign.
            unsafe { foreign::free(block) };
        }
    });
}

/// Jumps to the slow path of `malloc`. Inlined, so that it stays a jump.
#[inline(always)]
pub(crate) fn malloc_cold(size: usize) -> *mut u8 {
    jumped_to::malloc(size)
}

/// Jumps to the slow path of `free`. Inlined, so that it stays a jump.
#[inline(always)]
pub(crate) fn free_cold(block: *mut u8) {
    jumped_to::free(block);
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod jumped_to {
    use core::arch::naked_asm;

    use super::{free_from, malloc_from};

    /// Calls [`malloc_from`] with the return address of the function that jumps here.
    #[unsafe(naked)]
    pub(super) extern "C" fn malloc(size: usize) -> *mut u8 {
        #[cfg(target_arch = "x86_64")]
        naked_asm!("mov rsi, qword ptr [rsp]", "jmp {}", sym malloc_from);
        #[cfg(target_arch = "aarch64")]
        naked_asm!("mov x1, x30", "b {}", sym malloc_from);
    }

    /// Calls [`free_from`] with the return address of the function that jumps here.
    #[unsafe(naked)]
    pub(super) extern "C" fn free(block: *mut u8) {
        #[cfg(target_arch = "x86_64")]
        naked_asm!("mov rsi, qword ptr [rsp]", "jmp {}", sym free_from);
        #[cfg(target_arch = "aarch64")]
        naked_asm!("mov x1, x30", "b {}", sym free_from);
    }
}

/// On other targets the caller is always unknown.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod jumped_to {
    pub(super) use super::{free_within as free, malloc_within as malloc};
}
