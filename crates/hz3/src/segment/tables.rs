//! The arena's tables: the records of every page, chunk and segment, outside the memory itself.
//!
//! | table | grain | bytes | content |
//! |---|---|---|---|
//! | class map | chunk | 4 | the size class of the slab there; 0: no slab |
//! | records | page | 12 | length of the run that starts there, links of free runs |
//! | chunk metadata | chunk | 64 | the slab header of `central::slab` |
//! | bitmaps | chunk | 512 | the bitmap of a slab whose header has no room for it |
//! | segment metadata | segment | 640 | page bitmaps, list heads, slab traffic, counts |
//! | list bits | 64 segments | 848 | the segments with runs, by list; 64 more: a top level |
//!
//! The tables lie in the arena's window, which is committed in step with the frontier (invariant
//! I-4): every index below the frontier has its entries, which are zero at first.
//!
//! **I-4.** The page records, chunk metadata, bitmaps and segment metadata of every index below the
//! frontier are committed, and zero until they are written. Those inside a purged run may be zero
//! again, so a caller that takes its pages writes them before it reads them. The class map is
//! readable for the whole arena.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::length_bin::length_bin;
use super::list_layout::{ListBits, list_bits_for};
use super::meta::SegmentMeta;
use crate::base::bits;
use crate::base::size_class::{MAX_BLOCKS, SizeClass};
use crate::base::units::{CHUNK_PAGES, ChunkIndex, PageIndex, Pages, SEGMENT_PAGES, to_usize};

/// Bytes of one chunk's metadata, which is zero when the chunk is first committed.
pub(crate) const CHUNK_META_BYTES: usize = 64;
/// 64-bit words of one chunk's bitmap in the table of bitmaps.
pub(crate) const BITMAP_WORDS: usize = bits::words_for(MAX_BLOCKS);

/// One chunk's bitmap in the table of bitmaps, which is zero when the chunk is first committed.
pub(crate) type Bitmap = [AtomicU64; BITMAP_WORDS];

/// One entry of the class map, as in [`SizeClass::raw`].
pub(crate) type ClassEntry = AtomicU32;

/// The ordering with which a slab's creator publishes its class. Release pairs with
/// [`OBSERVE_CLASS`].
pub(crate) const PUBLISH_CLASS: Ordering = Ordering::Release;
/// The ordering with which a scan of all chunks reads a class. Acquire pairs with
/// [`PUBLISH_CLASS`].
pub(crate) const OBSERVE_CLASS: Ordering = Ordering::Acquire;

/// The value of `next` at the first page of a large block. No page has this index.
const LARGE: u32 = u32::MAX;

/// The value of `next` at the first page of a sampled block; `previous` is then the number of its
/// sample. No page has this index.
const SAMPLED: u32 = u32::MAX - 1;

/// The record of one page. Its fields are valid only at certain pages of a run.
///
/// - `pages` is valid at the first page of a large block and at both ends of a free run.
/// - The links are valid at the first page of a free run (lists by length) and at its second page
///   (lists by chunks).
/// - At the first page of a large block, `next` is [`LARGE`] or [`SAMPLED`], which are no links.
///   `previous` is then the bin of the length, or the number of the sample.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct PageRecord {
    pages: AtomicU32,
    next: AtomicU32,
    previous: AtomicU32,
}

impl PageRecord {
    pub(crate) fn pages(&self) -> Pages {
        Pages::new(self.pages.load(Ordering::Relaxed))
    }

    pub(crate) fn set_pages(&self, pages: Pages) {
        self.pages.store(pages.get(), Ordering::Relaxed);
    }

    /// Returns whether a large block starts at this page.
    pub(crate) fn is_large(&self) -> bool {
        self.next() >= SAMPLED
    }

    /// Marks the large block that starts here as sample `number`. The caller owns the block.
    pub(crate) fn set_sampled(&self, number: u32) {
        self.set_previous(number);
        self.set_next(SAMPLED);
    }

    /// Returns the number of the sample that starts here.
    pub(crate) fn sample(&self) -> Option<u32> {
        (self.next() == SAMPLED).then(|| self.previous())
    }

    /// Ends the sampled block that starts here and returns its number; as [`Self::claim_large`].
    pub(crate) fn claim_sampled(&self) -> Option<u32> {
        let number = self.previous();
        let claimed = self.next.compare_exchange(SAMPLED, 0, Ordering::Relaxed, Ordering::Relaxed);
        claimed.is_ok().then_some(number)
    }

    /// Ends the large block that starts here. Returns false if none does, or if it is sampled. If
    /// two threads free the same block, one of the two calls returns false.
    pub(crate) fn claim_large(&self) -> bool {
        self.next.compare_exchange(LARGE, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Sets the length of the large block that starts here, or will.
    pub(crate) fn set_large_pages(&self, pages: Pages) {
        self.set_pages(pages);
        self.set_previous(length_bin(pages));
    }

    /// Returns the bin of the length of the large block that starts here, or did last.
    pub(crate) fn length_bin(&self) -> u32 {
        self.previous()
    }

    pub(crate) fn set_large(&self, large: bool) {
        self.set_next(if large { LARGE } else { 0 });
    }

    pub(crate) fn next(&self) -> u32 {
        self.next.load(Ordering::Relaxed)
    }

    pub(crate) fn set_next(&self, page: u32) {
        self.next.store(page, Ordering::Relaxed);
    }

    pub(crate) fn previous(&self) -> u32 {
        self.previous.load(Ordering::Relaxed)
    }

    pub(crate) fn set_previous(&self, page: u32) {
        self.previous.store(page, Ordering::Relaxed);
    }
}

/// The six tables. Every index given to a method must lie below the frontier. Indices come from
/// pages that the arena handed out, or from an address of the program that was checked against the
/// frontier.
#[derive(Debug)]
pub(crate) struct Tables {
    /// Entries of four bytes: the fast path loads one without extending it.
    pub(super) class_map: NonNull<ClassEntry>,
    pub(super) records: NonNull<PageRecord>,
    pub(super) chunks: NonNull<u8>,
    pub(super) bitmaps: NonNull<Bitmap>,
    pub(super) segments: NonNull<SegmentMeta>,
    pub(super) list_bits: NonNull<ListBits>,
    /// Pages of the whole arena. Every index is lower, wherever the frontier is.
    pub(super) pages: u32,
}

impl Tables {
    pub(super) fn record(&self, page: PageIndex) -> &PageRecord {
        debug_assert!(page.get() < self.pages, "{page:?} is beyond the arena");
        // SAFETY: I-4: the record of a page below the frontier is committed memory.
        let record = unsafe { self.records.add(page.index()) };
        // SAFETY: as above; a record is made of atomics, so sharing it is fine.
        unsafe { record.as_ref() }
    }

    pub(super) fn segment(&self, segment: usize) -> &SegmentMeta {
        debug_assert!(segment < to_usize(self.pages / SEGMENT_PAGES), "{segment} of the segments");
        // SAFETY: I-4: the metadata of a segment below the frontier is committed memory.
        let meta = unsafe { self.segments.add(segment) };
        // SAFETY: as above; it is made of atomics.
        unsafe { meta.as_ref() }
    }

    /// Returns one entry of the table of list bits; see [`super::lists`].
    pub(super) fn list_bits(&self, index: usize) -> &ListBits {
        let count = list_bits_for(to_usize(self.pages / SEGMENT_PAGES));
        debug_assert!(index < count, "{index} of {count} words of list bits");
        // SAFETY: I-4: the list bits of segments below the frontier are committed memory.
        let entry = unsafe { self.list_bits.add(index) };
        // SAFETY: as above; it is made of atomics.
        unsafe { entry.as_ref() }
    }

    /// Returns a chunk's metadata: `CHUNK_META_BYTES` bytes, aligned to 64, zero at first.
    pub(crate) fn chunk_meta(&self, chunk: ChunkIndex) -> NonNull<u8> {
        self.check(chunk);
        // SAFETY: I-4: the metadata of a chunk below the frontier is committed memory.
        unsafe { self.chunks.add(chunk.index() * CHUNK_META_BYTES) }
    }

    /// Returns a chunk's bitmap in the table of bitmaps.
    pub(crate) fn bitmap(&self, chunk: ChunkIndex) -> &Bitmap {
        self.check(chunk);
        // SAFETY: I-4: the bitmap of a chunk below the frontier is committed memory.
        let bitmap = unsafe { self.bitmaps.add(chunk.index()) };
        // SAFETY: as above; it is made of atomics.
        unsafe { bitmap.as_ref() }
    }

    pub(super) fn class_map(&self) -> NonNull<ClassEntry> {
        self.class_map
    }

    fn check(&self, chunk: ChunkIndex) {
        debug_assert!(chunk.get() < self.pages / CHUNK_PAGES, "{chunk:?} is beyond the arena");
    }

    fn class_entry(&self, chunk: ChunkIndex) -> &ClassEntry {
        self.check(chunk);
        // SAFETY: the class map is readable for every chunk of the arena.
        let entry = unsafe { self.class_map.add(chunk.index()) };
        // SAFETY: as above; the entry is an atomic.
        unsafe { entry.as_ref() }
    }

    /// Returns the class of the slab that covers a chunk, [`SizeClass::NONE`] if none does.
    pub(crate) fn class(&self, chunk: ChunkIndex) -> SizeClass {
        SizeClass::from_raw(self.class_entry(chunk).load(Ordering::Relaxed))
    }

    /// As [`Tables::class`], for a caller that does not own a block of the slab. It sees the
    /// headers that the slab's creator wrote before it published the class.
    pub(crate) fn published_class(&self, chunk: ChunkIndex) -> SizeClass {
        SizeClass::from_raw(self.class_entry(chunk).load(OBSERVE_CLASS))
    }

    /// Publishes the class of a slab's chunks, or withdraws it. The owner of a block reads the
    /// class without ordering, because the thread that handed the block over did so later. A scan
    /// of all chunks needs the ordering.
    pub(crate) fn set_class(&self, first: ChunkIndex, chunks: u32, class: SizeClass) {
        for chunk in first.get()..first.get() + chunks {
            self.class_entry(ChunkIndex::new(chunk)).store(class.raw(), PUBLISH_CLASS);
        }
    }
}

const _: () = {
    assert!(size_of::<PageRecord>() == 12);
    assert!(size_of::<Bitmap>() == 512);
};
