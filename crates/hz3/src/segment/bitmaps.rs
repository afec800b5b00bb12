//! The operations on the segments' page bitmaps: pages become free, taken, dirty, clean or old, and
//! searches find them.

#[cfg(feature = "experiments")]
mod experiments;

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::meta::{Age, SEGMENT_WORDS, SegmentMeta, Taken};
use super::tables::Tables;
use crate::base::bits;
use crate::base::units::{ChunkIndex, PageIndex, Pages, Run, SEGMENT_PAGES, to_u32, to_usize};

/// Number of chunks of a segment.
const CHUNKS: usize = 64;

/// The part of a range of pages that lies in one segment.
struct Part {
    segment: usize,
    start: u32,
    pages: u32,
}

/// Splits a range of pages at the borders of segments.
fn parts(run: Run) -> impl Iterator<Item = Part> {
    let mut at = run.start.get();
    let end = run.end().get();
    core::iter::from_fn(move || {
        if at == end {
            return None;
        }
        let start = at % SEGMENT_PAGES;
        let pages = (SEGMENT_PAGES - start).min(end - at);
        let part = Part { segment: to_usize(at / SEGMENT_PAGES), start, pages };
        at += pages;
        Some(part)
    })
}

/// Returns the chunks of a segment whose bits are set, lowest first.
fn chunks_of(segment: usize, mut bits: u64) -> impl Iterator<Item = ChunkIndex> {
    core::iter::from_fn(move || {
        let bit = bits.trailing_zeros();
        bits &= bits.wrapping_sub(1);
        (bit < u64::BITS).then(|| ChunkIndex::new(to_u32(segment) * u64::BITS + bit))
    })
}

impl Tables {
    pub(super) fn is_free(&self, page: PageIndex) -> bool {
        let segment = self.segment(to_usize(page.get() / SEGMENT_PAGES));
        bits::count(&segment.free, page.get() % SEGMENT_PAGES, 1) == 1
    }

    /// Returns whether all pages of a run are free.
    pub(super) fn is_all_free(&self, run: Run) -> bool {
        parts(run).all(|part| {
            bits::count(&self.segment(part.segment).free, part.start, part.pages) == part.pages
        })
    }

    /// Returns whether no page of a run is free.
    #[cfg(all(any(test, feature = "check"), not(loom)))]
    pub(super) fn is_all_taken(&self, run: Run) -> bool {
        parts(run)
            .all(|part| bits::count(&self.segment(part.segment).free, part.start, part.pages) == 0)
    }

    /// Returns whether a run of free pages has dirty pages of another age.
    pub(super) fn has_dirty_of_other_age(&self, run: Run, age: Age) -> bool {
        parts(run).any(|part| {
            let meta = self.segment(part.segment);
            let dirty = bits::count(&meta.dirty, part.start, part.pages);
            let old = bits::count_both(&meta.dirty, &meta.old, part.start, part.pages);
            match age {
                Age::Any => false,
                Age::Old => old < dirty,
                #[cfg(feature = "experiments")]
                Age::Young => old > 0,
            }
        })
    }

    /// Returns how many pages of a run are free, and how many of those are dirty.
    #[cfg(any(test, feature = "check"))]
    pub(super) fn free_and_dirty(&self, run: Run) -> (u32, u32) {
        parts(run).fold((0, 0), |(free, dirty), part| {
            let meta = self.segment(part.segment);
            let both = bits::count_both(&meta.free, &meta.dirty, part.start, part.pages);
            (free + bits::count(&meta.free, part.start, part.pages), dirty + both)
        })
    }

    /// Marks the free pages of a run dirty. Returns how many were not dirty before.
    pub(super) fn mark_dirty(&self, run: Run) -> u32 {
        let mut newly_dirty = 0;
        for part in parts(run) {
            let meta = self.segment(part.segment);
            let before = bits::count_both(&meta.free, &meta.dirty, part.start, part.pages);
            bits::set_where(&meta.dirty, &meta.free, part.start, part.pages);
            let after = bits::count_both(&meta.free, &meta.dirty, part.start, part.pages);
            add(&meta.free_dirty_pages, after - before);
            newly_dirty += after - before;
        }
        newly_dirty
    }

    /// Marks the pages of a run free. The first `touched` pages become dirty, and the others keep
    /// their dirty bits. Returns how many of the pages are dirty now.
    pub(super) fn mark_free(&self, run: Run, touched: Pages) -> u32 {
        self.set_dirty(Run::new(run.start, touched));
        let mut dirty = 0;
        for part in parts(run) {
            let meta = self.segment(part.segment);
            bits::set(&meta.free, part.start, part.pages);
            bits::clear(&meta.old, part.start, part.pages);
            #[cfg(feature = "experiments")]
            meta.untouched.store(0, Ordering::Relaxed);
            let part_dirty = bits::count(&meta.dirty, part.start, part.pages);
            add(&meta.free_pages, part.pages);
            add(&meta.free_dirty_pages, part_dirty);
            dirty += part_dirty;
        }
        dirty
    }

    /// Marks the pages as part of a run. Returns their previous state.
    pub(super) fn mark_taken(&self, run: Run) -> Taken {
        let mut taken = Taken { dirty: 0, old: 0, purged: 0 };
        for part in parts(run) {
            let meta = self.segment(part.segment);
            bits::clear(&meta.free, part.start, part.pages);
            #[cfg(feature = "experiments")]
            meta.untouched.store(0, Ordering::Relaxed);
            let part_dirty = bits::count(&meta.dirty, part.start, part.pages);
            sub(&meta.free_pages, part.pages);
            sub(&meta.free_dirty_pages, part_dirty);
            taken.dirty += part_dirty;
            if part_dirty > 0 {
                taken.old += bits::count_both(&meta.dirty, &meta.old, part.start, part.pages);
            }
            // A segment counts its purged pages, but does not record which of its clean pages they
            // are.
            let clean = part.pages - part_dirty;
            let purged = clean.min(meta.purged_pages.load(Ordering::Relaxed));
            sub(&meta.purged_pages, purged);
            taken.purged += purged;
        }
        taken
    }

    fn set_dirty(&self, run: Run) {
        for part in parts(run) {
            bits::set(&self.segment(part.segment).dirty, part.start, part.pages);
        }
    }

    /// Clears the dirty bits of pages that belong to a run of the caller's.
    pub(super) fn clear_dirty(&self, run: Run) {
        for part in parts(run) {
            bits::clear(&self.segment(part.segment).dirty, part.start, part.pages);
        }
    }

    /// As [`Tables::clear_dirty`], after a purge: taking the pages again counts as a refault.
    pub(super) fn set_clean(&self, run: Run) {
        self.clear_dirty(run);
        for part in parts(run) {
            add(&self.segment(part.segment).purged_pages, part.pages);
        }
    }

    /// Makes every free dirty page of a segment old. Returns how many were old before, and how many
    /// are now.
    pub(super) fn age(&self, segment: usize) -> (u32, u32) {
        let meta = self.segment(segment);
        let before = meta.old_pages();
        for (word, old) in meta.old.iter().enumerate() {
            old.store(meta.free_dirty_word(word), Ordering::Relaxed);
        }
        (before, meta.old_pages())
    }

    /// Returns how many free dirty pages of the segments below `segments` are old.
    #[cfg(any(test, feature = "check"))]
    pub(super) fn old_pages(&self, segments: usize) -> u64 {
        (0..segments).map(|segment| u64::from(self.segment(segment).old_pages())).sum()
    }

    /// Returns whether a segment has free dirty pages; a hint without the lock.
    pub(super) fn has_free_dirty(&self, segment: usize) -> bool {
        self.segment(segment).free_dirty_pages.load(Ordering::Relaxed) > 0
    }

    /// Notes that the slab that starts at `chunk` handed out or took back blocks.
    pub(crate) fn note_traffic(&self, chunk: ChunkIndex) {
        let traffic = &self.segment(chunk.index() / CHUNKS).traffic;
        let bit = 1 << (chunk.get() % u64::BITS);
        // The bit is usually set already; then this call writes nothing.
        if traffic.load(Ordering::Relaxed) & bit == 0 {
            traffic.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Notes that the slab that starts at `chunk` may have holes, because blocks came back to it.
    /// The caller holds the lock of its bin.
    pub(crate) fn note_holes(&self, chunk: ChunkIndex) {
        let (word, bit) = self.holes_bit(chunk);
        // The bit is usually set already. A purge clears it before it takes the lock of the bin, so
        // it either finds the blocks or has cleared the bit before this load.
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// As [`Tables::note_holes`], for a slab that is new in its bin, and without the lock.
    pub(crate) fn note_holes_always(&self, chunk: ChunkIndex) {
        let (word, bit) = self.holes_bit(chunk);
        // The bit may be left from an earlier slab, and a purge that clears it may not see the new
        // slab. Release pairs with the acquire in `forget_holes`: a purge that clears what this
        // writes sees it.
        word.fetch_or(bit, Ordering::Release);
    }

    /// Takes the note on the slab at `chunk` back, before its holes are purged.
    pub(super) fn forget_holes(&self, chunk: ChunkIndex) {
        let (word, bit) = self.holes_bit(chunk);
        // Acquire pairs with the release in `note_holes_always`.
        word.fetch_and(!bit, Ordering::Acquire);
    }

    /// Returns the chunks of a segment at which slabs start that may have holes.
    pub(super) fn slabs_with_holes(
        &self,
        segment: usize,
    ) -> impl Iterator<Item = ChunkIndex> + use<> {
        chunks_of(segment, self.segment(segment).may_have_holes.load(Ordering::Relaxed))
    }

    fn holes_bit(&self, chunk: ChunkIndex) -> (&AtomicU64, u64) {
        let word = &self.segment(chunk.index() / CHUNKS).may_have_holes;
        (word, 1 << (chunk.get() % u64::BITS))
    }

    /// Ages the slabs of a segment. Returns the chunks of the slabs that have become quiet: they
    /// had traffic before the last ageing and none since.
    pub(super) fn age_slabs(&self, segment: usize) -> impl Iterator<Item = ChunkIndex> + use<> {
        let meta = self.segment(segment);
        let mut quiet = 0;
        if meta.traffic.load(Ordering::Relaxed) | meta.previous_traffic.load(Ordering::Relaxed) != 0
        {
            let traffic = meta.traffic.swap(0, Ordering::Relaxed);
            quiet = meta.previous_traffic.load(Ordering::Relaxed) & !traffic;
            meta.previous_traffic.store(traffic, Ordering::Relaxed);
        }
        chunks_of(segment, quiet)
    }

    /// Returns whether slabs of a segment had traffic and are not quiet yet.
    pub(super) fn has_ageing_slabs(&self, segment: usize) -> bool {
        let meta = self.segment(segment);
        meta.traffic.load(Ordering::Relaxed) | meta.previous_traffic.load(Ordering::Relaxed) != 0
    }

    /// Returns how many pages of the run are dirty.
    pub(super) fn dirty_pages(&self, run: Run) -> u32 {
        parts(run)
            .map(|part| bits::count(&self.segment(part.segment).dirty, part.start, part.pages))
            .sum()
    }

    /// Returns the first maximal range of dirty pages of `run` at or after `from`.
    pub(super) fn next_dirty_range(&self, run: Run, from: PageIndex) -> Option<Run> {
        let end = run.end().get();
        let start = self.scan(from.get(), end, SegmentMeta::dirty_bits)?;
        let stop = self.scan(start, end, |meta, word| !meta.dirty_bits(word)).unwrap_or(end);
        Some(Run::new(PageIndex::new(start), Pages::new(stop - start)))
    }

    /// Returns the first maximal range of free dirty pages of an age in `from..end`, at most
    /// `limit` pages of it.
    pub(super) fn next_free_dirty(
        &self,
        from: PageIndex,
        end: PageIndex,
        limit: Pages,
        age: Age,
    ) -> Option<Run> {
        let wanted = |meta: &SegmentMeta, word: usize| match age {
            Age::Any => meta.free_dirty_word(word),
            Age::Old => meta.free_dirty_word(word) & meta.old[word].load(Ordering::Relaxed),
            #[cfg(feature = "experiments")]
            Age::Young => meta.free_dirty_word(word) & !meta.old[word].load(Ordering::Relaxed),
        };
        let start = self.scan(from.get(), end.get(), wanted)?;
        let last = end.get().min(start.saturating_add(limit.get()));
        let stop = self.scan(start, last, |meta, word| !wanted(meta, word)).unwrap_or(last);
        Some(Run::new(PageIndex::new(start), Pages::new(stop - start)))
    }

    /// Returns the first page of the free run that contains `page`.
    pub(super) fn free_run_start(&self, page: PageIndex) -> PageIndex {
        let mut at = page.get();
        loop {
            let meta = self.segment(to_usize(at / SEGMENT_PAGES));
            let word = (at % SEGMENT_PAGES) / bits::WORD_BITS;
            let below = at % bits::WORD_BITS;
            // Shift the bit of `at` to the top: the leading ones are the free pages up to it.
            let free = meta.free[to_usize(word)].load(Ordering::Relaxed) << (63 - below);
            let run = free.leading_ones();
            if run <= below || at < bits::WORD_BITS {
                return PageIndex::new(at + 1 - run);
            }
            at -= below + 1;
            if !self.is_free(PageIndex::new(at)) {
                return PageIndex::new(at + 1);
            }
        }
    }

    /// Returns the first page in `from..end` whose bit is set in the words that `word_of` returns.
    fn scan(
        &self,
        from: u32,
        end: u32,
        word_of: impl Fn(&SegmentMeta, usize) -> u64,
    ) -> Option<u32> {
        let mut at = from;
        while at < end {
            let segment = at / SEGMENT_PAGES;
            let meta = self.segment(to_usize(segment));
            let words = bits::word_count(SEGMENT_WORDS);
            let found = bits::next_set(at % SEGMENT_PAGES, words, |word| word_of(meta, word));
            if let Some(page) = found {
                let page = segment * SEGMENT_PAGES + page;
                return (page < end).then_some(page);
            }
            at = (segment + 1) * SEGMENT_PAGES;
        }
        None
    }
}

/// Adds to a counter that a lock protects.
fn add(counter: &AtomicU32, amount: u32) {
    counter.store(counter.load(Ordering::Relaxed) + amount, Ordering::Relaxed);
}

/// Subtracts from a counter that a lock protects.
fn sub(counter: &AtomicU32, amount: u32) {
    counter.store(counter.load(Ordering::Relaxed) - amount, Ordering::Relaxed);
}
