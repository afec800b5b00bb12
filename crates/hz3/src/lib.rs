#![doc = include_str!("../README.md")]
//!
//! # Where it runs
//!
//! 64-bit Linux, x86-64 and aarch64, on glibc or musl, dynamic or static. Elsewhere [`Hz3`] and
//! [`Configured`] pass each call to `std::alloc::System`, [`collect`] returns 0, and [`stats()`] is
//! all zeros: a program needs no `cfg`.
//!
//! # What it does to a process
//!
//! * **Threads.** In a process of several threads hz3 runs one more while there is memory to give
//!   back. With `HZ3_BACKGROUND=0` ([`Background::Never`]) it starts none, and the slow paths of
//!   the program's own threads do the work.
//! * **Address space.** hz3 chooses a window of twice the machine's memory and swap, or less where
//!   the address space is limited. It maps parts of the window as they are needed. `HZ3_ARENA`
//!   changes its length.
//! * **Fork.** A child may allocate at once, even if the parent has many threads, because handlers
//!   of `pthread_atfork` hold the heap's locks during the fork.
//! * **Signal handlers** must not allocate, as with any allocator.
//! * **C code** in the same program keeps the C library's malloc, unless the feature `override` is
//!   on. A program has this crate or links `libhz3.a` or `libhz3.so`, not both.
//!
//! # What it costs
//!
//! An allocation and a free of up to 32 KiB usually touch the thread's own cache alone. [`collect`]
//! takes time in proportion to the memory that it gives back, and stops no other thread. If a
//! program never calls it, hz3 gives memory back in the background. [`stats()`] walks the tables
//! under their locks, which takes milliseconds for a large heap: call it for reports, not for
//! decisions.
//!
//! # Options
//!
//! hz3 reads its options once, before the first allocation: first from [`Configured`], then from
//! the environment, which overrides it. [`Config`] documents each with its variable. An unknown
//! `HZ3_` variable or a malformed value causes one line on stderr, and the option keeps its value.
//!
//! # Features
//!
//! * `experiments`, a default: reclaim policies to compare with [`Policy::Default`], with their
//!   options and counters.
//! * `allocator-api2`: [`Hz3`] implements `Allocator` of the crate of that name, for collections of
//!   their own.
//! * `nightly`: the same for `core::alloc::Allocator`; needs a nightly compiler.
//! * `override`: the binary exports `malloc`, `free` and the rest of the family, so that C code in
//!   it and shared libraries use the same heap. C code allocates before `main`, so options come
//!   from the environment and not from [`Configured`]. For binaries, not for libraries.
//!
//! # Rust versions
//!
//! The crate needs Rust 1.88. Only a minor release may require a newer version, which must then be
//! at least six months old.

// The layers. Calls go down; memory comes back up the same way.
//
// | module | what it is | what crosses to the next |
// |---|---|---|
// | `raw`, `api` | the API | a call |
// | `thread` | the process's heap, a thread's way in and out | a cache |
// | `hot` | the fast path of malloc and free | a block |
// | `heap` | everything that is not the fast path | a block |
// | `reclaim` | memory on its way back to the system | caches, slabs, pages |
// | `cache` | a thread's blocks | a batch of one class |
// | `transfer` | batches between two threads' caches | a batch of one class |
// | `central` | slabs, by shard and class | a run of pages |
// | `segment` | page runs, large blocks, the arena | a range |
// | `os` | the operating system, the lock | |
// | `base` | units, size classes, sets | |
//
// One verb for each operation, in every layer:
//
// | verb | what it does |
// |---|---|
// | allocate, free | a block, for the program |
// | pop, push | a block, on a stack of the thread's own cache |
// | fetch, flush | blocks: up into a cache, and the cache's oldest ones down |
// | take, put | blocks: out of the bitmaps of their slabs, and back |
// | take, give | a run: out of the page heap, and back |
// | withdraw, put back | an entry: out of a table for a while, so that no search finds it |
// | steal | blocks or runs of another thread's cache |
// | drain | all that a cache or a transfer cache holds |
// | retire, dissolve | an empty slab: out of its bin, and into a run |
// | purge | pages: to the kernel |
//
// ARCHITECTURE.md has the code map and the words; docs/internals.md the invariants (`I-n` in
// comments) and the order of locks.
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(feature = "nightly", feature(allocator_api))]
#![cfg_attr(
    not(all(target_os = "linux", target_pointer_width = "64")),
    allow(
        dead_code,
        unused_imports,
        reason = "only the options and the statistics are used there"
    )
)]
#![cfg_attr(
    loom,
    allow(dead_code, unreachable_pub, unused_imports, reason = "only the protocols are modelled")
)]

#[cfg(any(
    test,
    miri,
    loom,
    not(target_os = "linux"),
    not(any(target_arch = "x86_64", target_arch = "aarch64"))
))]
extern crate std;

mod base;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[expect(unsafe_code, reason = "the stacks of the caches and their protocol")]
mod cache;
#[cfg(all(target_os = "linux", target_pointer_width = "64", not(loom)))]
#[expect(unsafe_code, reason = "views of the tables of bins and slabs")]
mod central;
#[cfg(loom)]
#[expect(unsafe_code, reason = "views of the tables of slabs")]
mod central {
    pub(crate) mod blocks;
    #[cfg(test)]
    mod models;
    pub(crate) mod slab;
}
#[cfg(all(target_os = "linux", target_pointer_width = "64", not(loom)))]
#[expect(unsafe_code, reason = "writes block contents: zeroing, copying, handing out")]
mod heap;
#[cfg(all(target_os = "linux", target_pointer_width = "64", not(loom)))]
#[expect(unsafe_code, reason = "the fast path")]
mod hot;
#[cfg(not(loom))]
mod options;
#[cfg(all(target_os = "linux", target_pointer_width = "64", not(loom)))]
#[expect(unsafe_code, reason = "system calls, and the lock's value")]
mod os;
#[cfg(all(target_os = "linux", target_pointer_width = "64", not(loom)))]
mod profiler;
#[cfg(all(target_os = "linux", target_pointer_width = "64", not(loom)))]
#[expect(unsafe_code, reason = "the entry points of the C ABI")]
pub mod raw;
#[cfg(all(target_os = "linux", target_pointer_width = "64", not(loom)))]
#[expect(unsafe_code, reason = "the purge")]
mod reclaim;
#[cfg(all(target_os = "linux", target_pointer_width = "64", not(loom)))]
#[expect(unsafe_code, reason = "views of the arena's memory and tables")]
mod segment;
#[cfg(loom)]
#[expect(unsafe_code, reason = "views of the arena's tables")]
mod segment {
    mod bitmaps;
    pub(crate) mod huge_units;
    mod length_bin;
    mod list_layout;
    mod lists;
    pub(crate) mod meta;
    #[cfg(test)]
    pub(crate) mod models;
    pub(crate) mod pages;
    pub(crate) mod tables;
}
#[cfg(not(loom))]
mod stats;
#[cfg(all(target_os = "linux", target_pointer_width = "64", not(loom)))]
#[expect(unsafe_code, reason = "thread-local slots, the process's heap")]
mod thread;
#[cfg(all(target_os = "linux", target_pointer_width = "64", not(loom)))]
#[expect(unsafe_code, reason = "views of the mapped cells and slots")]
mod transfer;

#[cfg(all(target_os = "linux", target_pointer_width = "64", not(loom)))]
#[expect(unsafe_code, reason = "implements GlobalAlloc")]
mod api;
// Unit tests and Miri keep the C library's malloc: they run heaps of their own.
#[cfg(all(
    feature = "override",
    target_os = "linux",
    target_pointer_width = "64",
    not(any(loom, miri, test))
))]
#[expect(unsafe_code, reason = "exports the malloc family")]
mod c_malloc;

#[cfg(all(test, target_os = "linux", target_pointer_width = "64", not(loom)))]
#[expect(unsafe_code, reason = "tests play the program")]
mod tests;

#[cfg(all(not(loom), any(feature = "nightly", feature = "allocator-api2")))]
#[expect(unsafe_code, reason = "implements Allocator")]
mod allocator;
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
#[expect(unsafe_code, reason = "implements GlobalAlloc")]
mod system;

#[cfg(all(target_os = "linux", target_pointer_width = "64", not(loom)))]
pub use api::{Configured, Hz3, collect, control, on_limit, profile, stats, utilization};
#[cfg(all(not(loom), feature = "experiments"))]
pub use options::Limits;
#[cfg(not(loom))]
pub use options::{
    Background, Config, ControlError, Limit, LimitMode, Policy, Report, ReportPath, Within,
};
#[cfg(not(loom))]
pub use stats::{Stats, Utilization};
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
pub use system::{Configured, Hz3, collect, control, on_limit, profile, stats, utilization};

/// The fuzz targets' way in: checks what hz3 makes of one entry of the environment. No other build
/// has it.
///
/// # Panics
/// If the outcome is not allowed.
#[cfg(fuzzing)]
pub fn check_option(entry: &[u8]) -> bool {
    options::oracle::check(entry)
}
