//! One window of address space: the tables first, the pages behind them.
//!
//! The window's address is chosen once. The window is then mapped from its start in steps, so that
//! unused parts count for nothing: no limit on address space, no strict overcommit, no `mlockall`,
//! no core file. All pages below the *frontier* are committed, except where a foreign mapping
//! already occupied the addresses: those pages are skipped. The frontier only rises.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};

use super::list_layout::{ListBits, list_bits_for};
use super::meta::SegmentMeta;
use super::tables::{Bitmap, CHUNK_META_BYTES, ClassEntry, PageRecord, Tables};
use crate::base::units::{
    CHUNK_BYTES, CHUNK_PAGES, CHUNK_SHIFT, PAGE_BYTES, PageIndex, Pages, Run, SEGMENT_BYTES,
    SEGMENT_PAGES, to_u32, to_usize,
};
use crate::os::{NotCommitted, Os, Refused, Span};

/// The largest arena, in bytes: 1 TiB.
const LARGEST_ARENA: usize = 1 << 40;
/// The arena is this many times the memory that the process could ever use. The rest is room for
/// gaps between blocks and for blocks that are never touched. It costs four bytes of the class map
/// for each chunk: 128 KiB for each GiB, mapped and not touched.
const ARENA_PER_MEMORY: usize = 2;
/// The smallest arena that hz3 accepts, in bytes.
const SMALLEST_ARENA: usize = 4 * SEGMENT_BYTES;
/// The arena grows by an eighth of what is committed, within these bounds.
const GROWTH_SHIFT: u32 = 3;
const SMALLEST_GROWTH: u32 = SEGMENT_PAGES / 4;
const LARGEST_GROWTH: u32 = 64 * SEGMENT_PAGES;
/// Tables are committed in steps of this many bytes, a multiple of every system's page size.
const TABLE_STEP: usize = CHUNK_BYTES;

/// Bytes of a page together with its share of the tables.
pub(crate) const PAGE_COST: usize = PAGE_BYTES
    + size_of::<PageRecord>()
    + (size_of::<ClassEntry>() + CHUNK_META_BYTES + size_of::<Bitmap>())
        .div_ceil(to_usize(CHUNK_PAGES))
    + size_of::<SegmentMeta>().div_ceil(to_usize(SEGMENT_PAGES));

/// The window and its tables.
#[derive(Debug)]
pub(crate) struct Arena<O> {
    os: O,
    /// The first byte of page 0.
    base: NonNull<u8>,
    bytes: usize,
    tables: Tables,
    /// One past the last committed page. Written with the growth lock held.
    frontier: AtomicU32,
}

/// How many bytes of each table are committed. The growth lock guards it. The class map is not
/// listed because all of it is committed.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    records: usize,
    chunks: usize,
    bitmaps: usize,
    segments: usize,
    list_bits: usize,
}

// SAFETY: the arena hands out addresses and views of atomics; its pointers are fixed at start.
unsafe impl<O: Os> Sync for Arena<O> {}
// SAFETY: as above.
unsafe impl<O: Os + Send> Send for Arena<O> {}

/// Offsets of the tables and the pages in the window, in bytes.
struct Layout {
    records: usize,
    chunks: usize,
    bitmaps: usize,
    segments: usize,
    list_bits: usize,
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
        let segment_count = arena_bytes / SEGMENT_BYTES;
        let list_bits = segments + round(segment_count * size_of::<SegmentMeta>());
        let tables = list_bits + round(list_bits_for(segment_count) * size_of::<ListBits>());
        // One more segment than the pages need, so that page 0 can be aligned to a segment.
        Layout {
            records,
            chunks,
            bitmaps,
            segments,
            list_bits,
            pages: tables,
            total: tables + arena_bytes + SEGMENT_BYTES,
        }
    }
}

impl<O: Os> Arena<O> {
    /// Reserves an arena of `wanted` bytes. The default is a multiple of the memory that the
    /// process could ever use. If the system refuses, smaller arenas are tried.
    ///
    /// # Errors
    /// Returns `os` to the caller if the system refuses even the smallest arena.
    pub(crate) fn reserve(os: O, wanted: Option<usize>) -> Result<Arena<O>, O> {
        let default = || os.memory_bytes().saturating_mul(ARENA_PER_MEMORY);
        let mut bytes = wanted.unwrap_or_else(default).min(LARGEST_ARENA);
        loop {
            bytes = (bytes / SEGMENT_BYTES * SEGMENT_BYTES).max(SMALLEST_ARENA);
            let layout = Layout::of(bytes);
            if let Some(start) = os.choose_window(layout.total) {
                return Self::lay_out(os, start, bytes, &layout);
            }
            if bytes == SMALLEST_ARENA {
                return Err(os);
            }
            bytes /= 2;
        }
    }

    fn lay_out(os: O, start: NonNull<u8>, bytes: usize, layout: &Layout) -> Result<Arena<O>, O> {
        let pages_at = (start.addr().get() + layout.pages).next_multiple_of(SEGMENT_BYTES)
            - start.addr().get();
        // SAFETY: all offsets lie in the window of `layout.total` bytes.
        let at = |offset: usize| unsafe { start.add(offset) };
        let tables = Tables {
            class_map: start.cast(),
            records: at(layout.records).cast(),
            chunks: at(layout.chunks),
            bitmaps: at(layout.bitmaps).cast(),
            segments: at(layout.segments).cast(),
            list_bits: at(layout.list_bits).cast(),
            pages: to_u32(bytes / PAGE_BYTES),
        };
        // The whole class map is committed, because a free reads it for any address of the window.
        // SAFETY: the class map lies in the window and is not committed.
        if unsafe { os.commit(Span { start, bytes: layout.records }) }.is_err() {
            return Err(os);
        }
        // Chunk 0 is never used: page 0 is the null link of the lists.
        let frontier = AtomicU32::new(CHUNK_PAGES);
        Ok(Arena { os, base: at(pages_at), bytes, tables, frontier })
    }

    pub(crate) fn os(&self) -> &O {
        &self.os
    }

    pub(crate) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Returns the first byte of page 0. The pages of chunk 0 are never handed out.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the page after the last committed one.
    pub(crate) fn frontier(&self) -> PageIndex {
        // Acquire pairs with the release store in `commit`: tables below it are committed.
        PageIndex::new(self.frontier.load(Ordering::Acquire))
    }

    /// Returns the first committed page.
    pub(crate) fn first_page() -> PageIndex {
        PageIndex::new(CHUNK_PAGES)
    }

    /// Returns the offset of an address in the arena's committed pages; `None` if it lies
    /// elsewhere.
    pub(crate) fn offset_of(&self, address: usize) -> Option<usize> {
        let offset = address.checked_sub(self.base.addr().get())?;
        let committed = Self::first_page().offset()..self.frontier().offset();
        committed.contains(&offset).then_some(offset)
    }

    /// Returns whether an address lies in the window's pages, committed or not.
    pub(crate) fn contains(&self, address: usize) -> bool {
        address.wrapping_sub(self.base.addr().get()) < self.bytes
    }

    pub(crate) fn page_address(&self, page: PageIndex) -> NonNull<u8> {
        self.address(page.offset())
    }

    /// Returns the address at an offset, which must not exceed the arena's length.
    pub(crate) fn address(&self, offset: usize) -> NonNull<u8> {
        debug_assert!(offset <= self.bytes);
        // SAFETY: the offset lies in the window (or one past its end).
        unsafe { self.base.add(offset) }
    }

    /// Returns the addresses of a run.
    pub(crate) fn span(&self, run: Run) -> Span {
        Span { start: self.page_address(run.start), bytes: run.pages.bytes() }
    }

    /// Returns the system pages of the tables that hold nothing but entries of pages inside a run.
    /// They are parts of the page records, of the chunk metadata and of the bitmaps. A short run
    /// has none.
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

    /// Returns the system pages that lie wholly inside the entries `entries.0..entries.1` of a
    /// table, whose entries have `entry` bytes.
    fn whole_pages(&self, table: NonNull<u8>, entries: (u32, u32), entry: usize) -> Option<Span> {
        let page = self.os.page_size();
        let start = (to_usize(entries.0) * entry).next_multiple_of(page);
        let end = to_usize(entries.1) * entry / page * page;
        let bytes = end.checked_sub(start).filter(|&bytes| bytes > 0)?;
        // SAFETY: the entries lie in the table. It starts at a system page, because its steps do.
        Some(Span { start: unsafe { table.add(start) }, bytes })
    }

    /// Returns the committed bytes of the tables that describe committed pages.
    pub(crate) fn table_bytes(&self, growth: &Growth) -> usize {
        self.table_spans(growth).iter().map(|span| span.bytes).sum()
    }

    /// Returns the committed parts of the six tables.
    fn table_spans(&self, growth: &Growth) -> [Span; 6] {
        let tables = &self.tables;
        let class_map = to_usize(self.frontier().get() / CHUNK_PAGES) * size_of::<ClassEntry>();
        let class_map = class_map.next_multiple_of(TABLE_STEP);
        [
            Span { start: tables.class_map.cast(), bytes: class_map },
            Span { start: tables.records.cast(), bytes: growth.records },
            Span { start: tables.chunks, bytes: growth.chunks },
            Span { start: tables.bitmaps.cast(), bytes: growth.bitmaps },
            Span { start: tables.segments.cast(), bytes: growth.segments },
            Span { start: tables.list_bits.cast(), bytes: growth.list_bits },
        ]
    }

    /// Returns how many bytes of the tables are resident.
    pub(crate) fn resident_table_bytes(&self, growth: &Growth) -> usize {
        self.table_spans(growth).map(|span| self.os.resident_bytes(span)).iter().sum()
    }

    /// Commits at least `pages` more pages and returns them; they are clean and belong to the
    /// caller. More pages are committed than requested, in proportion to what is committed, if the
    /// arena has room.
    pub(crate) fn grow(&self, growth: &mut Growth, pages: Pages) -> Result<Run, Refused> {
        let needed = pages.get().next_multiple_of(CHUNK_PAGES);
        let mut skip = SMALLEST_GROWTH;
        loop {
            let start = self.frontier();
            let room = to_u32(self.bytes / PAGE_BYTES) - start.get();
            if needed > room {
                return Err(Refused);
            }
            let run = |count: u32| Run::new(start, Pages::new(count.min(room)));
            let generous = Self::generous(start, needed);
            if let Ok(run) = self.commit(growth, run(generous)) {
                return Ok(run);
            }
            match self.commit(growth, run(needed)) {
                Ok(run) => return Ok(run),
                Err(NotCommitted::Refused) => return Err(Refused),
                // A foreign mapping is in the way. The system does not tell its length, so each
                // skip is twice as long as the last one.
                Err(NotCommitted::Occupied) => self.skip(growth, run(skip))?,
            }
            skip = skip.saturating_mul(2);
        }
    }

    /// Returns how many pages to commit at `start` if `needed` are needed: a step in proportion to
    /// the arena. The step ends at a segment border if a whole segment lies below it, so that
    /// segments are committed as a whole.
    fn generous(start: PageIndex, needed: u32) -> u32 {
        let step = (start.get() >> GROWTH_SHIFT).clamp(SMALLEST_GROWTH, LARGEST_GROWTH);
        let end = start.get() + needed.max(step);
        let border = if end < SEGMENT_PAGES { SMALLEST_GROWTH } else { SEGMENT_PAGES };
        let below = end / border * border;
        let end = if below >= start.get() + needed { below } else { below + border };
        end - start.get()
    }

    fn commit(&self, growth: &mut Growth, run: Run) -> Result<Run, NotCommitted> {
        self.extend_tables(growth, run.end())?;
        // SAFETY: the run lies between the frontier and the window's end: never committed.
        unsafe { self.os.commit(self.span(run))? };
        #[cfg(all(any(test, feature = "check"), not(loom)))]
        for page in [run.start, run.last()] {
            let pages = self.tables.record(page).pages();
            assert_eq!(pages, Pages::ZERO, "I-4: the fresh record of {page:?}");
        }
        // Release pairs with the acquire load in `frontier`.
        self.frontier.store(run.end().get(), Ordering::Release);
        Ok(run)
    }

    /// Leaves pages at the frontier to a foreign mapping. They are never free.
    fn skip(&self, growth: &mut Growth, run: Run) -> Result<(), Refused> {
        self.extend_tables(growth, run.end())?;
        // Release pairs with the acquire load in `frontier`.
        self.frontier.store(run.end().get(), Ordering::Release);
        Ok(())
    }

    /// Commits the table entries of all pages below `end`.
    fn extend_tables(&self, growth: &mut Growth, end: PageIndex) -> Result<(), NotCommitted> {
        let chunks = to_usize(end.get()).div_ceil(to_usize(CHUNK_PAGES));
        let segments = to_usize(end.get().div_ceil(SEGMENT_PAGES));
        let tables = &self.tables;
        let records = to_usize(end.get()) * size_of::<PageRecord>();
        self.extend(tables.records.cast(), &mut growth.records, records)?;
        self.extend(tables.chunks, &mut growth.chunks, chunks * CHUNK_META_BYTES)?;
        let bitmaps = chunks * size_of::<Bitmap>();
        self.extend(tables.bitmaps.cast(), &mut growth.bitmaps, bitmaps)?;
        let segment_bytes = segments * size_of::<SegmentMeta>();
        self.extend(tables.segments.cast(), &mut growth.segments, segment_bytes)?;
        let list_bytes = list_bits_for(segments) * size_of::<ListBits>();
        self.extend(tables.list_bits.cast(), &mut growth.list_bits, list_bytes)
    }

    /// Commits a table up to `needed` bytes.
    fn extend(
        &self,
        table: NonNull<u8>,
        committed: &mut usize,
        needed: usize,
    ) -> Result<(), NotCommitted> {
        let target = needed.next_multiple_of(TABLE_STEP);
        if target > *committed {
            // SAFETY: the table was laid out with room for every index, rounded to the step.
            let start = unsafe { table.add(*committed) };
            // SAFETY: bytes from `committed` on lie in the window and are not yet committed.
            unsafe { self.os.commit(Span { start, bytes: target - *committed })? };
            *committed = target;
        }
        Ok(())
    }
}

const _: () = assert!(LARGEST_ARENA >> CHUNK_SHIFT < 1 << 32);

#[cfg(test)]
mod tests {
    use super::{Arena, Growth, SEGMENT_PAGES, SMALLEST_GROWTH};
    use crate::base::units::{PAGE_BYTES, PageIndex, Pages, Run, SEGMENT_BYTES};
    use crate::os::fake::Fake;

    fn arena(segments: usize) -> Arena<Fake> {
        let wanted = Some(segments * SEGMENT_BYTES);
        Arena::reserve(Fake::new(PAGE_BYTES, 1, 1 << 30), wanted).expect("a window")
    }

    fn run(start: u32, pages: u32) -> Run {
        Run::new(PageIndex::new(start), Pages::new(pages))
    }

    #[test]
    fn growth_starts_small_and_then_ends_at_segment_borders() {
        let (arena, mut growth) = (arena(8), Growth::default());
        let (mut ends, mut pages) = (std::vec::Vec::new(), 0);
        while let Ok(run) = arena.grow(&mut growth, Pages::new(1)) {
            ends.push(run.end().get());
            pages += run.pages.get();
        }
        assert_eq!(ends[0], SMALLEST_GROWTH);
        let whole = ends.iter().filter(|&end| end.is_multiple_of(SEGMENT_PAGES)).count();
        assert_eq!(whole, 8, "{ends:?}");
        assert_eq!(pages, 8 * SEGMENT_PAGES - 16);
    }

    #[test]
    fn foreign_mappings_are_skipped() {
        let (arena, mut growth) = (arena(8), Growth::default());
        let foreign = run(SEGMENT_PAGES + 500, 300);
        arena.os().occupy(arena.span(foreign));
        let mut pages = 0;
        while let Ok(run) = arena.grow(&mut growth, Pages::new(1)) {
            assert!(run.end() <= foreign.start || foreign.end() <= run.start, "{run:?}");
            pages += u64::from(run.pages.get());
        }
        assert!(pages > u64::from(6 * SEGMENT_PAGES), "{pages} pages in spite of one obstacle");
    }

    #[test]
    fn a_refused_growth_leaves_the_frontier_where_it_is() {
        let (arena, mut growth) = (arena(8), Growth::default());
        arena.os().exhaust(true);
        let before = arena.frontier();
        assert!(arena.grow(&mut growth, Pages::new(1)).is_err());
        assert_eq!(arena.frontier(), before);
        arena.os().exhaust(false);
        assert!(arena.grow(&mut growth, Pages::new(1)).is_ok());
    }
}
