//! The C ABI of hz3: `libhz3.so`, `libhz3.a`, `include/hz3.h`.
//!
//! A thin layer. What C programs expect (names, `errno`, edge cases, exceptions) lives here, the
//! allocator itself in the crate `hz3`. Nothing in this crate allocates or takes a lock.
//!
//! | module | what it has |
//! |---|---|
//! | [`posix`] | `malloc` to `posix_memalign` |
//! | [`misses`] | `malloc` and `free` where the thread's cache cannot serve |
//! | [`errno`] | `errno`, and what a request does to it |
//! | [`gnu`] | what glibc adds: `memalign`, `malloc_usable_size`, `reallocarray`, the `__libc_` names |
//! | [`report`] | what glibc tells about the heap: `mallinfo2`, `malloc_info`, `malloc_stats`, `mallopt` |
//! | [`cxx`] | operators `new` and `delete` |
//! | [`attempts`] | `operator new` without memory: handler, exception |
//! | [`throw`] | the frames that C++ exceptions pass through |
//! | [`runtime`] | the C++ runtime of the process, if it has one |
//! | [`foreign`] | blocks that another allocator gave out |
//! | [`lookup`] | functions that the process may or may not have |
//! | [`caller`] | whether the program called, or the C library |
//! | [`load`] | what happens when the library is loaded |
//! | [`hz3_api`] | what only hz3 has: `hz3_collect`, `hz3_epoch_force`, `hz3_stats_json`, `hz3_version` |

#![no_std]

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod attempts;
mod caller;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod cxx;
mod errno;
mod foreign;
mod gnu;
mod hz3_api;
mod load;
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    expect(dead_code, reason = "the C++ operators look the rest up")
)]
mod lookup;
mod misses;
mod posix;
mod report;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod runtime;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod throw;

// On other processors than these two the core needs `std`, which has a panic handler, and the C++
// runtime's own operators are used, which end in malloc and free.

/// A bug in the allocator: nothing can be done that would not make it worse.
#[cfg(all(not(test), any(target_arch = "x86_64", target_arch = "aarch64")))]
#[panic_handler]
fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
    #[cfg(feature = "check")]
    hz3_alloc::raw::panicked(info);
    #[cfg(not(feature = "check"))]
    {
        let _ = info;
        hz3_alloc::raw::fatal("internal error: the allocator panicked", 0)
    }
}

/// Unoptimized builds contain parts of `core` that name this function of `std`. Nobody unwinds
/// through them, so nobody calls it.
#[cfg(all(debug_assertions, not(test), any(target_arch = "x86_64", target_arch = "aarch64")))]
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
