//! The layout of the lists of free runs: how many there are, and the words that say which have runs.
//! What is done with them is in `lists`.

use core::sync::atomic::{AtomicU16, AtomicU64};

use crate::base::size_class::MAX_SLAB_CHUNKS;

/// Lengths up to this many pages have lists of their own: log2.
pub(super) const EXACT_SHIFT: u32 = 5;
pub(super) const EXACT: u32 = 1 << EXACT_SHIFT;
/// Lists to a doubling beyond: log2.
pub(super) const STEPS_SHIFT: u32 = 3;
/// From this many pages on all runs are in one list: log2. Hardly a request is longer.
pub(super) const LONGEST_SHIFT: u32 = 13;
pub(super) const LENGTH_LISTS: usize =
    (EXACT + ((LONGEST_SHIFT - EXACT_SHIFT) << STEPS_SHIFT)) as usize + 1;
/// One for each number of chunks that a slab may have, and one for all longer runs.
pub(super) const CHUNK_LISTS: usize = MAX_SLAB_CHUNKS as usize + 1;
/// Number of lists.
pub(super) const LISTS: usize = LENGTH_LISTS + CHUNK_LISTS;
/// Segments of a region, and regions of a row: bits of a word.
pub(super) const WORD: usize = u64::BITS as usize;
/// Rows that say which regions have runs: enough for 2^18 segments, 1 TiB.
pub(super) const REGION_ROWS: usize = 64;

/// A word for each list.
pub(super) type Row = [AtomicU64; LISTS];
/// The heads of a segment's lists: offsets of pages in it plus one, 0 for none.
pub(super) type Heads = [AtomicU16; LISTS];

/// Number of rows that `segments` segments need.
pub(super) const fn rows_for(segments: usize) -> usize {
    REGION_ROWS + segments.div_ceil(WORD)
}
