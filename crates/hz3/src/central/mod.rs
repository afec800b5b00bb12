//! Central: slabs, from which batches of blocks are cut and to which blocks return.
//!
//! Every (shard, class) has a bin of slabs. A thread uses the shard of its CPU. So the memory here
//! grows with the number of cores, and a thread that ends leaves none behind. A slab serves the
//! shard that opened it until another shard runs out of blocks and adopts it.
//!
//! | functions | file | for |
//! |---|---|---|
//! | `shard_of_this_cpu`, `fetch`, `take` | `fetch` | transfer caches: batches out |
//! | `put` | `put`, `scattered` | blocks that go back to their slabs |
//! | `check_in_use`, `refuse`, `end_if_faulty` | `fault` | a free that fits no block in use |
//! | `utilization` | `utilization` | a program that asks how full a slab is |
//! | `retire` | `put` | reclaim: empty slabs |
//! | `claim_holes`, `release_holes`, `holes_from` | `holes` | reclaim: pages of part-used slabs |
//! | `free_bytes_hint`, `free_and_dissolved` | `counts` | reclaim |
//! | `slab_counts`, `free_pages` | `counts`, `holes` | statistics |
//! | `table_bytes`, `resident_table_bytes` | here | statistics |
//! | `create`, `unmap`, `shards`, `validate` | here | start, tests |
//! | `acquire_all`, `release_all` | here | fork |
//!
//! Locks: one bin, or two of one class in the order of their shards (adoption); under one bin the
//! page heap may be locked. No system call is made under these.
//!
//! **I-7.** A block is in exactly one place: held by the program, in one cache (a slot between
//! `base` and `top`), in one transfer cache, free in its slab's bitmap, or claimed by the purge of
//! a hole. On its way between two of these it is in a batch: under the lock of the cache, the
//! transfer cache or the bin, or in the tick that drains a transfer cache. A claimed block counts
//! as used.

pub(crate) mod bin;
pub(crate) mod blocks;
mod counts;
mod fault;
mod fetch;
pub(crate) mod holes;
mod pinned;
mod prefault_policy;
mod put;
mod scattered;
pub(crate) mod slab;
mod utilization;
mod visits;

use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU64};

#[cfg(any(test, feature = "check"))]
use crate::base::class_set::ClassSet;
use crate::base::size_class::{CLASSES, SizeClass};
#[cfg(any(test, feature = "check"))]
use crate::base::units::ChunkIndex;
use crate::base::units::{to_u64, to_usize};
use crate::options::Config;
use crate::os::lock::Lock;
use crate::os::{Os, Refused, Span, rank};
#[cfg(any(test, feature = "check"))]
use crate::segment::Segments;
use bin::{Bin, BinState};
use blocks::BadBlock;
#[cfg(any(test, feature = "check"))]
use blocks::Blocks;
pub(crate) use counts::FreeBytes;
pub(crate) use fault::refuse;
#[cfg(any(test, feature = "check"))]
use slab::Slab;

/// The largest number of shards. More would waste part-used slabs and hardly relieve the locks.
const MAX_SHARDS: usize = 64;

/// The bins of all shards and classes.
#[derive(Debug)]
pub(crate) struct Central {
    bins: NonNull<Bin>,
    shards: usize,
    /// Bytes of all slabs opened so far.
    opened: AtomicU64,
    /// Bytes of all slabs whose runs went back so far.
    dissolved: AtomicU64,
    /// The first block that could not be put back.
    fault: Lock<Option<(BadBlock, SizeClass, usize)>, { rank::FAULT }>,
    /// Whether `fault` is set. Written under its lock.
    is_faulty: AtomicBool,
}

// SAFETY: the pointer is fixed at start and leads to bins, which are `Sync`.
unsafe impl Sync for Central {}
// SAFETY: as above.
unsafe impl Send for Central {}

impl Central {
    /// Maps the bins of as many shards as the user sets or as there are CPUs, rounded up to a power
    /// of two, at most [`MAX_SHARDS`].
    pub(crate) fn create<O: Os>(os: &O, config: &Config) -> Result<Central, Refused> {
        let wanted = config.shards.map(|shards| to_usize(shards.get()));
        let shards = wanted.unwrap_or_else(|| os.cpus()).clamp(1, MAX_SHARDS).next_power_of_two();
        let bytes = Self::bytes_for(os, shards);
        // Fresh memory is zero, and an all-zero bin is an empty one.
        let bins: NonNull<Bin> = os.map(bytes, os.page_size()).ok_or(Refused)?.cast();
        Ok(Central {
            bins,
            shards,
            opened: AtomicU64::new(0),
            dissolved: AtomicU64::new(0),
            fault: Lock::new(None),
            is_faulty: AtomicBool::new(false),
        })
    }

    /// Unmaps the bins after the creation of a heap failed.
    pub(crate) fn unmap<O: Os>(self, os: &O) {
        let bins = Span { start: self.bins.cast(), bytes: Self::bytes_for(os, self.shards) };
        // SAFETY: the mapping came from `map` in `create`; the value that led to it is consumed.
        unsafe { os.unmap(bins) };
    }

    /// Returns the bytes of the bins' mapping.
    fn bytes_for<O: Os>(os: &O, shards: usize) -> usize {
        (shards * CLASSES * size_of::<Bin>()).next_multiple_of(os.page_size())
    }

    /// Returns the bytes of the bins.
    pub(crate) fn table_bytes<O: Os>(&self, os: &O) -> u64 {
        to_u64(Self::bytes_for(os, self.shards))
    }

    /// Returns the resident bytes of the bins.
    pub(crate) fn resident_table_bytes<O: Os>(&self, os: &O) -> u64 {
        let bins = Span { start: self.bins.cast(), bytes: Self::bytes_for(os, self.shards) };
        to_u64(os.resident_bytes(bins))
    }

    fn bin(&self, shard: usize, class: SizeClass) -> &Bin {
        let index = shard * CLASSES + class.index();
        debug_assert!(shard < self.shards);
        // SAFETY: the table holds a bin for every shard below `shards` and every class.
        let bin = unsafe { self.bins.add(index) };
        // SAFETY: as above; a bin is shared by its lock and atomics.
        unsafe { bin.as_ref() }
    }

    fn bins_by_shard(&self) -> impl Iterator<Item = (usize, SizeClass)> {
        (0..self.shards).flat_map(|shard| SizeClass::all().map(move |class| (shard, class)))
    }

    /// Returns the number of shards, a power of two.
    pub(crate) fn shards(&self) -> usize {
        self.shards
    }

    /// Takes all locks of the layer, for fork.
    pub(crate) fn acquire_all(&self) {
        for (shard, class) in self.bins_by_shard() {
            self.bin(shard, class).state.acquire();
        }
        self.fault.acquire();
    }

    /// Releases the locks that [`Central::acquire_all`] took, in the parent or the forked child.
    pub(crate) fn release_all(&self) {
        self.fault.release();
        for (shard, class) in self.bins_by_shard() {
            self.bin(shard, class).state.release();
        }
    }

    /// Checks I-6 of every slab and bin; panics on a breach. Other threads may run meanwhile.
    #[cfg(any(test, feature = "check"))]
    pub(crate) fn validate<O: Os>(&self, segments: &Segments<O>) {
        let tables = segments.tables();
        // Read anew under the lock of each bin: the slabs of a locked bin lie below the frontier.
        let slab_chunks = || (1..segments.arena().frontier().chunk().get()).map(ChunkIndex::new);
        let classes: ClassSet = slab_chunks().map(|chunk| tables.published_class(chunk)).collect();
        for (shard, class) in self.bins_by_shard() {
            let bin = self.bin(shard, class);
            let state = bin.state.lock();
            if !classes.has(class) && state.slabs() == 0 {
                continue;
            }
            // Slabs that have not entered the bin yet, or have just left it, are empty too. So
            // empty slabs are taken from the count of the bin.
            let (mut used_slabs, mut used_free) = (0, 0);
            for chunk in slab_chunks().filter(|&chunk| tables.published_class(chunk) == class) {
                let slab = Slab::of(tables, chunk);
                if slab.starts_here() && slab.shard() == shard && slab.free() < class.capacity() {
                    Blocks::of(tables, chunk, class).validate();
                    assert!(!slab.is_unsettled(), "I-6: a slab is left out of its bin's counts");
                    used_slabs += 1;
                    used_free += u64::from(slab.free());
                }
            }
            let empty = u64::from(state.empty());
            let free = used_free + empty * u64::from(class.capacity());
            assert_eq!(bin.free_blocks(), free, "I-6: free blocks of {class:?}");
            assert_eq!(u64::from(state.slabs()), used_slabs + empty, "I-6: slabs of {class:?}");
        }
    }
}

const _: () = {
    assert!(MAX_SHARDS <= 256);
    assert!(size_of::<Bin>() == 64);
    // An all-zero bin equals one that `Lock::new` makes with an empty state.
    assert!(align_of::<BinState>() <= 8);
};
