//! The C ABI of hz3: `libhz3.so`, `libhz3.a`, `include/hz3.h`.
//!
//! It is a thin layer for the expectations of C programs: names, `errno`, edge cases, exceptions.
//! The allocator itself is in the crate `hz3`. No function of this crate allocates or takes a lock
//! of its own.
//!
//! | module | contents |
//! |---|---|
//! | [`family`] | `malloc` to `malloc_usable_size`, and their slow paths |
//! | [`gnu`] | additions of glibc: `malloc_trim`, the `__libc_` names |
//! | [`report`] | glibc's reports and tuning: `mallinfo2`, `malloc_stats`, `mallopt` |
//! | [`cxx`] | operators `new` and `delete` |
//! | [`attempts`] | the slow path of `operator new`: handler, exception |
//! | [`throw`] | the frames that C++ exceptions pass through |
//! | [`runtime`] | the C++ runtime of the process, if it has one |
//! | [`foreign`] | blocks of other allocators |
//! | [`lookup`] | functions that the process may lack |
//! | [`caller`] | whether the program or the C library called |
//! | [`load`] | the constructor of the library |
//! | [`hz3_api`] | hz3's own functions: `hz3_collect`, `hz3_stats_json` and others |

#![no_std]

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod attempts;
mod caller;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod cxx;
mod family;
mod foreign;
mod gnu;
mod hz3_api;
mod load;
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    expect(dead_code, reason = "the C++ operators look the rest up")
)]
mod lookup;
mod report;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod runtime;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod throw;

// On other processors the core needs `std`, which has a panic handler. There the C++ runtime's own
// operators are used, which call malloc and free.

/// Ends the process after a panic: the allocator has a bug, and to go on could destroy data.
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

/// Unoptimized builds contain parts of `core` that refer to this function of `std`. It is never
/// called, because no exception unwinds through them.
#[cfg(all(debug_assertions, not(test), any(target_arch = "x86_64", target_arch = "aarch64")))]
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
