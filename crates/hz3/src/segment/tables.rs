//! The arena's tables: what is known of every page, chunk and segment, outside the memory itself.
//!
//! | table | grain | bytes | what it says |
//! |---|---|---|---|
//! | class map | chunk | 4 | the size class of the slab there, 0 when there is none |
//! | records | page | 12 | length of the run that starts there, links of free runs |
//! | chunk metadata | chunk | 64 | the slab header that `central::slab` lays over it |
//! | bitmaps | chunk | 512 | the bitmap of a slab whose header has no room for it |
//! | segment metadata | segment | 640 | free, dirty and old bits of its pages, heads of its lists, traffic of its slabs, counts |
//! | rows | 64 segments | 848 | which segments have free runs of each list; 64 rows more say which rows do |
//!
//! The tables are views of the arena's window, which is committed in step with the frontier
//! (invariant I-4): an index below the frontier has its entries, zero at first.
//!
//! **I-4.** The page records, chunk metadata, bitmaps and segment metadata of every index below the
//! frontier are committed, and zero until they are written. Those inside a purged run may be zero
//! again, so a caller that takes its pages writes them before it reads them. The class map is
//! readable for the whole arena.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::meta::SegmentMeta;
use super::rows::{Row, rows_for};
use crate::base::bits;
use crate::base::size_class::{MAX_BLOCKS, SizeClass};
use crate::base::units::{CHUNK_PAGES, ChunkIndex, PageIndex, Pages, SEGMENT_PAGES, to_usize};

/// Bytes of chunk metadata, zeroed when the chunk is first committed.
pub(crate) const CHUNK_META_BYTES: usize = 64;
/// Words of a chunk's bitmap in the table of bitmaps.
pub(crate) const BITMAP_WORDS: usize = bits::words_for(MAX_BLOCKS);

/// A chunk's bitmap in the table of bitmaps, zeroed when the chunk is first committed.
pub(crate) type Bitmap = [AtomicU64; BITMAP_WORDS];

/// An entry of the class map: [`SizeClass::raw`].
pub(crate) type ClassEntry = AtomicU32;

/// How the creator of a slab publishes its class. Release pairs with [`OBSERVE_CLASS`].
pub(crate) const PUBLISH_CLASS: Ordering = Ordering::Release;
/// How a scan of all chunks reads a class. Acquire pairs with [`PUBLISH_CLASS`].
pub(crate) const OBSERVE_CLASS: Ordering = Ordering::Acquire;

/// In place of a link: a large block starts here. No page has this index.
const LARGE: u32 = u32::MAX;

/// The record of one page. Which fields mean something depends on the page's place in its run:
/// `pages` holds at the first page of a large block and at both ends of a free run; the links
/// hold at the first page (lists by length) and the second (lists by chunks) of a free run. At the
/// first page of a large block `next` is [`LARGE`], which is no link.
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

    /// Whether a large block starts at this page.
    pub(crate) fn is_large(&self) -> bool {
        self.next() == LARGE
    }

    /// Ends the large block that starts here; false when none does. Of two frees of one block, one
    /// fails.
    pub(crate) fn claim_large(&self) -> bool {
        self.next.compare_exchange(LARGE, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
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

/// The six tables. Every index given to it must lie below the frontier; only pages that the
/// arena handed out, and the frontier check for addresses of the program, produce indices.
#[derive(Debug)]
pub(crate) struct Tables {
    /// Four bytes each: the hot path loads an entry without having to widen it.
    pub(super) class_map: NonNull<ClassEntry>,
    pub(super) records: NonNull<PageRecord>,
    pub(super) chunks: NonNull<u8>,
    pub(super) bitmaps: NonNull<Bitmap>,
    pub(super) segments: NonNull<SegmentMeta>,
    pub(super) rows: NonNull<Row>,
    /// Pages of the whole arena: no index is as large, whatever the frontier.
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

    /// A row of the lists of free runs.
    pub(super) fn row(&self, row: usize) -> &Row {
        debug_assert!(row < rows_for(to_usize(self.pages / SEGMENT_PAGES)), "{row} of the rows");
        // SAFETY: I-4: the rows of segments below the frontier are committed memory.
        let row = unsafe { self.rows.add(row) };
        // SAFETY: as above; it is made of atomics.
        unsafe { row.as_ref() }
    }

    /// The metadata bytes of a chunk, aligned to 64 and at first zero.
    pub(crate) fn chunk_meta(&self, chunk: ChunkIndex) -> NonNull<u8> {
        self.check(chunk);
        // SAFETY: I-4: the metadata of a chunk below the frontier is committed memory.
        unsafe { self.chunks.add(chunk.index() * CHUNK_META_BYTES) }
    }

    /// The bitmap of a chunk in the table of bitmaps.
    pub(crate) fn bitmap(&self, chunk: ChunkIndex) -> &Bitmap {
        self.check(chunk);
        // SAFETY: I-4: the bitmap of a chunk below the frontier is committed memory.
        let bitmap = unsafe { self.bitmaps.add(chunk.index()) };
        // SAFETY: as above; it is made of atomics.
        unsafe { bitmap.as_ref() }
    }

    /// The class map, for the hot path of free.
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

    /// The class of the slab that covers a chunk.
    pub(crate) fn class(&self, chunk: ChunkIndex) -> SizeClass {
        SizeClass::from_raw(self.class_entry(chunk).load(Ordering::Relaxed))
    }

    /// As [`Tables::class`], for a caller that was not handed a block of the slab: what the slab's
    /// creator wrote into its headers before it published the class is visible then.
    pub(crate) fn published_class(&self, chunk: ChunkIndex) -> SizeClass {
        SizeClass::from_raw(self.class_entry(chunk).load(OBSERVE_CLASS))
    }

    /// Publishes the class of a slab's chunks, or withdraws it. The owner of a block needs no
    /// ordering, because whoever handed it over did so after this; a scan of all chunks does.
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
