//! `libhz3-jemalloc.so`: jemalloc's own functions for programs that call them by name, over the
//! public functions of `libhz3.so`.
//!
//! It is opt-in and is loaded beside the allocator:
//! `LD_PRELOAD="libhz3.so libhz3-jemalloc.so" PROGRAM`. It has no heap of its own. Programs such as
//! `RocksDB` look for these functions to find out whether they run on jemalloc, and then read its
//! statistics; that is why `libhz3.so` itself does not export them.
//!
//! | module | functions |
//! |---|---|
//! | [`mallctl`] | `mallctl`, `mallctlnametomib`, `mallctlbymib` |
//! | [`names`] | the names that they know |
//! | [`print`] | `malloc_stats_print` |
//! | [`allocx`] | `mallocx`, `rallocx`, `xallocx`, `sallocx`, `dallocx`, `sdallocx`, `nallocx` |
//! | [`hz3`] | the statistics of `libhz3.so` |

#![no_std]

mod allocx;
mod hz3;
mod mallctl;
mod names;
mod print;

/// Ends the process after a panic: this library has a bug.
#[cfg(not(test))]
#[panic_handler]
fn panicked(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: abort has no precondition.
    unsafe { libc::abort() }
}

/// Unoptimized builds contain parts of `core` that refer to this function of `std`. It is never
/// called, because no exception unwinds through them.
#[cfg(all(debug_assertions, not(test)))]
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
