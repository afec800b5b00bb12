//! Units of the arena (pages, chunks, segments) as types that cannot be mixed up.
//!
//! A *page* is 4 KiB of the arena, also where the OS page is larger. A *chunk* is 64 KiB: slabs
//! start at chunks and consist of whole ones. A *segment* is 4 MiB and has one set of page bitmaps.

use core::ops::{Add, AddAssign, Sub, SubAssign};

/// log2 of [`PAGE_BYTES`].
pub(crate) const PAGE_SHIFT: u32 = 12;
/// 4 KiB, whatever the page size of the system.
pub(crate) const PAGE_BYTES: usize = 1 << PAGE_SHIFT;
/// log2 of [`CHUNK_BYTES`].
pub(crate) const CHUNK_SHIFT: u32 = 16;
/// 64 KiB: the grain of slabs and of the class map.
pub(crate) const CHUNK_BYTES: usize = 1 << CHUNK_SHIFT;
pub(crate) const CHUNK_PAGES: u32 = 1 << (CHUNK_SHIFT - PAGE_SHIFT);
/// log2 of [`SEGMENT_PAGES`].
pub(crate) const SEGMENT_PAGES_SHIFT: u32 = 10;
pub(crate) const SEGMENT_PAGES: u32 = 1 << SEGMENT_PAGES_SHIFT;
/// 4 MiB: the grain of the page bitmaps.
pub(crate) const SEGMENT_BYTES: usize = PAGE_BYTES << SEGMENT_PAGES_SHIFT;

/// A count of pages of [`PAGE_BYTES`], not of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub(crate) struct Pages(u32);

/// The index of a page in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub(crate) struct PageIndex(u32);

/// The index of a chunk in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub(crate) struct ChunkIndex(u32);

impl Pages {
    pub(crate) const ZERO: Pages = Pages(0);

    pub(crate) const fn new(count: u32) -> Pages {
        Pages(count)
    }

    /// Returns the number of pages that hold `bytes`; `None` if it exceeds a `u32`.
    pub(crate) fn containing(bytes: usize) -> Option<Pages> {
        u32::try_from(bytes.div_ceil(PAGE_BYTES)).ok().map(Pages)
    }

    pub(crate) const fn get(self) -> u32 {
        self.0
    }

    pub(crate) const fn bytes(self) -> usize {
        to_usize(self.0) << PAGE_SHIFT
    }
}

impl PageIndex {
    pub(crate) const fn new(index: u32) -> PageIndex {
        PageIndex(index)
    }

    /// Returns the page that holds the byte `offset` bytes into the arena.
    pub(crate) const fn of_offset(offset: usize) -> PageIndex {
        PageIndex(to_u32(offset >> PAGE_SHIFT))
    }

    pub(crate) const fn get(self) -> u32 {
        self.0
    }

    pub(crate) const fn index(self) -> usize {
        to_usize(self.0)
    }

    /// Returns the offset of the page's first byte in the arena, in bytes.
    pub(crate) const fn offset(self) -> usize {
        to_usize(self.0) << PAGE_SHIFT
    }

    pub(crate) const fn chunk(self) -> ChunkIndex {
        ChunkIndex(self.0 / CHUNK_PAGES)
    }

    /// Returns the first page at or after this one whose index is a multiple of `align`.
    pub(crate) const fn align_up(self, align: Pages) -> PageIndex {
        PageIndex(self.0.next_multiple_of(align.0))
    }
}

impl ChunkIndex {
    pub(crate) const fn new(index: u32) -> ChunkIndex {
        ChunkIndex(index)
    }

    pub(crate) const fn of_offset(offset: usize) -> ChunkIndex {
        ChunkIndex(to_u32(offset >> CHUNK_SHIFT))
    }

    pub(crate) const fn get(self) -> u32 {
        self.0
    }

    pub(crate) const fn index(self) -> usize {
        to_usize(self.0)
    }

    pub(crate) const fn offset(self) -> usize {
        to_usize(self.0) << CHUNK_SHIFT
    }

    pub(crate) const fn first_page(self) -> PageIndex {
        PageIndex(self.0 * CHUNK_PAGES)
    }
}

impl Add<Pages> for PageIndex {
    type Output = PageIndex;
    fn add(self, pages: Pages) -> PageIndex {
        PageIndex(self.0 + pages.0)
    }
}

impl Sub<Pages> for PageIndex {
    type Output = PageIndex;
    fn sub(self, pages: Pages) -> PageIndex {
        PageIndex(self.0 - pages.0)
    }
}

impl Sub<PageIndex> for PageIndex {
    type Output = Pages;
    fn sub(self, start: PageIndex) -> Pages {
        Pages(self.0 - start.0)
    }
}

impl Add for Pages {
    type Output = Pages;
    fn add(self, other: Pages) -> Pages {
        Pages(self.0 + other.0)
    }
}

impl Sub for Pages {
    type Output = Pages;
    fn sub(self, other: Pages) -> Pages {
        Pages(self.0 - other.0)
    }
}

impl AddAssign for Pages {
    fn add_assign(&mut self, other: Pages) {
        self.0 += other.0;
    }
}

impl SubAssign for Pages {
    fn sub_assign(&mut self, other: Pages) {
        self.0 -= other.0;
    }
}

/// A contiguous range of pages of the arena. The holder of a `Run` owns its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a dropped run is a leaked run"]
pub(crate) struct Run {
    pub(crate) start: PageIndex,
    pub(crate) pages: Pages,
}

impl Run {
    pub(crate) fn new(start: PageIndex, pages: Pages) -> Run {
        Run { start, pages }
    }

    /// Returns the index one past the last page.
    pub(crate) fn end(self) -> PageIndex {
        self.start + self.pages
    }

    pub(crate) fn last(self) -> PageIndex {
        PageIndex(self.end().0 - 1)
    }
}

/// Converts a `u32` to `usize`. Const code cannot use `From`.
pub(crate) const fn to_usize(value: u32) -> usize {
    value as usize
}

/// Converts a `usize` to `u64`.
pub(crate) const fn to_u64(value: usize) -> u64 {
    value as u64
}

/// Returns the bytes that a request of `size` counts for the heap profile: one more than asked, so
/// that requests of no bytes are sampled too.
#[inline(always)]
pub(crate) const fn counted_bytes(size: usize) -> i64 {
    to_i64(size).saturating_add(1)
}

/// Converts the size of a request, which is at most `isize::MAX`, to `i64`.
const fn to_i64(size: usize) -> i64 {
    debug_assert!(size <= isize::MAX.cast_unsigned());
    size.cast_signed() as i64
}

/// Converts a `usize` that fits to `u32`: an index of a page, a chunk or a block.
#[expect(clippy::cast_possible_truncation, reason = "the debug assertion states the range")]
pub(crate) const fn to_u32(value: usize) -> u32 {
    debug_assert!(value <= u32::MAX as usize);
    value as u32
}

const _: () = assert!(usize::BITS >= 64, "hz3 needs a 64-bit address space");
