//! The page heap: which pages are free, and the best fit among their runs.
//!
//! Free pages form maximal runs (I-5). The lists by length, and by the number of whole chunks
//! inside (see [`super::lists`]), find the shortest run that fits, in the lowest segment. A freed
//! run finds its free neighbours by the free bits, and by the lengths at both ends of each run
//! (boundary tags).
//!
//! **I-5.** Free runs are maximal: no two touch. The records of a free run's first and last page
//! hold its length. It is in the list of its length, and in one of the lists by chunks if it
//! contains a whole chunk. The free bits, the dirty and old bits, and the counts of free, free
//! dirty and old pages say the same. The pages of chunk 0 are never free.

use super::lists::Lists;
use super::tables::Tables;
use crate::base::units::{CHUNK_PAGES, PageIndex, Pages, Run};
#[cfg(any(test, feature = "check"))]
use crate::base::units::{SEGMENT_PAGES, to_usize};

/// The free runs. Every method takes the tables of the arena that the runs are in.
#[derive(Debug)]
pub(crate) struct PageHeap {
    lists: Lists,
    /// All pages that [`PageHeap::add`] added.
    committed: u64,
    free: u64,
    dirty: u64,
    /// Free dirty pages that are old.
    old: u64,
    /// Pages that are off the free map while they are purged.
    withdrawn: u64,
    refaulted: u64,
}

/// Where a wanted run may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// Anywhere.
    Any,
    /// On whole chunks. The number of pages is a multiple of a chunk's.
    Chunks,
    /// At an aligned address.
    Aligned(Alignment),
}

/// An alignment of addresses, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alignment {
    /// The alignment in pages, a power of two.
    pub(crate) pages: Pages,
    /// How many pages page 0 lies above a multiple of the alignment. The arena is aligned to a
    /// segment, so this is 0 unless the alignment exceeds a segment's.
    pub(crate) phase: Pages,
}

impl Alignment {
    /// Returns the first page at or after `page` whose address is aligned.
    fn round_up(self, page: PageIndex) -> PageIndex {
        (page + self.phase).align_up(self.pages) - self.phase
    }
}

/// Returns the number of whole chunks in a run.
fn whole_chunks(run: Run) -> u32 {
    let first = run.start.get().div_ceil(CHUNK_PAGES);
    let end = run.end().get() / CHUNK_PAGES;
    end.saturating_sub(first)
}

/// Returns the free run that starts at `start`.
fn free_run_at(tables: &Tables, start: PageIndex) -> Run {
    Run::new(start, tables.record(start).pages())
}

impl PageHeap {
    pub(crate) const fn new() -> PageHeap {
        PageHeap {
            lists: Lists::new(),
            committed: 0,
            free: 0,
            dirty: 0,
            old: 0,
            withdrawn: 0,
            refaulted: 0,
        }
    }

    /// Returns the number of all pages, free or not.
    pub(crate) fn committed_pages(&self) -> u64 {
        self.committed
    }

    /// Returns the number of pages that are neither free nor being purged.
    pub(crate) fn used_pages(&self) -> u64 {
        self.committed - self.free - self.withdrawn
    }

    /// Returns the number of free pages, without those that are being purged.
    pub(crate) fn free_pages(&self) -> u64 {
        self.free
    }

    /// Returns the number of pages that are being purged.
    pub(crate) fn withdrawn_pages(&self) -> u64 {
        self.withdrawn
    }

    /// Returns the number of free pages that may hold memory.
    pub(crate) fn dirty_pages(&self) -> u64 {
        self.dirty
    }

    /// Returns the number of free dirty pages that are old.
    pub(crate) fn old_pages(&self) -> u64 {
        self.old
    }

    /// Makes every free dirty page of a segment old.
    pub(crate) fn age(&mut self, tables: &Tables, segment: usize) {
        let (before, after) = tables.age(segment);
        self.old = self.old - u64::from(before) + u64::from(after);
    }

    /// Makes the free dirty pages of a range old or young.
    #[cfg(feature = "experiments")]
    pub(crate) fn set_age(&mut self, tables: &Tables, run: Run, is_old: bool) {
        let (before, after) = tables.set_age(run, is_old);
        self.old = self.old - u64::from(before) + u64::from(after);
    }

    /// Returns how many of the pages taken so far had been purged before.
    pub(crate) fn refaulted_pages(&self) -> u64 {
        self.refaulted
    }

    fn insert(&mut self, tables: &Tables, run: Run) {
        tables.record(run.start).set_pages(run.pages);
        tables.record(run.last()).set_pages(run.pages);
        self.lists.insert(tables, run.start, run.pages.get(), whole_chunks(run));
    }

    fn remove(&mut self, tables: &Tables, run: Run) {
        self.lists.remove(tables, run.start, run.pages.get(), whole_chunks(run));
    }

    /// Takes the best fit for `pages` pages, at least 1.
    pub(crate) fn take(&mut self, tables: &Tables, pages: Pages, fit: Fit) -> Option<Run> {
        let whole = |pages: u32| Alignment { pages: Pages::new(pages), phase: Pages::ZERO };
        let (start, align) = match fit {
            Fit::Any => (self.lists.at_least(tables, pages.get())?, whole(1)),
            Fit::Chunks => {
                let chunks = pages.get() / CHUNK_PAGES;
                (self.lists.with_chunks(tables, chunks)?, whole(CHUNK_PAGES))
            }
            Fit::Aligned(align) => {
                let longest = pages.get() + align.pages.get() - 1;
                (self.lists.at_least(tables, longest)?, align)
            }
        };
        let free = free_run_at(tables, start);
        let run = Run::new(align.round_up(free.start), pages);
        self.cut(tables, free, run);
        Some(run)
    }

    /// Takes `run` out of the free run `free` that contains it.
    fn cut(&mut self, tables: &Tables, free: Run, run: Run) {
        #[cfg(all(any(test, feature = "check"), not(loom)))]
        assert!(tables.is_all_free(run), "I-3: {run:?} has an owner already");
        self.remove(tables, free);
        let before = run.start - free.start;
        if before > Pages::ZERO {
            self.insert(tables, Run::new(free.start, before));
        }
        let after = free.end() - run.end();
        if after > Pages::ZERO {
            self.insert(tables, Run::new(run.end(), after));
        }
        self.free -= u64::from(run.pages.get());
        let taken = tables.mark_taken(run);
        self.dirty -= u64::from(taken.dirty);
        self.old -= u64::from(taken.old);
        self.refaulted += u64::from(taken.purged);
        self.dirty += u64::from(tables.mark_units_dirty(run));
    }

    /// Takes the `more` pages right behind `run` if they are free, so that a block grows in place.
    pub(crate) fn extend(
        &mut self,
        tables: &Tables,
        run: Run,
        more: Pages,
        frontier: PageIndex,
    ) -> Option<Run> {
        let next = run.end();
        if next >= frontier || !tables.is_free(next) {
            return None;
        }
        let free = free_run_at(tables, next);
        if free.pages < more {
            return None;
        }
        let extension = Run::new(next, more);
        self.cut(tables, free, extension);
        Some(extension)
    }

    /// Takes a range of free pages off the free map, for a purge.
    pub(crate) fn withdraw(&mut self, tables: &Tables, run: Run) {
        let free = free_run_at(tables, tables.free_run_start(run.start));
        let refaulted = self.refaulted;
        self.cut(tables, free, run);
        // The clean pages among them are not taken by the program, so they count as no refault.
        self.refaulted = refaulted;
        self.withdrawn += u64::from(run.pages.get());
    }

    /// Puts a withdrawn range back on the free map.
    pub(crate) fn put_back(&mut self, tables: &Tables, run: Run, frontier: PageIndex) {
        self.withdrawn -= u64::from(run.pages.get());
        self.give(tables, run, Pages::ZERO, frontier);
    }

    /// Adds a run of new pages, which are clean. Until then they count as no pages of the heap.
    pub(crate) fn add(&mut self, tables: &Tables, run: Run, frontier: PageIndex) {
        self.committed += u64::from(run.pages.get());
        self.give(tables, run, Pages::ZERO, frontier);
    }

    /// Takes a run back and joins it with its free neighbours. Its first `touched` pages are dirty
    /// now; the others are as dirty as when they were taken.
    pub(crate) fn give(&mut self, tables: &Tables, run: Run, touched: Pages, frontier: PageIndex) {
        #[cfg(all(any(test, feature = "check"), not(loom)))]
        assert!(tables.is_all_taken(run), "I-3: {run:?} is free already, in part at least");
        self.free += u64::from(run.pages.get());
        self.dirty += u64::from(tables.mark_free(run, touched));
        let mut joined = run;
        // Chunk 0 is never free, so there is a page before every run.
        let before = run.start - Pages::new(1);
        if tables.is_free(before) {
            let pages = tables.record(before).pages();
            let previous = Run::new(run.start - pages, pages);
            self.remove(tables, previous);
            joined = Run::new(previous.start, pages + run.pages);
        }
        if run.end() < frontier && tables.is_free(run.end()) {
            let next = free_run_at(tables, run.end());
            self.remove(tables, next);
            joined.pages += next.pages;
        }
        self.insert(tables, joined);
    }

    /// Returns the number of free pages right below the frontier.
    pub(crate) fn tail(tables: &Tables, frontier: PageIndex, first: PageIndex) -> Pages {
        if frontier == first {
            return Pages::ZERO;
        }
        let last = frontier - Pages::new(1);
        if tables.is_free(last) { tables.record(last).pages() } else { Pages::ZERO }
    }

    /// Checks I-5 over the whole heap: free bits, boundary tags and counts agree, and no two free
    /// runs touch.
    #[cfg(any(test, feature = "check"))]
    pub(crate) fn validate(&self, tables: &Tables, first: PageIndex, frontier: PageIndex) {
        let (mut free, mut dirty, mut entries) = (0u64, 0u64, 0u64);
        let mut at = first;
        while at < frontier {
            if !tables.is_free(at) {
                at = at + Pages::new(1);
                continue;
            }
            let run = free_run_at(tables, at);
            assert!(run.pages > Pages::ZERO && run.end() <= frontier, "I-5: tag of {run:?}");
            assert_eq!(tables.record(run.last()).pages(), run.pages, "I-5: end tag of {run:?}");
            for page in run.start.get()..run.end().get() {
                assert!(tables.is_free(PageIndex::new(page)), "I-5: hole in {run:?}");
            }
            assert!(run.end() == frontier || !tables.is_free(run.end()), "I-5: {run:?} not joined");
            assert_eq!(tables.free_run_start(run.last()), run.start, "I-5: start of {run:?}");
            free += u64::from(run.pages.get());
            dirty += u64::from(tables.dirty_pages(run));
            entries += 1 + u64::from(whole_chunks(run) > 0);
            at = run.end();
        }
        tables.validate_units(frontier);
        assert_eq!(free, self.free, "I-5: free pages");
        assert_eq!(dirty, self.dirty, "I-5: dirty pages");
        let segments = to_usize(frontier.get().div_ceil(SEGMENT_PAGES));
        let old = if frontier == first { 0 } else { tables.old_pages(segments) };
        assert_eq!(old, self.old, "I-5: old pages");
        assert_eq!(entries, self.lists.count(tables), "I-5: runs and their lists");
    }
}
