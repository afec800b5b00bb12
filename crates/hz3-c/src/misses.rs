//! What `malloc` and `free` do when the thread's cache cannot serve them.
//!
//! They jump here, so the first function sees where its caller's caller is; [`crate::caller`] says what
//! for.

use hz3_alloc::raw;

use crate::caller::start_wanted_reclaimer;
use crate::errno::{keeping_errno, or_enomem, request};
use crate::foreign;

/// `malloc` where the thread's cache has nothing, called by the code at `caller`. Follows a miss of
/// the fast path, only.
pub(crate) extern "C" fn malloc_from(size: usize, caller: usize) -> *mut u8 {
    if let Some(block) = raw::malloc_large(size) {
        return block;
    }
    malloc_slowly(size, caller)
}

/// [`malloc_from`] where the thread freed no such block lately.
#[inline(never)]
fn malloc_slowly(size: usize, caller: usize) -> *mut u8 {
    let block = malloc_within(size);
    start_wanted_reclaimer(caller);
    block
}

/// As [`malloc_from`], within a function that is not known to have been called by the program.
#[cold]
#[inline(never)]
pub(crate) fn malloc_within(size: usize) -> *mut u8 {
    // SAFETY: this is what the fast path's misses call, with their size.
    or_enomem(request(size, || unsafe { raw::malloc_miss(size) })).cast()
}

/// `free` where the thread's cache can't take the block, or the pointer isn't a small block, called
/// by the code at `caller`. Follows a miss of the fast path, only.
pub(crate) extern "C" fn free_from(block: *mut u8, caller: usize) {
    // SAFETY: `block` is what the program passed to free; the core checks it.
    if !unsafe { raw::free_large(block) } {
        free_slowly(block, caller);
    }
}

/// [`free_from`] where the thread does not keep the block.
#[inline(never)]
fn free_slowly(block: *mut u8, caller: usize) {
    free_within(block);
    keeping_errno(|| start_wanted_reclaimer(caller));
}

/// As [`free_from`], within a function that is not known to have been called by the program.
#[cold]
#[inline(never)]
pub(crate) fn free_within(block: *mut u8) {
    keeping_errno(|| {
        // SAFETY: `block` is what the program passed to free; the core checks it.
        if unsafe { raw::free_miss(block) }.is_err() {
            // SAFETY: as above, and the core says that the block isn't ours.
            unsafe { foreign::free(block) };
        }
    });
}

/// What `malloc` does where the thread's cache has nothing. Inlined, so that it stays a jump.
#[inline(always)]
pub(crate) fn malloc_cold(size: usize) -> *mut u8 {
    jumped_to::malloc(size)
}

/// What `free` does where the thread's cache can't take the block. Inlined, so that it stays a jump.
#[inline(always)]
pub(crate) fn free_cold(block: *mut u8) {
    jumped_to::free(block);
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod jumped_to {
    use core::arch::naked_asm;

    use super::{free_from, malloc_from};

    /// [`malloc_from`] with the return address of the function that jumps here.
    #[unsafe(naked)]
    pub(super) extern "C" fn malloc(size: usize) -> *mut u8 {
        #[cfg(target_arch = "x86_64")]
        naked_asm!("mov rsi, qword ptr [rsp]", "jmp {}", sym malloc_from);
        #[cfg(target_arch = "aarch64")]
        naked_asm!("mov x1, x30", "b {}", sym malloc_from);
    }

    /// [`free_from`] with the return address of the function that jumps here.
    #[unsafe(naked)]
    pub(super) extern "C" fn free(block: *mut u8) {
        #[cfg(target_arch = "x86_64")]
        naked_asm!("mov rsi, qword ptr [rsp]", "jmp {}", sym free_from);
        #[cfg(target_arch = "aarch64")]
        naked_asm!("mov x1, x30", "b {}", sym free_from);
    }
}

/// Elsewhere the caller is never known.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod jumped_to {
    pub(super) use super::{free_within as free, malloc_within as malloc};
}
