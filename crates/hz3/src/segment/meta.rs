//! The layout of a segment's metadata: which pages are free, dirty and old, and which slabs had
//! traffic. What is done with it is in `bitmaps`.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::rows::Heads;
use crate::base::bits;
use crate::base::units::{CHUNK_PAGES, SEGMENT_PAGES};

/// Words of a segment's page bitmaps.
pub(super) const SEGMENT_WORDS: usize = bits::words_for(SEGMENT_PAGES as usize);

/// Free and dirty bits of one segment's pages.
///
/// The dirty bit of a free page means that it may hold memory; of a page in a run, that it did
/// when the run was taken. The old bit of a free dirty page means that it was so at the last
/// ageing. The three bitmaps and the counts belong to the lock of the page heap; the two words
/// about slabs are atomics of their own.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct SegmentMeta {
    pub(super) free: [AtomicU64; SEGMENT_WORDS],
    pub(super) dirty: [AtomicU64; SEGMENT_WORDS],
    pub(super) old: [AtomicU64; SEGMENT_WORDS],
    /// One bit a chunk: the slab that starts there served or took blocks since the last ageing.
    pub(super) traffic: AtomicU64,
    /// The same for the ageing before.
    pub(super) settling: AtomicU64,
    /// Pages that were purged and not taken since.
    pub(super) purged_pages: AtomicU32,
    pub(super) free_pages: AtomicU32,
    pub(super) free_dirty_pages: AtomicU32,
    /// Epochs since a page was taken or became free.
    #[cfg(feature = "experiments")]
    pub(super) untouched: AtomicU32,
    /// One bit a unit: it is advised (see `segment::advice`). Atomic by itself.
    pub(super) advised: AtomicU32,
    /// The free runs that start here, by list. Guarded like the bitmaps.
    pub(super) heads: Heads,
}

impl SegmentMeta {
    pub(super) fn free_dirty_word(&self, word: usize) -> u64 {
        self.free[word].load(Ordering::Relaxed) & self.dirty[word].load(Ordering::Relaxed)
    }

    pub(super) fn dirty_bits(&self, word: usize) -> u64 {
        self.dirty[word].load(Ordering::Relaxed)
    }
}

/// Which free dirty pages are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// All of them.
    Any,
    /// Those that were free and dirty at the last ageing already.
    Old,
    /// The others.
    #[cfg(feature = "experiments")]
    Young,
}

/// What was known of pages that became part of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// How many may hold memory.
    pub(crate) dirty: u32,
    /// How many of the others held memory before they were purged.
    pub(crate) purged: u32,
}

const _: () = {
    assert!(size_of::<SegmentMeta>() == 640);
    assert!(SEGMENT_PAGES / CHUNK_PAGES == u64::BITS);
};
