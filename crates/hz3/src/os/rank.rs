//! The locks of the heap, in the order in which a thread takes them.
//!
//! A rank is a parameter of a lock's type. Locks of one rank are not nested, but for two bins of one
//! class, in the order of their shards, and for a fork, which takes all locks. None is taken on a hit,
//! and none by a call that finds its own thread inside an operation of the heap.
//!
//! No lock that an allocation or a free can want is held during a purge, a move of a large block, or a
//! change of a huge block. A slab's run is taken before the bin is locked and given back under it, so a
//! bin waits for pages, never for growth.

/// Guards the making of the heap and its configuration. A fork takes all others while it holds this one.
pub(crate) const START: u8 = 0;
/// Guards the pace of the ticks; one tick runs at a time. Threads only try it, and never wait.
pub(crate) const AGEING: u8 = 1;
/// Held while pages are on their way to the system, so that a fork waits for them. `madvise` is
/// called under it.
pub(crate) const PURGING: u8 = 2;
/// Guards the entry of a new cache into the registry.
pub(crate) const PUBLICATION: u8 = 3;
/// Guards a list of unused caches, by the CPU on which their threads ended. A fork takes the lists
/// in order.
pub(crate) const UNUSED: u8 = 4;
/// Guards a thread cache: `base`, `floor` and `limit` of its stacks, capacities, arrays. The owner's
/// slow path waits for it, a thief only tries it. A thief calls membarrier under it; a refill may call
/// `mmap` and `madvise`.
pub(crate) const CACHE: u8 = 5;
/// Guards the blocks that wait in a transfer cache, and their limit. malloc and free only try it.
pub(crate) const TRANSFER: u8 = 6;
/// Guards a bin and the headers and bitmaps of its slabs. A second bin of the same class, in a higher
/// shard, may be locked under it.
pub(crate) const BIN: u8 = 7;
/// Guards how far the arena is committed. `mmap`, and `madvise` on new units, are called under it.
pub(crate) const GROWTH: u8 = 8;
/// Guards the table of blocks outside the arena, whose own memory is mapped under it.
pub(crate) const HUGE: u8 = 9;
/// Guards free runs and their records, the free, dirty and old bits, and the claim of a large block.
pub(crate) const PAGES: u8 = 10;
/// A fault of the program's that ends the process when no lock is held any more.
pub(crate) const FAULT: u8 = 11;

/// The name of a rank, for messages.
#[cfg(any(test, feature = "check"))]
pub(super) fn name(rank: u8) -> &'static str {
    const NAMES: [&str; 12] = [
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
        "fault",
    ];
    NAMES.get(usize::from(rank)).copied().unwrap_or("of no rank")
}
