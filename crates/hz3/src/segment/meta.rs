//! The layout of a segment's metadata: its page bitmaps (free, dirty, old) and the traffic of its
//! slabs. The operations on them are in `bitmaps`.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::list_layout::Heads;
use crate::base::bits;
use crate::base::units::{CHUNK_PAGES, SEGMENT_PAGES};

/// 64-bit words of each page bitmap of a segment.
pub(super) const SEGMENT_WORDS: usize = bits::words_for(SEGMENT_PAGES as usize);

/// The metadata of one segment.
///
/// The dirty bit of a free page means that it may hold memory. The dirty bit of a page in a run
/// means that it did when the run was taken. The old bit of a free dirty page means that it was
/// already free and dirty at the last ageing.
///
/// The lock of the page heap guards the three bitmaps and the counts. The three words about slabs
/// are atomics of their own.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct SegmentMeta {
    pub(super) free: [AtomicU64; SEGMENT_WORDS],
    pub(super) dirty: [AtomicU64; SEGMENT_WORDS],
    pub(super) old: [AtomicU64; SEGMENT_WORDS],
    /// One bit for each chunk: the slab that starts there handed out or took back blocks since the
    /// last ageing.
    pub(super) traffic: AtomicU64,
    /// The same between the last two ageings.
    pub(super) previous_traffic: AtomicU64,
    /// One bit for each chunk: the slab that starts there may have holes. It has none if the bit is
    /// clear, except that a purge may just be looking at it.
    pub(super) may_have_holes: AtomicU64,
    /// Pages that were purged and have not been taken since.
    pub(super) purged_pages: AtomicU32,
    pub(super) free_pages: AtomicU32,
    pub(super) free_dirty_pages: AtomicU32,
    /// Epochs since a page of the segment was last taken or freed.
    #[cfg(feature = "experiments")]
    pub(super) untouched: AtomicU32,
    /// One bit for each unit: huge pages were requested (see `segment::advice`). Needs no lock.
    pub(super) advised: AtomicU32,
    /// The first free run of this segment in each list. Guarded like the bitmaps.
    pub(super) heads: Heads,
}

impl SegmentMeta {
    pub(super) fn free_dirty_word(&self, word: usize) -> u64 {
        self.free[word].load(Ordering::Relaxed) & self.dirty[word].load(Ordering::Relaxed)
    }

    /// Returns how many free dirty pages are old.
    pub(super) fn old_pages(&self) -> u32 {
        let old = |(word, old): (usize, &AtomicU64)| {
            (self.free_dirty_word(word) & old.load(Ordering::Relaxed)).count_ones()
        };
        self.old.iter().enumerate().map(old).sum()
    }

    pub(super) fn dirty_bits(&self, word: usize) -> u64 {
        self.dirty[word].load(Ordering::Relaxed)
    }
}

/// Selects free dirty pages by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    Any,
    /// Pages that were already free and dirty at the last ageing.
    Old,
    /// Pages that became free or dirty after the last ageing.
    #[cfg(feature = "experiments")]
    Young,
}

/// The previous state of pages that have become part of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// How many of them may hold memory.
    pub(crate) dirty: u32,
    /// How many of those were old.
    pub(crate) old: u32,
    /// How many of the clean ones held memory before they were purged.
    pub(crate) purged: u32,
}

const _: () = {
    assert!(size_of::<SegmentMeta>() == 640);
    assert!(SEGMENT_PAGES / CHUNK_PAGES == u64::BITS);
};
