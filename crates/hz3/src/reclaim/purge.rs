//! The purge: the only caller of [`Os::purge`].
//!
//! What is purged is off its free map first (a range of pages) or out of its bitmap (the holes of
//! a slab), is given to the kernel without a lock that an allocation could want, and is put back
//! as clean. So nobody can be handed a page that is being purged, and nobody waits for the system
//! call. Ranges are maximal up to a budget: a call for 2 MiB costs a seventh of what the same pages
//! cost one by one.
//!
//! One lock, which no allocation takes, is held from taking to putting back: fork waits for it, so
//! that no child inherits pages that are on their way. The system call may run a hook of another
//! library, which may allocate, and wait for a lock whose holder allocates: so a purge is not waited
//! for without end, and one below the hook of another does nothing.

use super::plan::Budget;
use crate::base::units::{ChunkIndex, PAGE_BYTES, PageIndex, Pages, Run, narrow, wide};
use crate::cache::refill::Below;
use crate::os::lock::{Guard, Lock};
use crate::os::{Os, Refused, held, rank};
use crate::segment::Segments;
use crate::segment::arena::Arena;
use crate::segment::meta::Age;

/// The lock that is held while something is on its way to the system.
pub(crate) type Purging = Lock<(), { rank::PURGING }>;

/// Milliseconds after which a purge gives up waiting for another one's range.
const PATIENCE_MS: u32 = 1000;

/// Longest range of one call: what is off the free map meanwhile.
const RANGE_PAGES: Pages = Pages::new(4096);

/// What a purge did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Purged {
    pub(crate) pages: u64,
    pub(crate) calls: u64,
    pub(crate) refused: u64,
    /// Whole segments among the pages, where ranges of many were purged.
    pub(crate) segments: u64,
}

impl Purged {
    /// Adds what another purge did.
    pub(crate) fn add(&mut self, other: Purged) {
        self.pages += other.pages;
        self.calls += other.calls;
        self.refused += other.refused;
        self.segments += other.segments;
    }

    /// Purges a run that [`Segments::take_dirty`] took, and puts it back.
    fn give_taken<O: Os>(&mut self, segments: &Segments<O>, run: Run) {
        if let Some(whole) = os_pages(segments.os(), run)
            && self.give_back(segments, whole)
        {
            segments.mark_clean(whole);
            segments.advise_units(whole);
            self.give_tables_back(segments, whole);
        }
        segments.put_back(run);
    }

    /// Gives back what the tables hold about the inside of a run, which is the caller's: it is
    /// written anew before it is read, when the run is put back and when pages of it are taken.
    fn give_tables_back<O: Os>(&mut self, segments: &Segments<O>, run: Run) {
        for part in segments.arena().tables_of(run).into_iter().flatten() {
            self.calls += 1;
            // SAFETY: I-4: zero is what these entries were at first, and I-3: nobody else has
            // pages of the run, so nobody relies on an entry.
            if unsafe { segments.os().purge(part) } == Err(Refused) {
                self.refused += 1;
            }
        }
    }

    /// Gives one run back, which is the caller's. Returns whether it holds nothing now.
    fn give_back<O: Os>(&mut self, segments: &Segments<O>, run: Run) -> bool {
        self.calls += 1;
        segments.break_units(run);
        // SAFETY: I-3: the run is off the free map or its blocks are claimed, so it belongs to
        // this call alone.
        let result = unsafe { segments.os().purge(segments.span(run)) };
        if result == Err(Refused) {
            self.refused += 1;
            return false;
        }
        self.pages += u64::from(run.pages.get());
        true
    }
}

/// Purges the free pages of an age in a range, within a budget. What still may hold memory then,
/// as the system refused it or has larger pages, is old: no queue takes it up again.
pub(crate) fn range<O: Os>(
    segments: &Segments<O>,
    purging: &Purging,
    range: Run,
    age: Age,
    budget: Budget,
) -> Purged {
    let mut done = Purged::default();
    let mut rest = range;
    while done.calls < budget.calls && done.pages < budget.pages && rest.pages > Pages::ZERO {
        let left = u32::try_from(budget.pages - done.pages).map_or(RANGE_PAGES, Pages::new);
        let Some(_purging) = begin(purging) else { break };
        let taken = segments.take_dirty(rest, left.min(RANGE_PAGES), age);
        let Some(run) = taken else { break };
        rest = Run::new(run.end(), rest.end() - run.end());
        let before = done.pages;
        done.give_taken(segments, run);
        if done.pages - before < u64::from(run.pages.get()) {
            segments.make_old(run);
        }
    }
    done
}

/// Goes over the free pages once, upwards, until at most `keep` bytes of them may hold memory. A
/// range that the system refuses stays dirty and is not tried again in this pass.
pub(crate) fn free_pages<O: Os>(
    segments: &Segments<O>,
    purging: &Purging,
    age: Age,
    keep: usize,
) -> Purged {
    let keep_pages = wide(keep / PAGE_BYTES);
    let mut done = Purged::default();
    let mut from = Arena::<O>::first_page();
    loop {
        let excess = segments.dirty_pages().saturating_sub(keep_pages);
        let limit = u32::try_from(excess).map_or(RANGE_PAGES, Pages::new).min(RANGE_PAGES);
        let Some(_purging) = begin(purging) else { break };
        if limit == Pages::ZERO {
            break;
        }
        let all = segments.committed_from(from);
        let Some(run) = segments.take_dirty(all, limit, age) else { break };
        from = run.end();
        done.give_taken(segments, run);
    }
    done
}

/// Purges the holes of the slab that starts at `chunk`, if there are any.
pub(crate) fn holes<O: Os>(below: Below<'_, O>, purging: &Purging, chunk: ChunkIndex) -> Purged {
    let mut done = Purged::default();
    let grain = grain(below.segments.os());
    let Some(_purging) = begin(purging) else { return done };
    if let Some(holes) = below.central.claim_holes(below.segments, chunk, grain) {
        let mut all = true;
        for run in holes.runs() {
            all &= done.give_back(below.segments, run);
        }
        below.central.release_holes(below.segments, holes, all);
    }
    done
}

/// The lock, unless that would take too long.
fn begin(purging: &Purging) -> Option<Guard<'_, (), { rank::PURGING }>> {
    if held::is_purging() { None } else { purging.lock_within(PATIENCE_MS) }
}

/// Pages of the arena in a page of the system.
pub(super) fn grain(os: &impl Os) -> Pages {
    Pages::new(narrow(os.page_size() / PAGE_BYTES).max(1))
}

/// The part of a run that is made of whole OS pages.
fn os_pages(os: &impl Os, run: Run) -> Option<Run> {
    let grain = grain(os);
    let start = run.start.align_up(grain);
    let end = PageIndex::new(run.end().get() / grain.get() * grain.get());
    (end > start).then(|| Run::new(start, end - start))
}
