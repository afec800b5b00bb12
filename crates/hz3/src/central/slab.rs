//! Slabs: runs of pages cut into blocks of one class. A slab's header lies in the chunk metadata.
//!
//! ```text
//!   free = number of set bits = blocks that are free in the slab
//!   capacity - free = blocks in thread caches or held by the program
//! ```
//!
//! **I-6.** A slab's count of free blocks is the number of set bits in its bitmap; a bin's counts
//! are the sums over its slabs. A slab is empty exactly when its count is its capacity.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::base::bits;
use crate::base::size_class::SizeClass;
use crate::base::treap::Nodes;
use crate::base::units::{CHUNK_BYTES, CHUNK_PAGES, ChunkIndex, PAGE_BYTES, Pages, Run};
use crate::segment::tables::{CHUNK_META_BYTES, Tables};

/// The level of an empty slab. All other levels are lower.
const EMPTY_LEVEL: u8 = 16;
/// Words of the bitmap of a slab's pages. A slab has at most 8 chunks of 16 pages.
const PAGE_WORDS: usize = 2;
/// Words of a free bitmap in the header: as many as fit into its cache line.
pub(super) const INLINE_WORDS: usize = 4;

/// The header of a slab, in the metadata of its first chunk. The metadata of its other chunks use
/// only `lead`. The lock of the slab's bin protects all fields except `lead` and `shard`.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Slab {
    /// Distance of this chunk from the start of the slab, in chunks.
    lead: AtomicU8,
    /// The shard of the slab's bin. Changes only under the locks of both bins.
    shard: AtomicU8,
    /// How empty the slab was when it entered the order of its bin. It may be emptier now.
    level: AtomicU8,
    /// Set while blocks have come back that the slab's bin does not count yet; see `scattered`.
    is_unsettled: AtomicBool,
    free: AtomicU32,
    left: AtomicU32,
    right: AtomicU32,
    /// One bit for each page, set if the page may hold memory.
    pub(super) dirty: [AtomicU64; PAGE_WORDS],
    /// The free bitmap, if it is no longer than this; see `blocks`.
    pub(super) inline_bits: [AtomicU64; INLINE_WORDS],
}

impl Slab {
    /// Returns the slab header of a chunk.
    pub(crate) fn of(tables: &Tables, chunk: ChunkIndex) -> &Slab {
        let meta: NonNull<Slab> = tables.chunk_meta(chunk).cast();
        // SAFETY: chunk metadata is committed, zeroed, 64-aligned and large enough (asserted
        // below); a slab header is made of atomics, for which zero is valid.
        unsafe { meta.as_ref() }
    }

    /// Returns the first chunk of the slab that `chunk` belongs to.
    pub(crate) fn first_chunk(tables: &Tables, chunk: ChunkIndex) -> ChunkIndex {
        let lead = Slab::of(tables, chunk).lead.load(Ordering::Relaxed);
        ChunkIndex::new(chunk.get() - u32::from(lead))
    }

    /// Writes the headers of a slab of `class` over a run. No other thread finds the slab until its
    /// class is published.
    pub(super) fn write_headers(tables: &Tables, run: Run, class: SizeClass, shard: u8) {
        let first = run.start.chunk();
        for lead in 0..class.slab_chunks() {
            let chunk = ChunkIndex::new(first.get() + lead);
            #[expect(clippy::cast_possible_truncation, reason = "a slab has at most 8 chunks")]
            Slab::of(tables, chunk).lead.store(lead as u8, Ordering::Relaxed);
        }
        let slab = Slab::of(tables, first);
        slab.shard.store(shard, Ordering::Relaxed);
        // Clears all words, because a longer slab may have been here. A set bit would tell a scan
        // that this slab, which is in no bin yet, may have holes.
        for word in &slab.dirty {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Marks the pages of the new slab at `first` that may hold memory before a block is taken.
    ///
    /// With `all`, for a prefaulted slab, these are all pages. Otherwise they are those of advised
    /// units, because the first touch of a unit brings all its pages (I-9). The caller holds the
    /// lock of the slab's bin, because the slab may have holes from now on.
    pub(crate) fn mark_dirty(
        &self,
        tables: &Tables,
        first: ChunkIndex,
        class: SizeClass,
        all: bool,
    ) {
        for chunk in 0..class.slab_chunks() {
            let start = first.first_page() + Pages::new(chunk * CHUNK_PAGES);
            if all || tables.is_advised(start) {
                bits::set(&self.dirty, chunk * CHUNK_PAGES, CHUNK_PAGES);
            }
        }
    }

    /// Ends an empty slab that is in no bin. Returns its run, and how many leading pages of the run
    /// may hold memory.
    pub(crate) fn dissolve(tables: &Tables, first: ChunkIndex, class: SizeClass) -> (Run, Pages) {
        tables.set_class(first, class.slab_chunks(), SizeClass::NONE);
        let slab = Slab::of(tables, first);
        let mut touched = class.slab_pages();
        while touched > Pages::ZERO && bits::count(&slab.dirty, touched.get() - 1, 1) == 0 {
            touched -= Pages::new(1);
        }
        (Run::new(first.first_page(), class.slab_pages()), touched)
    }

    pub(crate) fn shard(&self) -> usize {
        usize::from(self.shard.load(Ordering::Relaxed))
    }

    pub(crate) fn set_shard(&self, shard: u8) {
        self.shard.store(shard, Ordering::Relaxed);
    }

    /// Returns the number of free blocks in the slab; a hint without the lock of its bin.
    pub(crate) fn free(&self) -> u32 {
        self.free.load(Ordering::Relaxed)
    }

    /// Returns how empty the slab is, the first key of its bin's order.
    fn level_now(&self, class: SizeClass) -> u8 {
        if self.free() == class.capacity() { EMPTY_LEVEL } else { class.emptiness(self.free()) }
    }

    /// Records how empty the slab is. The slab must not be in its bin's order.
    pub(crate) fn set_level(&self, class: SizeClass) {
        self.level.store(self.level_now(class), Ordering::Relaxed);
    }

    /// Returns whether the slab has become emptier since it entered its bin's order.
    pub(crate) fn was_demoted(&self, class: SizeClass) -> bool {
        self.level.load(Ordering::Relaxed) != self.level_now(class)
    }

    /// Sets the number of free blocks; it must be that of the set bits (I-6).
    pub(crate) fn set_free(&self, free: u32) {
        self.free.store(free, Ordering::Relaxed);
    }

    pub(super) fn is_unsettled(&self) -> bool {
        self.is_unsettled.load(Ordering::Relaxed)
    }

    pub(super) fn set_unsettled(&self, is_unsettled: bool) {
        self.is_unsettled.store(is_unsettled, Ordering::Relaxed);
    }

    /// Returns the number of clean pages. They hold no memory and therefore no block in use.
    pub(super) fn clean_pages(&self, class: SizeClass) -> u32 {
        let pages = class.slab_pages().get();
        pages - bits::count(&self.dirty, 0, pages)
    }

    /// Returns whether a slab starts at this chunk.
    pub(super) fn starts_here(&self) -> bool {
        self.lead.load(Ordering::Relaxed) == 0
    }

    /// Returns whether a slab starts at this chunk and may have dirty pages.
    pub(super) fn may_have_holes(&self) -> bool {
        self.starts_here() && self.dirty.iter().any(|word| word.load(Ordering::Relaxed) != 0)
    }
}

/// The order of a bin's slabs with free blocks: fullest first, then lowest. It uses the level that
/// a slab had when it entered. A slab's node is its first chunk.
pub(crate) struct ByFullness<'a> {
    pub(crate) tables: &'a Tables,
}

impl ByFullness<'_> {
    /// Returns the smallest key of an empty slab.
    pub(crate) const fn emptiest_key() -> u64 {
        (EMPTY_LEVEL as u64) << 32
    }

    fn slab(&self, node: u32) -> &Slab {
        Slab::of(self.tables, ChunkIndex::new(node))
    }
}

impl Nodes for ByFullness<'_> {
    fn left(&self, node: u32) -> u32 {
        self.slab(node).left.load(Ordering::Relaxed)
    }
    fn right(&self, node: u32) -> u32 {
        self.slab(node).right.load(Ordering::Relaxed)
    }
    fn set_left(&self, node: u32, child: u32) {
        self.slab(node).left.store(child, Ordering::Relaxed);
    }
    fn set_right(&self, node: u32, child: u32) {
        self.slab(node).right.store(child, Ordering::Relaxed);
    }
    fn key(&self, node: u32) -> u64 {
        let level = self.slab(node).level.load(Ordering::Relaxed);
        (u64::from(level) << 32) | u64::from(node)
    }
}

const _: () = {
    assert!(size_of::<Slab>() == CHUNK_META_BYTES);
    assert!(align_of::<Slab>() <= 64);
    assert!(CHUNK_BYTES.is_multiple_of(PAGE_BYTES));
};
