//! hz3: a memory allocator for Linux whose resident set follows the live bytes.
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: hz3::Hz3 = hz3::Hz3;
//!
//! let numbers: Vec<u64> = (0..1000).collect();
//! drop(numbers);
//! let given_back = hz3::collect();
//! let stats = hz3::stats();
//! assert_eq!(stats.active, stats.allocated + stats.cached + stats.slack);
//! # let _ = given_back;
//! ```
//!
//! # The layers
//!
//! Calls go down; memory comes back up the same way.
//!
//! | module | what it is | what crosses to the next |
//! |---|---|---|
//! | `raw`, [`Hz3`] | the faces | a call |
//! | `thread` | the process's heap, a thread's way in and out | a cache |
//! | `hot` | the fast path of malloc and free | a block |
//! | `heap` | everything that is not the fast path | a block |
//! | `reclaim` | memory on its way back to the system | caches, slabs, pages |
//! | `cache` | a thread's blocks | a batch of one class |
//! | `central` | slabs, by shard and class | a run of pages |
//! | `segment` | page runs, large blocks, the arena | a range |
//! | `os` | the operating system, the lock | |
//! | `base` | units, size classes, sets | |
//!
//! ARCHITECTURE.md has the invariants (`I-n` in comments), the order of locks, and the glossary.
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(
    loom,
    allow(dead_code, unreachable_pub, unused_imports, reason = "only the protocols are modelled")
)]

#[cfg(any(test, miri, loom, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
extern crate std;

mod base;
#[expect(unsafe_code, reason = "the stacks of the caches and their protocol")]
mod cache;
#[cfg(not(loom))]
#[expect(unsafe_code, reason = "views of the tables of bins and slabs")]
mod central;
#[cfg(loom)]
#[expect(unsafe_code, reason = "views of the tables of slabs")]
mod central {
    pub(crate) mod blocks;
    #[cfg(test)]
    mod models;
    pub(crate) mod slab;
    pub(crate) use crate::base::sync::AtomicPtr;
    pub(crate) type Slot = AtomicPtr<u8>;
}
#[cfg(not(loom))]
#[expect(unsafe_code, reason = "writes block contents: zeroing, copying, handing out")]
mod heap;
#[cfg(not(loom))]
#[expect(unsafe_code, reason = "the fast path")]
mod hot;
#[cfg(not(loom))]
mod options;
#[cfg(not(loom))]
#[expect(unsafe_code, reason = "system calls, and the lock's value")]
mod os;
#[cfg(not(loom))]
#[expect(unsafe_code, reason = "the entry points of the C face")]
pub mod raw;
#[cfg(not(loom))]
#[expect(unsafe_code, reason = "the purge, and the caller's own cache")]
mod reclaim;
#[cfg(not(loom))]
#[expect(unsafe_code, reason = "views of the arena's memory and tables")]
mod segment;
#[cfg(loom)]
#[expect(unsafe_code, reason = "views of the arena's tables")]
mod segment {
    pub(crate) mod meta;
    #[cfg(test)]
    pub(crate) mod models;
    pub(crate) mod pages;
    pub(crate) mod tables;
    pub(crate) mod units;
}
#[cfg(not(loom))]
mod stats;
#[cfg(not(loom))]
#[expect(unsafe_code, reason = "thread-local words, the process's heap")]
mod thread;

#[cfg(not(loom))]
#[expect(unsafe_code, reason = "implements GlobalAlloc")]
mod face;

#[cfg(all(test, not(loom)))]
#[expect(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    reason = "tests play the program: each owns the blocks that it writes to and frees"
)]
mod tests;

#[cfg(not(loom))]
pub use face::{Configured, Hz3};
#[cfg(not(loom))]
pub use options::{
    Background, Config, Limit, LimitMode, Limits, Policy, Report, ReportPath, Within,
};
#[cfg(not(loom))]
pub use stats::Stats;

/// Gives everything that is free back to the system at once, from any thread: blocks in the
/// caches of all threads, running ones included, empty slabs, free pages. Returns the bytes given
/// back.
///
/// A cache whose owner is just refilling it is passed over.
#[cfg(not(loom))]
pub fn collect() -> usize {
    thread::collect(0)
}

/// What the heap holds and what it did.
#[cfg(not(loom))]
pub fn stats() -> Stats {
    thread::stats()
}
