//! The locks of the heap, in the order in which a thread takes them.
//!
//! A rank is a parameter of a lock's type. A thread holds two locks of one rank in two cases only:
//! two bins of one class, in the order of their shards, and a fork of a process with threads, which
//! takes all locks. A hit takes no lock. Nor does a call whose thread is already inside an
//! operation of the heap.
//!
//! During a purge, a move of a large block or a change of a huge block the thread holds no lock
//! that an allocation or a free may wait for. A refill takes a slab's run before it locks the bin,
//! and a run is given back under the bin's lock: so the holder of a bin waits for pages, never for
//! growth.

/// Guards the configuration, the creation of the heap, and the program's function for the memory
/// limit. A fork takes it before all others.
pub(crate) const CONFIG: u8 = 0;
/// Guards the pace of the ticks. One tick runs at a time. Threads only try this lock and never
/// wait.
pub(crate) const AGEING: u8 = 1;
/// Held during a purge, so that a fork waits for its end. `madvise` is called under it.
pub(crate) const PURGING: u8 = 2;
/// Guards the samples and sites of the heap profile, and its start and end. The tables are mapped
/// under it; a start waits for the lock of each cache.
pub(crate) const PROFILE: u8 = 3;
/// Guards the entry of a new cache into the registry. The search for caches of threads that are
/// gone only tries it.
pub(crate) const PUBLICATION: u8 = 4;
/// Guards a list of unused caches, one list per CPU on which their threads ended. A fork takes the
/// lists in order.
pub(crate) const UNUSED: u8 = 5;
/// Guards a thread cache: `base`, `floor` and `limit` of its stacks, capacities, arrays. The
/// owner's slow path waits for it; a thief only tries it. A thief calls membarrier under it; a
/// refill may call `mmap` and `madvise`.
pub(crate) const CACHE: u8 = 6;
/// Guards the blocks that wait in a transfer cache, and their limit. malloc and free only try it.
pub(crate) const TRANSFER: u8 = 7;
/// Guards a bin and the headers and bitmaps of its slabs. A second bin of the same class, in a
/// higher shard, may be locked under it.
pub(crate) const BIN: u8 = 8;
/// Guards the committed length of the arena. `mmap`, and `madvise` on new units, are called under
/// it.
pub(crate) const GROWTH: u8 = 9;
/// Guards the table of blocks outside the arena. The table's own memory is mapped under it.
pub(crate) const HUGE: u8 = 10;
/// Guards free runs and their records, the free, dirty and old bits, and the claim of a large
/// block.
pub(crate) const PAGES: u8 = 11;
/// Guards the first fault that was found; the process ends when the thread holds no lock any more.
pub(crate) const FAULT: u8 = 12;
/// Guards the places of guarded blocks that are free, and the misuse that was found first.
pub(crate) const GUARDS: u8 = 13;

/// Returns the name of a rank, for messages.
#[cfg(any(test, feature = "check"))]
pub(super) fn name(rank: u8) -> &'static str {
    const NAMES: [&str; 14] = [
        "configuration",
        "ageing",
        "purging",
        "profile",
        "publication",
        "unused caches",
        "cache",
        "transfer cache",
        "bin",
        "growth",
        "huge blocks",
        "pages",
        "fault",
        "guards",
    ];
    NAMES.get(usize::from(rank)).copied().unwrap_or("of no rank")
}
