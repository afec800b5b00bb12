//! Slabs: a run of pages cut into blocks of one class, with its bitmap in the chunk metadata.
//!
//! ```text
//!   free = number of set bits = blocks that lie in the slab
//!   capacity - free = blocks in thread caches or held by the program
//! ```
//!
//! The slab is empty, known exactly, when `free == capacity` (I-6).

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::Slot;
use crate::base::bits::{self, words_for};
use crate::base::size_class::{MAX_BLOCKS, SizeClass};
use crate::base::treap::Nodes;
use crate::base::units::{
    CHUNK_BYTES, CHUNK_PAGES, ChunkIndex, PAGE_BYTES, Pages, Run, narrow, wide, widen,
};
use crate::segment::tables::{CHUNK_META_BYTES, Tables};

/// The level of an empty slab, behind those of all others.
const EMPTY_LEVEL: u32 = 16;
pub(super) const WORDS: usize = words_for(MAX_BLOCKS);
/// [`PAGE_BYTES`] for arithmetic on offsets in a slab.
const PAGE_SIZE: u32 = narrow(PAGE_BYTES);
/// Words of the bitmap of a slab's pages; a slab has at most 8 chunks of 16 pages.
const PAGE_WORDS: usize = 2;

/// The header of a slab, laid over the metadata of its first chunk. The other chunks of a longer
/// slab use `lead` alone. All fields but `lead` and `shard` belong to the lock of the slab's bin.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Slab {
    /// How many chunks before this one the slab starts.
    lead: AtomicU8,
    /// The shard whose bin the slab is in. Changes only under the locks of both bins.
    shard: AtomicU8,
    free: AtomicU32,
    left: AtomicU32,
    right: AtomicU32,
    /// One bit a page; set when the page may hold memory.
    dirty: [AtomicU64; PAGE_WORDS],
    /// One bit a block; set when the block is free in the slab.
    bits: [AtomicU64; WORDS],
}

/// Why a block cannot be put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadBlock {
    /// The address is not that of a block.
    NoBlockStart,
    /// The block lies in the slab already.
    AlreadyFree,
}

impl Slab {
    /// The slab header of a chunk.
    pub(crate) fn of(tables: &Tables, chunk: ChunkIndex) -> &Slab {
        let meta: NonNull<Slab> = tables.chunk_meta(chunk).cast();
        // SAFETY: chunk metadata is committed, zeroed, 64-aligned and large enough (asserted
        // below); a slab header is made of atomics, for which zero is valid.
        unsafe { meta.as_ref() }
    }

    /// The first chunk of the slab that `chunk` belongs to.
    pub(crate) fn first_chunk(tables: &Tables, chunk: ChunkIndex) -> ChunkIndex {
        let lead = Slab::of(tables, chunk).lead.load(Ordering::Relaxed);
        ChunkIndex::new(chunk.get() - u32::from(lead))
    }

    /// Lays a slab of `class` over a run; all its blocks are free.
    pub(crate) fn create(tables: &Tables, run: Run, class: SizeClass, shard: u8) -> ChunkIndex {
        let first = run.start.chunk();
        for lead in 0..class.slab_chunks() {
            let chunk = ChunkIndex::new(first.get() + lead);
            #[expect(clippy::cast_possible_truncation, reason = "a slab has at most 8 chunks")]
            Slab::of(tables, chunk).lead.store(lead as u8, Ordering::Relaxed);
        }
        let slab = Slab::of(tables, first);
        slab.shard.store(shard, Ordering::Relaxed);
        slab.free.store(class.capacity(), Ordering::Relaxed);
        // All of them: a longer slab may have been here, and a set bit would say that this one, which
        // is in no bin yet, may have holes.
        for word in &slab.dirty {
            word.store(0, Ordering::Relaxed);
        }
        for chunk in 0..class.slab_chunks() {
            // The first touch of an advised unit brings all of it (I-9).
            let start = first.first_page() + Pages::new(chunk * CHUNK_PAGES);
            if tables.is_advised(start) {
                bits::set(&slab.dirty, chunk * CHUNK_PAGES, CHUNK_PAGES);
            }
        }
        let mut left = class.capacity();
        for word in slab.words(class) {
            let ones = left.min(u64::BITS);
            word.store(u64::MAX >> (u64::BITS - ones), Ordering::Relaxed);
            left -= ones;
        }
        tables.set_class(first, class.slab_chunks(), class);
        first
    }

    /// Takes the slab, which must be empty and out of its bin, apart: its run, and how many
    /// leading pages of it were ever written.
    pub(crate) fn dissolve(tables: &Tables, first: ChunkIndex, class: SizeClass) -> (Run, Pages) {
        tables.set_class(first, class.slab_chunks(), SizeClass::NONE);
        let slab = Slab::of(tables, first);
        let mut touched = class.slab_pages();
        while touched > Pages::ZERO && bits::count(&slab.dirty, touched.get() - 1, 1) == 0 {
            touched -= Pages::new(1);
        }
        (Run::new(first.first_page(), class.slab_pages()), touched)
    }

    /// The page of the slab in which a block starts.
    fn page_of(class: SizeClass, block: u32) -> u32 {
        narrow(widen(block) * class.block_bytes() / PAGE_BYTES)
    }

    fn words(&self, class: SizeClass) -> &[AtomicU64] {
        &self.bits[..words_for(widen(class.capacity()))]
    }

    pub(crate) fn shard(&self) -> usize {
        usize::from(self.shard.load(Ordering::Relaxed))
    }

    pub(crate) fn set_shard(&self, shard: u8) {
        self.shard.store(shard, Ordering::Relaxed);
    }

    /// Number of free blocks.
    pub(crate) fn free(&self) -> u32 {
        self.free.load(Ordering::Relaxed)
    }

    /// By how empty the slab is, a bin orders it.
    fn level(free: u32, class: SizeClass) -> u32 {
        if free == class.capacity() { EMPTY_LEVEL } else { class.emptiness(free) }
    }

    /// Takes the lowest blocks of the slab, whose first byte is at `start`, into `out`: the lowest
    /// one into the last place, and so on towards the first place. Returns how many. The caller
    /// moves the slab in its bin.
    pub(crate) fn take(&self, class: SizeClass, start: NonNull<u8>, out: &[Slot]) -> usize {
        let size = class.block_bytes();
        let (mut room, mut low, mut last) = (out, None, 0);
        for (index, word) in self.words(class).iter().enumerate() {
            let mut free = word.load(Ordering::Relaxed);
            if free == 0 {
                continue;
            }
            let first_block = narrow(index) * u64::BITS;
            let first = start.as_ptr().wrapping_add(widen(first_block) * size);
            low = low.or(Some(first_block + free.trailing_zeros()));
            let count = room.len().min(widen(free.count_ones()));
            let (rest, places) = room.split_at(room.len() - count);
            let mut block = 0;
            for place in places.iter().rev() {
                block = free.trailing_zeros();
                place.store(first.wrapping_add(widen(block) * size), Ordering::Relaxed);
                free &= free - 1;
            }
            word.store(free, Ordering::Relaxed);
            last = first_block + block;
            room = rest;
            if room.is_empty() {
                break;
            }
        }
        let taken = out.len() - room.len();
        self.free.store(self.free() - narrow(taken), Ordering::Relaxed);
        if let Some(low) = low {
            // All pages from the first block to the last: exact enough, and once a batch.
            let start = Slab::page_of(class, low);
            let end = Slab::page_of(class, last + 1) + 1;
            bits::set(&self.dirty, start, end.min(class.slab_pages().get()) - start);
        }
        taken
    }

    /// Sets the bits of the leading blocks of `batch` that lie in this slab, whose first byte is
    /// at `start`. Returns how many; the caller then sets the count ([`Slab::set_free`]), once it
    /// has taken the slab out of the order that depends on it.
    ///
    /// By I-7 a block that is in the program's hands or a cache's is not in the bitmap.
    pub(crate) fn put(
        &self,
        class: SizeClass,
        start: usize,
        batch: &[Slot],
    ) -> Result<u32, (BadBlock, usize)> {
        let divisor = class.divisor();
        // Neighbours in a batch are often neighbours in the bitmap: a word stays in hand until
        // another one is wanted.
        let (mut at, mut free) = (0, self.bits[0].load(Ordering::Relaxed));
        let mut count = 0;
        for slot in batch {
            let address = slot.load(Ordering::Relaxed).addr();
            let offset = wide(address.wrapping_sub(start));
            if !divisor.covers(offset) {
                break;
            }
            let Some(block) = divisor.block_at(offset) else {
                return Err((BadBlock::NoBlockStart, address));
            };
            // The remainder is for the compiler: an index of a block is below the length anyway.
            let word = widen(block / u64::BITS) % WORDS;
            if word != at {
                self.bits[at].store(free, Ordering::Relaxed);
                (at, free) = (word, self.bits[word].load(Ordering::Relaxed));
            }
            if free >> (block % u64::BITS) & 1 != 0 {
                return Err((BadBlock::AlreadyFree, address));
            }
            free |= 1 << (block % u64::BITS);
            count += 1;
        }
        self.bits[at].store(free, Ordering::Relaxed);
        Ok(count)
    }

    /// Sets the number of free blocks. The slab's place in its bin's order depends on it.
    pub(crate) fn set_free(&self, free: u32) {
        self.free.store(free, Ordering::Relaxed);
    }

    /// Whether the slab has another place in the order with `free` free blocks.
    pub(crate) fn would_move(&self, class: SizeClass, free: u32) -> bool {
        Slab::level(self.free(), class) != Slab::level(free, class)
    }

    /// The holes of a slab, one bit a page: dirty groups of `grain` pages in which every block is
    /// free. A hint without the lock of the slab's bin.
    pub(super) fn holes(&self, class: SizeClass, grain: u32) -> u128 {
        let size = narrow(class.block_bytes());
        let mut holes = 0;
        for page in (0..class.slab_pages().get()).step_by(widen(grain)) {
            if bits::count(&self.dirty, page, grain) == 0 {
                continue;
            }
            let (start, end) = (page * PAGE_SIZE, (page + grain) * PAGE_SIZE);
            let first = start / size;
            let past = end.div_ceil(size).min(class.capacity());
            if first < past && bits::count(&self.bits, first, past - first) == past - first {
                holes |= ((1 << grain) - 1) << page;
            }
        }
        holes
    }

    /// How many pages of the slab are known to hold no memory, and therefore no block in use.
    pub(super) fn clean_pages(&self, class: SizeClass) -> u32 {
        let pages = class.slab_pages().get();
        pages - bits::count(&self.dirty, 0, pages)
    }

    /// Takes the blocks that touch the pages of the slab's holes out of the bitmap into `claimed`.
    /// Returns the holes, one bit a page. The caller has taken the slab out of its bin's order.
    pub(super) fn claim_holes(
        &self,
        class: SizeClass,
        grain: u32,
        claimed: &mut [u64; WORDS],
    ) -> u128 {
        let holes = self.holes(class, grain);
        let mut taken = 0;
        for block in 0..if holes == 0 { 0 } else { class.capacity() } {
            let first = Slab::page_of(class, block);
            let last = Slab::page_of_end(class, block);
            // A block of three pages or more may have its hole between its first and its last.
            let pages = ((1 << (last - first + 1)) - 1) << first;
            if holes & pages != 0 {
                let (word, bit) = (widen(block / u64::BITS), 1 << (block % u64::BITS));
                let free = self.bits[word].load(Ordering::Relaxed);
                claimed[word] |= free & bit;
                self.bits[word].store(free & !bit, Ordering::Relaxed);
                taken += u32::from(free & bit != 0);
            }
        }
        self.free.store(self.free() - taken, Ordering::Relaxed);
        holes
    }

    /// The page in which a block ends.
    fn page_of_end(class: SizeClass, block: u32) -> u32 {
        narrow((widen(block + 1) * class.block_bytes() - 1) / PAGE_BYTES)
    }

    /// Puts claimed blocks back; `purged` pages are clean now.
    pub(super) fn release_holes(&self, claimed: &[u64; WORDS], purged: u128) {
        let mut count = 0;
        for (word, &claim) in self.bits.iter().zip(claimed) {
            if claim != 0 {
                word.store(word.load(Ordering::Relaxed) | claim, Ordering::Relaxed);
                count += claim.count_ones();
            }
        }
        self.free.store(self.free() + count, Ordering::Relaxed);
        for (index, word) in self.dirty.iter().enumerate() {
            #[expect(clippy::cast_possible_truncation, reason = "one half of the mask at a time")]
            let clean = (purged >> (index * 64)) as u64;
            word.store(word.load(Ordering::Relaxed) & !clean, Ordering::Relaxed);
        }
    }

    /// Whether the slab at this chunk starts here.
    pub(super) fn starts_here(&self) -> bool {
        self.lead.load(Ordering::Relaxed) == 0
    }

    /// Whether the slab at this chunk starts here and may have dirty pages.
    pub(super) fn may_have_holes(&self) -> bool {
        self.starts_here() && self.dirty.iter().any(|word| word.load(Ordering::Relaxed) != 0)
    }

    /// Checks I-6: the count is the number of set bits.
    #[cfg(test)]
    pub(crate) fn validate(&self, class: SizeClass) {
        let set: u32 =
            self.words(class).iter().map(|word| word.load(Ordering::Relaxed).count_ones()).sum();
        assert_eq!(set, self.free(), "I-6: free bits and count");
        assert!(set <= class.capacity(), "I-6: more free blocks than blocks");
    }
}

/// The order of a bin's part-used slabs: fullest first, then lowest. A slab's node is its first
/// chunk.
pub(crate) struct ByFullness<'a> {
    pub(crate) tables: &'a Tables,
    pub(crate) class: SizeClass,
}

impl ByFullness<'_> {
    /// The smallest key of an empty slab.
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
        let level = Slab::level(self.slab(node).free(), self.class);
        (u64::from(level) << 32) | u64::from(node)
    }
}

const _: () = {
    assert!(size_of::<Slab>() <= CHUNK_META_BYTES);
    assert!(align_of::<Slab>() <= 64);
    assert!(CHUNK_BYTES.is_multiple_of(PAGE_BYTES));
};

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{PAGE_BYTES, Slab, Slot, WORDS, widen};
    use crate::base::size_class::SizeClass;
    use crate::base::units::{Run, SEGMENT_BYTES};
    use crate::options::Config;
    use crate::os::fake::Fake;
    use crate::segment::Segments;
    use crate::segment::pages::Fit;
    use std::vec::Vec;

    /// A lone free block, larger than two pages, whose first and last page have neighbours in use.
    #[test]
    fn a_claim_takes_every_block_that_touches_a_hole() {
        let config = Config::new().arena_bytes(16 * SEGMENT_BYTES);
        let segments = Segments::reserve(Fake::new(4096, 1, 1 << 30), &config).expect("an arena");
        let tables = segments.tables();
        for class in SizeClass::all().filter(|class| class.block_bytes() >= PAGE_BYTES) {
            let run = segments.take(class.slab_pages(), Fit::Chunks).expect("room");
            let slab = Slab::of(tables, Slab::create(tables, run, class, 0));
            let out: Vec<Slot> = (0..widen(class.capacity())).map(|_| Slot::default()).collect();
            slab.take(class, segments.arena().page_address(run.start), &out);
            for block in 0..class.capacity() {
                let mut lone = [0; WORDS];
                lone[widen(block / u64::BITS)] = 1 << (block % u64::BITS);
                slab.release_holes(&lone, 0);
                let mut claimed = [0; WORDS];
                let holes = slab.claim_holes(class, 1, &mut claimed);
                assert_eq!(claimed == lone, holes != 0, "{class:?}, block {block}");
                assert_eq!(slab.free(), u32::from(holes == 0), "{class:?}, block {block}");
                if holes == 0 {
                    slab.take(class, segments.arena().page_address(run.start), &out[..1]);
                }
            }
        }
    }

    #[test]
    fn a_fresh_slab_has_no_dirty_page_whatever_was_there_before() {
        let config = Config::new().arena_bytes(8 * SEGMENT_BYTES);
        let segments = Segments::reserve(Fake::new(4096, 1, 1 << 30), &config).expect("an arena");
        let tables = segments.tables();
        let of_chunks = |chunks| SizeClass::all().find(|class| class.slab_chunks() == chunks);
        let (long, short) = (of_chunks(8).expect("a class"), of_chunks(1).expect("a class"));
        let run = segments.take(long.slab_pages(), Fit::Chunks).expect("room");
        let first = Slab::create(tables, run, long, 0);
        let slab = Slab::of(tables, first);
        let out: Vec<Slot> = (0..widen(long.capacity())).map(|_| Slot::default()).collect();
        slab.take(long, segments.arena().page_address(run.start), &out);
        assert!(slab.may_have_holes());
        let (run, _) = Slab::dissolve(tables, first, long);
        Slab::create(tables, Run::new(run.start, short.slab_pages()), short, 0);
        assert!(!slab.may_have_holes());
    }
}
