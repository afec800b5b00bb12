//! The locks of the heap, in the order in which a thread takes them.
//!
//! A rank is a parameter of a lock's type. Locks of one rank are not nested, but for two bins of one
//! class, in the order of their shards, and for a fork, which takes all locks.

/// The making of the heap, and its configuration.
pub(crate) const START: u8 = 0;
/// The pace of the ticks; only tried.
pub(crate) const AGEING: u8 = 1;
/// Pages are on their way to the system.
pub(crate) const PURGING: u8 = 2;
/// A new cache enters the registry.
pub(crate) const PUBLICATION: u8 = 3;
/// A list of unused caches.
pub(crate) const UNUSED: u8 = 4;
/// A thread cache.
pub(crate) const CACHE: u8 = 5;
/// A transfer cache.
pub(crate) const TRANSFER: u8 = 6;
/// A bin.
pub(crate) const BIN: u8 = 7;
/// The growth of the arena.
pub(crate) const GROWTH: u8 = 8;
/// The table of blocks outside the arena.
pub(crate) const HUGE: u8 = 9;
/// The page heap.
pub(crate) const PAGES: u8 = 10;

/// The name of a rank, for messages.
#[cfg(any(test, feature = "check"))]
pub(super) fn name(rank: u8) -> &'static str {
    const NAMES: [&str; 11] = [
        "start",
        "ageing",
        "purging",
        "publication",
        "unused caches",
        "cache",
        "transfer cache",
        "bin",
        "growth",
        "huge blocks",
        "pages",
    ];
    NAMES.get(usize::from(rank)).copied().unwrap_or("of no rank")
}
