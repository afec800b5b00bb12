//! Thread caches: they serve malloc and free of a small block in a few instructions.
//!
//! A cache holds one `Stack` of block addresses for each class. A freed block goes into the cache
//! of the thread that frees it, and from there to central in batches. Any thread can empty another
//! thread's cache (see [`stack`]) at no cost for the owner.
//!
//! One mapping holds a header with the stacks, and behind it their arrays of slots. An array is
//! small at first; a larger one replaces it as the class's capacity grows. So a thread that uses
//! every class touches a few pages, not the whole mapping.

#[cfg(not(loom))]
pub(crate) mod below;
#[cfg(not(loom))]
pub(crate) mod capacity;
#[cfg(all(not(loom), feature = "experiments"))]
mod experiments;
#[cfg(all(test, not(loom)))]
pub(crate) mod fixture;
#[cfg(not(loom))]
mod front;
#[cfg(not(loom))]
mod owned;
#[cfg(not(loom))]
pub(crate) mod refill;
#[cfg(not(loom))]
pub(crate) mod registry;
#[cfg(not(loom))]
pub(crate) mod runs;
pub(crate) mod stack;
#[cfg(not(loom))]
mod steal;
#[cfg(all(not(loom), feature = "experiments"))]
mod surplus;
#[cfg(all(test, not(loom)))]
mod tests;
#[cfg(not(loom))]
mod thread_cache;

#[cfg(not(loom))]
pub(crate) use front::{Front, OwnCache};
#[cfg(not(loom))]
pub(crate) use thread_cache::{CACHE_BYTES, ColdState, Counts, ThreadCache};
