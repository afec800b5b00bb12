//! The purge: the only caller of [`Os::purge`] for memory that reclaim found.
//!
//! Free pages leave their free map first, and the blocks of holes leave their bitmap. Then the
//! kernel takes the memory back while no lock is held that an allocation could need, and the pages
//! return as clean. So no thread gets a page that is being purged, and none waits for the system
//! call. Ranges are maximal up to a budget, because a call for 2 MiB costs a seventh of purging its
//! pages one by one.
//!
//! The purger's lock, which no allocation takes, is held from taking to putting back. A fork waits
//! for it, so that no child inherits pages that are off their map. The system call may run a hook
//! of another library, which may allocate and wait for a lock whose holder allocates. So a purge
//! waits for another one with a timeout, and a purge inside such a hook does nothing.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::base::units::{ChunkIndex, PAGE_BYTES, PageIndex, Pages, Run, to_u32, to_u64};
use crate::cache::below::Below;
use crate::central::holes::{Holes, Replaced};
use crate::os::lock::{Guard, Lock};
use crate::os::{Os, Refused, held, rank};
use crate::segment::Segments;
use crate::segment::arena::Arena;
use crate::segment::meta::Age;
use crate::stats::Stats;

/// Milliseconds after which a purge gives up waiting for another one.
const LOCK_TIMEOUT_MS: u32 = 1000;

/// The longest range of one call, which is off the free map during the call.
pub(super) const RANGE_PAGES: Pages = Pages::new(4096);

/// The lock of the purges, and their counters.
#[derive(Debug)]
pub(crate) struct Purger {
    /// Held while pages are off their map for a purge.
    lock: Lock<(), { rank::PURGING }>,
    pages: AtomicU64,
    /// Those of `pages` that were holes of part-used slabs.
    hole_pages: AtomicU64,
    calls: AtomicU64,
    refused: AtomicU64,
}

/// The result of a purge.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Purged {
    pub(crate) pages: u64,
    pub(crate) calls: u64,
    pub(crate) refused: u64,
    /// Whole segments among the pages, if ranges of many segments were purged.
    pub(crate) segments: u64,
}

impl Purged {
    /// Adds the result of another purge.
    pub(crate) fn add(&mut self, other: Purged) {
        self.pages += other.pages;
        self.calls += other.calls;
        self.refused += other.refused;
        self.segments += other.segments;
    }

    /// Purges a run that [`Segments::withdraw_dirty`] withdrew, and puts it back.
    pub(super) fn purge_run<O: Os>(&mut self, segments: &Segments<O>, run: Run) {
        if let Some(whole) = whole_system_pages(segments.os(), run)
            && self.purge_pages(segments, whole)
        {
            segments.mark_clean(whole);
            segments.advise_units(whole);
            self.purge_tables(segments, whole);
        }
        segments.put_back(run);
    }

    /// Purges the table entries of pages inside a run that belongs to the caller. They are
    /// written before they are read: when the run is put back, and when its pages are taken.
    fn purge_tables<O: Os>(&mut self, segments: &Segments<O>, run: Run) {
        for part in segments.arena().tables_of(run).into_iter().flatten() {
            self.calls += 1;
            // SAFETY: I-4: zero is what these entries were at first, and I-3: no other thread has
            // pages of the run, so none relies on an entry.
            if unsafe { segments.os().purge(part) } == Err(Refused) {
                self.refused += 1;
            }
        }
    }

    /// Purges the pages of claimed holes, and releases the holes. Returns whether the pages
    /// hold no memory now.
    fn purge_holes<O: Os>(&mut self, below: Below<'_, O>, holes: Holes) -> bool {
        let mut all_purged = true;
        for run in holes.runs() {
            all_purged &= self.purge_pages(below.segments, run);
        }
        below.central.release_holes(below.segments, holes, all_purged);
        all_purged
    }

    /// Purges pages that belong to the caller. Returns whether they hold no memory now.
    fn purge_pages<O: Os>(&mut self, segments: &Segments<O>, run: Run) -> bool {
        self.calls += 1;
        segments.split_units(run);
        // SAFETY: I-3: the run is off the free map or its blocks are claimed, so it belongs to this
        // call alone.
        let result = unsafe { segments.os().purge(segments.span(run)) };
        if result == Err(Refused) {
            self.refused += 1;
            return false;
        }
        self.pages += u64::from(run.pages.get());
        true
    }
}

impl Purger {
    pub(crate) const fn new() -> Purger {
        Purger {
            lock: Lock::new(()),
            pages: AtomicU64::new(0),
            hole_pages: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Purges free pages in address order until at most `keep` bytes of them may hold memory. A
    /// range that the system refuses stays dirty and is not tried again in this pass.
    pub(crate) fn purge_free_pages<O: Os>(
        &self,
        segments: &Segments<O>,
        age: Age,
        keep: usize,
    ) -> Purged {
        let keep_pages = to_u64(keep / PAGE_BYTES);
        let mut done = Purged::default();
        let mut from = Arena::<O>::first_page();
        loop {
            let excess = segments.dirty_pages().saturating_sub(keep_pages);
            let limit = u32::try_from(excess).map_or(RANGE_PAGES, Pages::new).min(RANGE_PAGES);
            let Some(_purging) = self.begin() else { break };
            if limit == Pages::ZERO {
                break;
            }
            let all = segments.committed_from(from);
            let Some(run) = segments.withdraw_dirty(all, limit, age) else { break };
            from = run.end();
            done.purge_run(segments, run);
        }
        self.count(done);
        done
    }

    /// Purges the holes of the slab that starts at `chunk`, if at least one page in `one_in` is in
    /// a hole; `None`: whatever part of it they are.
    pub(crate) fn purge_holes_of_slab<O: Os>(
        &self,
        below: Below<'_, O>,
        chunk: ChunkIndex,
        one_in: Option<u32>,
    ) -> Purged {
        let mut done = Purged::default();
        let system_page = system_page(below.segments.os());
        let Some(_purging) = self.begin() else { return done };
        if let Some(holes) = below.central.claim_holes(below.segments, chunk, system_page, one_in) {
            done.purge_holes(below, holes);
        }
        self.count_holes(done);
        done
    }

    /// Purges the holes of all slabs of a segment. Looks only at slabs that may have got one since
    /// this last purged them.
    pub(crate) fn purge_holes_of_segment<O: Os>(
        &self,
        below: Below<'_, O>,
        segment: usize,
    ) -> Purged {
        let mut done = Purged::default();
        let (central, segments) = (below.central, below.segments);
        let system_page = system_page(segments.os());
        for chunk in segments.slabs_with_holes(segment) {
            let Some(_purging) = self.begin() else { break };
            segments.forget_holes(chunk);
            let is_done = match central.claim_all_holes(segments, chunk, system_page) {
                Ok(holes) => holes.is_none_or(|holes| done.purge_holes(below, holes)),
                Err(Replaced) => false,
            };
            if !is_done {
                segments.tables().note_holes_always(chunk);
            }
        }
        self.count_holes(done);
        done
    }

    fn count_holes(&self, purged: Purged) {
        self.hole_pages.fetch_add(purged.pages, Ordering::Relaxed);
        self.count(purged);
    }

    /// Takes the lock; `None` after a timeout, or if this thread holds it already.
    pub(super) fn begin(&self) -> Option<Guard<'_, (), { rank::PURGING }>> {
        if held::is_purging() { None } else { self.lock.lock_within(LOCK_TIMEOUT_MS) }
    }

    pub(super) fn count(&self, purged: Purged) {
        self.pages.fetch_add(purged.pages, Ordering::Relaxed);
        self.calls.fetch_add(purged.calls, Ordering::Relaxed);
        self.refused.fetch_add(purged.refused, Ordering::Relaxed);
    }

    pub(super) fn report(&self, stats: &mut Stats) {
        let page = to_u64(PAGE_BYTES);
        stats.madvise_calls = self.calls.load(Ordering::Relaxed);
        stats.madvise_refused = self.refused.load(Ordering::Relaxed);
        stats.purged_bytes = self.pages.load(Ordering::Relaxed) * page;
        stats.hole_bytes = self.hole_pages.load(Ordering::Relaxed) * page;
    }

    /// Waits until no page is off its map for a purge, and prevents further purges, for fork.
    pub(super) fn acquire(&self) {
        // A thread that forks in a signal handler, or in the purge's hook, may itself be purging.
        if !held::is_purging() {
            self.lock.acquire();
        }
    }

    /// Releases the lock that [`Purger::acquire`] took, perhaps in the forked child.
    pub(super) fn release(&self) {
        if !held::is_purging() {
            self.lock.release();
        }
    }
}

/// Returns the length of a system page, in pages of the arena.
pub(crate) fn system_page(os: &impl Os) -> Pages {
    Pages::new(to_u32(os.page_size() / PAGE_BYTES).max(1))
}

/// Returns the part of a run that consists of whole system pages.
fn whole_system_pages(os: &impl Os, run: Run) -> Option<Run> {
    let system_page = system_page(os);
    let start = run.start.align_up(system_page);
    let end = PageIndex::new(run.end().get() / system_page.get() * system_page.get());
    (end > start).then(|| Run::new(start, end - start))
}

#[cfg(test)]
mod tests {
    use super::{PageIndex, Pages, Purger, Run, to_u64, whole_system_pages};
    use crate::base::units::{PAGE_BYTES, SEGMENT_BYTES, SEGMENT_PAGES};
    use crate::cache::fixture::Fixture;
    use crate::options::Config;
    use crate::os::fake::Fake;
    use crate::segment::meta::Age;

    #[test]
    fn only_whole_pages_of_the_system_are_purged() {
        let os = Fake::new(4 * PAGE_BYTES, 1, 1 << 30);
        let whole = |start, pages| {
            let run = Run::new(PageIndex::new(start), Pages::new(pages));
            whole_system_pages(&os, run).map(|whole| (whole.start.get(), whole.pages.get()))
        };
        assert_eq!(whole(8, 8), Some((8, 8)));
        assert_eq!(whole(5, 10), Some((8, 4)));
        assert_eq!(whole(9, 6), None, "parts of two pages of the system");
    }

    #[test]
    fn a_purge_inside_another_one_does_nothing() {
        let fixture = Fixture::new(&Config::new());
        fixture.dirty_segments(1);
        let purger = Purger::new();
        let outer = purger.begin().expect("no other purge runs");
        assert_eq!(purger.purge_free_pages(&fixture.segments, Age::Any, 0).calls, 0);
        drop(outer);
        let purged = purger.purge_free_pages(&fixture.segments, Age::Any, 0);
        assert_eq!((purged.pages, fixture.dirty()), (SEGMENT_PAGES.into(), 0));
    }

    #[test]
    fn pages_to_keep_are_those_at_the_highest_addresses() {
        let fixture = Fixture::new(&Config::new());
        fixture.dirty_segments(2);
        let dirty = || {
            let all = fixture.segments.committed_from(PageIndex::new(0));
            let limit = Pages::new(2 * SEGMENT_PAGES);
            let run = fixture.segments.withdraw_dirty(all, limit, Age::Any).expect("dirty pages");
            fixture.segments.put_back(run);
            run
        };
        let before = dirty();
        let purged = Purger::new().purge_free_pages(&fixture.segments, Age::Any, SEGMENT_BYTES);
        assert_eq!(purged.pages, to_u64(SEGMENT_BYTES / PAGE_BYTES));
        let after = dirty();
        assert_eq!((after.end(), after.pages.get()), (before.end(), SEGMENT_PAGES));
    }
}
