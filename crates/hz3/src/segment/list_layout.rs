//! The layout of the lists of free runs: how many lists there are, and the bits that mark the
//! non-empty ones. The operations on them are in `lists`.

use core::sync::atomic::{AtomicU16, AtomicU64};

use crate::base::size_class::MAX_SLAB_CHUNKS;

/// Runs of up to this many pages have one list for each length: log2.
pub(super) const EXACT_SHIFT: u32 = 5;
pub(super) const EXACT: u32 = 1 << EXACT_SHIFT;
/// Lists for each doubling of the length beyond that: log2.
pub(super) const STEPS_SHIFT: u32 = 3;
/// Runs of at least this many pages share one list: log2. Few requests are longer.
pub(super) const LONGEST_SHIFT: u32 = 13;
pub(super) const LENGTH_LISTS: usize =
    (EXACT + ((LONGEST_SHIFT - EXACT_SHIFT) << STEPS_SHIFT)) as usize + 1;
/// One list for each number of chunks that a slab may have, and one for all longer runs.
pub(super) const CHUNK_LISTS: usize = MAX_SLAB_CHUNKS as usize + 1;
/// Number of all lists, by length and by chunks.
pub(super) const LISTS: usize = LENGTH_LISTS + CHUNK_LISTS;
/// Bits of a word: segments of a region, and regions of a word of the top level.
pub(super) const WORD: usize = u64::BITS as usize;
/// Entries of the top level, whose bits mark the regions with runs: enough for 2^18 segments, 1
/// TiB.
pub(super) const TOP_WORDS: usize = 64;

/// One word of bits for each list.
pub(super) type ListBits = [AtomicU64; LISTS];
/// The first run of each list in one segment: the offset of its page in the segment plus one, or 0.
pub(super) type Heads = [AtomicU16; LISTS];

/// Returns how many entries of list bits `segments` segments need.
pub(super) const fn list_bits_for(segments: usize) -> usize {
    TOP_WORDS + segments.div_ceil(WORD)
}
