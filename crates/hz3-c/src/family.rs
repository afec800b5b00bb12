//! The malloc family for a library: what `hz3::raw::family` leaves to its user.
//!
//! Blocks of other allocators are passed on, and the slow paths of `malloc` and `free` may start
//! the reclaimer's thread. `malloc` and `free` jump to their slow paths, so the first function sees
//! their return address; [`crate::caller`] says why that matters.

use hz3_alloc::raw;
use hz3_alloc::raw::family::{Exporter, free_within, keeping_errno, malloc_missed};

use crate::caller::start_wanted_reclaimer;
use crate::foreign;

/// `libhz3.so` and `libhz3.a`, beside which other allocators may serve the process.
pub(crate) enum Library {}

// SAFETY: `malloc_cold` jumps to `malloc_from`, which ends in `malloc_missed`.
unsafe impl Exporter for Library {
    #[inline(always)]
    fn malloc_cold(size: usize) -> *mut u8 {
        malloc_cold(size)
    }

    #[inline(always)]
    fn free_cold(block: *mut u8) {
        free_cold(block);
    }

    unsafe fn free_foreign(block: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { foreign::free(block) };
    }

    unsafe fn realloc_foreign(block: *mut u8, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { foreign::realloc(block, size) }
    }

    unsafe fn usable_size_foreign(block: *mut u8) -> usize {
        // SAFETY: the caller's promise.
        unsafe { foreign::usable_size(block) }
    }
}

hz3_alloc::malloc_family!(Library);

/// Serves a miss of `malloc`'s fast path; `caller` is the return address of `malloc`.
pub(crate) extern "C" fn malloc_from(size: usize, caller: usize) -> *mut u8 {
    if let Some(block) = raw::malloc_large(size) {
        return block;
    }
    malloc_slowly(size, caller)
}

/// Serves [`malloc_from`] if the thread freed no suitable large block lately.
#[inline(never)]
fn malloc_slowly(size: usize, caller: usize) -> *mut u8 {
    let block = malloc_missed(size);
    // Starting a thread may set `errno`, which is that of the request by now.
    keeping_errno(|| start_wanted_reclaimer(caller));
    block
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
    // SAFETY: the program passed `block` to free.
    unsafe { free_within::<Library>(block) };
    keeping_errno(|| start_wanted_reclaimer(caller));
}

/// Jumps to the slow path of `malloc`. Inlined, so that it stays a jump.
#[inline(always)]
fn malloc_cold(size: usize) -> *mut u8 {
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
    pub(super) use hz3_alloc::raw::family::malloc_missed as malloc;

    pub(super) fn free(block: *mut u8) {
        // SAFETY: the program passed `block` to free.
        unsafe { super::free_within::<super::Library>(block) };
    }
}
