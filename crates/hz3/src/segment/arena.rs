//! One reservation of address space: the tables first, the pages behind them.
//!
//! The arena is reserved once, without access, and committed from its start in steps, so that a
//! strict overcommit limit is charged for what is used and not for what is reserved. Pages below
//! the *frontier* are committed. The frontier only rises.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};

use super::meta::SegmentMeta;
use super::tables::{Bitmap, CHUNK_META_BYTES, ClassEntry, PageRecord, Tables};
use crate::base::units::{
    CHUNK_BYTES, CHUNK_PAGES, CHUNK_SHIFT, PAGE_BYTES, PageIndex, Pages, Run, SEGMENT_BYTES,
    SEGMENT_PAGES, narrow, widen,
};
use crate::os::{Os, Refused, Span};

/// The arena that is asked for first, in bytes.
const LARGEST_ARENA: usize = 1 << 40;
/// The smallest arena worth having, in bytes.
const SMALLEST_ARENA: usize = 4 * SEGMENT_BYTES;
/// Growth is an eighth of what is committed, within these bounds.
const GROWTH_SHIFT: u32 = 3;
const SMALLEST_GROWTH: u32 = SEGMENT_PAGES;
const LARGEST_GROWTH: u32 = 64 * SEGMENT_PAGES;
/// Tables are committed in steps of this many bytes, a multiple of every OS page size.
const TABLE_STEP: usize = CHUNK_BYTES;

/// Bytes of a page and of its share of the tables.
pub(crate) const PAGE_COST: usize = PAGE_BYTES
    + size_of::<PageRecord>()
    + (size_of::<ClassEntry>() + CHUNK_META_BYTES + size_of::<Bitmap>())
        .div_ceil(widen(CHUNK_PAGES))
    + size_of::<SegmentMeta>().div_ceil(widen(SEGMENT_PAGES));

/// The reservation and its tables.
#[derive(Debug)]
pub(crate) struct Arena<O> {
    os: O,
    /// The first byte of page 0.
    base: NonNull<u8>,
    bytes: usize,
    tables: Tables,
    /// One past the last committed page. Written under the growth lock.
    frontier: AtomicU32,
}

/// How much of each table is committed, in bytes. Guarded by the growth lock.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    class_map: usize,
    records: usize,
    chunks: usize,
    bitmaps: usize,
    segments: usize,
}

// SAFETY: the arena hands out addresses and views of atomics; its pointers are fixed at start.
unsafe impl<O: Os> Sync for Arena<O> {}
// SAFETY: as above.
unsafe impl<O: Os + Send> Send for Arena<O> {}

/// Where the tables lie in the reservation, in bytes from its start.
struct Layout {
    records: usize,
    chunks: usize,
    bitmaps: usize,
    segments: usize,
    pages: usize,
    total: usize,
}

impl Layout {
    fn of(arena_bytes: usize) -> Layout {
        let round = |bytes: usize| bytes.next_multiple_of(TABLE_STEP);
        let chunk_count = arena_bytes / CHUNK_BYTES;
        let records = round(chunk_count * size_of::<ClassEntry>());
        let chunks = records + round(arena_bytes / PAGE_BYTES * size_of::<PageRecord>());
        let bitmaps = chunks + round(chunk_count * CHUNK_META_BYTES);
        let segments = bitmaps + round(chunk_count * size_of::<Bitmap>());
        let tables = segments + round(arena_bytes / SEGMENT_BYTES * size_of::<SegmentMeta>());
        // One segment more than the pages need, to start them at a multiple of a segment.
        Layout {
            records,
            chunks,
            bitmaps,
            segments,
            pages: tables,
            total: tables + arena_bytes + SEGMENT_BYTES,
        }
    }
}

impl<O: Os> Arena<O> {
    /// Reserves an arena of `wanted` bytes, or as many as the system gives: the default is 1 TiB,
    /// three quarters of the address space limit at most, halved until it fits.
    pub(crate) fn reserve(os: O, wanted: Option<usize>) -> Result<Arena<O>, Refused> {
        let limit = os.address_space_limit().map_or(usize::MAX, |limit| limit / 4 * 3);
        let mut bytes = wanted.unwrap_or(LARGEST_ARENA).min(limit).min(LARGEST_ARENA);
        loop {
            bytes = (bytes / SEGMENT_BYTES * SEGMENT_BYTES).max(SMALLEST_ARENA);
            let layout = Layout::of(bytes);
            if let Some(start) = os.reserve(layout.total) {
                return Self::lay_out(os, start, bytes, &layout);
            }
            if bytes == SMALLEST_ARENA {
                return Err(Refused);
            }
            bytes /= 2;
        }
    }

    fn lay_out(
        os: O,
        start: NonNull<u8>,
        bytes: usize,
        layout: &Layout,
    ) -> Result<Arena<O>, Refused> {
        let pages_at = (start.addr().get() + layout.pages).next_multiple_of(SEGMENT_BYTES)
            - start.addr().get();
        // SAFETY: all offsets lie in the reservation of `layout.total` bytes.
        let at = |offset: usize| unsafe { start.add(offset) };
        let tables = Tables {
            class_map: start.cast(),
            records: at(layout.records).cast(),
            chunks: at(layout.chunks),
            bitmaps: at(layout.bitmaps).cast(),
            segments: at(layout.segments).cast(),
        };
        // SAFETY: the class map is reserved and not yet committed.
        unsafe { os.allow_reads(Span { start, bytes: layout.records })? };
        // Chunk 0 is never used: index 0 is the null link of the ordered sets.
        let frontier = AtomicU32::new(CHUNK_PAGES);
        Ok(Arena { os, base: at(pages_at), bytes, tables, frontier })
    }

    pub(crate) fn os(&self) -> &O {
        &self.os
    }

    pub(crate) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The first byte of page 0. The pages before the first chunk's end are never handed out.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// One past the last committed page.
    pub(crate) fn frontier(&self) -> PageIndex {
        // Acquire pairs with the release store in `commit`: tables below it are committed.
        PageIndex::new(self.frontier.load(Ordering::Acquire))
    }

    /// The first committed page.
    pub(crate) fn first_page() -> PageIndex {
        PageIndex::new(CHUNK_PAGES)
    }

    /// The offset of an address in the arena's committed pages; `None` elsewhere.
    pub(crate) fn offset_of(&self, address: usize) -> Option<usize> {
        let offset = address.checked_sub(self.base.addr().get())?;
        let committed = Self::first_page().offset()..self.frontier().offset();
        committed.contains(&offset).then_some(offset)
    }

    /// Whether an address lies in the reservation, committed or not.
    pub(crate) fn contains(&self, address: usize) -> bool {
        address.wrapping_sub(self.base.addr().get()) < self.bytes
    }

    /// The address of a page.
    pub(crate) fn page_address(&self, page: PageIndex) -> NonNull<u8> {
        self.address(page.offset())
    }

    /// The address at an offset below the arena's end.
    pub(crate) fn address(&self, offset: usize) -> NonNull<u8> {
        debug_assert!(offset <= self.bytes);
        // SAFETY: the offset lies in the reservation (or one past its end).
        unsafe { self.base.add(offset) }
    }

    /// The bytes of a run.
    pub(crate) fn span(&self, run: Run) -> Span {
        Span { start: self.page_address(run.start), bytes: run.pages.bytes() }
    }

    /// The system's pages of the tables that tell of nothing but the inside of a run: its page
    /// records, its chunk metadata and bitmaps. Empty for a short run.
    pub(crate) fn tables_of(&self, run: Run) -> [Option<Span>; 3] {
        let chunks = (run.start.get().div_ceil(CHUNK_PAGES), run.end().get() / CHUNK_PAGES);
        [
            self.whole_pages(
                self.tables.records.cast(),
                (run.start.get(), run.end().get()),
                size_of::<PageRecord>(),
            ),
            self.whole_pages(self.tables.chunks, chunks, CHUNK_META_BYTES),
            self.whole_pages(self.tables.bitmaps.cast(), chunks, size_of::<Bitmap>()),
        ]
    }

    /// The system's pages that lie wholly in some entries, from the first to one past the last, of
    /// a table.
    fn whole_pages(&self, table: NonNull<u8>, entries: (u32, u32), entry: usize) -> Option<Span> {
        let page = self.os.page_size();
        let start = (widen(entries.0) * entry).next_multiple_of(page);
        let end = widen(entries.1) * entry / page * page;
        let bytes = end.checked_sub(start).filter(|&bytes| bytes > 0)?;
        // SAFETY: the entries lie in the table. It starts at a page of the system, as its steps do.
        Some(Span { start: unsafe { table.add(start) }, bytes })
    }

    /// Bytes of the tables that are committed.
    pub(crate) fn table_bytes(growth: &Growth) -> usize {
        growth.class_map + growth.records + growth.chunks + growth.bitmaps + growth.segments
    }

    /// The committed parts of the tables.
    fn table_spans(&self, growth: &Growth) -> [Span; 5] {
        let tables = &self.tables;
        [
            Span { start: tables.class_map.cast(), bytes: growth.class_map },
            Span { start: tables.records.cast(), bytes: growth.records },
            Span { start: tables.chunks, bytes: growth.chunks },
            Span { start: tables.bitmaps.cast(), bytes: growth.bitmaps },
            Span { start: tables.segments.cast(), bytes: growth.segments },
        ]
    }

    /// Bytes of the tables that are backed by memory.
    pub(crate) fn resident_table_bytes(&self, growth: &Growth) -> usize {
        self.table_spans(growth).map(|span| self.os.resident_bytes(span)).iter().sum()
    }

    /// Commits at least `pages` more pages and returns them; they belong to the caller and are
    /// clean. More is taken than asked for, in proportion to what is committed, when it is there.
    pub(crate) fn grow(&self, growth: &mut Growth, pages: Pages) -> Result<Run, Refused> {
        let start = self.frontier();
        let room = narrow(self.bytes / PAGE_BYTES) - start.get();
        let needed = pages.get().next_multiple_of(CHUNK_PAGES);
        if needed > room {
            return Err(Refused);
        }
        let step = (start.get() >> GROWTH_SHIFT).clamp(SMALLEST_GROWTH, LARGEST_GROWTH);
        // End at a segment border where possible, so that segments are committed whole.
        let generous =
            (start.get() + needed.max(step)).next_multiple_of(SEGMENT_PAGES) - start.get();
        let run = |count: u32| Run::new(start, Pages::new(count.min(room)));
        let committed = self.commit(growth, run(generous));
        committed.or_else(|Refused| self.commit(growth, run(needed)))
    }

    fn commit(&self, growth: &mut Growth, run: Run) -> Result<Run, Refused> {
        let end = run.end().get();
        let chunks = widen(end).div_ceil(widen(CHUNK_PAGES));
        let segments = widen(end.div_ceil(SEGMENT_PAGES));
        let tables = &self.tables;
        let records = widen(end) * size_of::<PageRecord>();
        self.extend(
            tables.class_map.cast(),
            &mut growth.class_map,
            chunks * size_of::<ClassEntry>(),
        )?;
        self.extend(tables.records.cast(), &mut growth.records, records)?;
        self.extend(tables.chunks, &mut growth.chunks, chunks * CHUNK_META_BYTES)?;
        let bitmaps = chunks * size_of::<Bitmap>();
        self.extend(tables.bitmaps.cast(), &mut growth.bitmaps, bitmaps)?;
        let segment_bytes = segments * size_of::<SegmentMeta>();
        self.extend(tables.segments.cast(), &mut growth.segments, segment_bytes)?;
        // SAFETY: the run lies between the frontier and the arena's end: reserved, not committed.
        unsafe { self.os.commit(self.span(run))? };
        // Release pairs with the acquire load in `frontier`.
        self.frontier.store(end, Ordering::Release);
        Ok(run)
    }

    /// Commits a table up to `needed` bytes.
    fn extend(
        &self,
        table: NonNull<u8>,
        committed: &mut usize,
        needed: usize,
    ) -> Result<(), Refused> {
        let target = needed.next_multiple_of(TABLE_STEP);
        if target > *committed {
            // SAFETY: the table was laid out with room for every index, rounded to the step.
            let start = unsafe { table.add(*committed) };
            // SAFETY: bytes from `committed` on are reserved and not yet committed.
            unsafe { self.os.commit(Span { start, bytes: target - *committed })? };
            *committed = target;
        }
        Ok(())
    }
}

const _: () = assert!(LARGEST_ARENA >> CHUNK_SHIFT < 1 << 32);
