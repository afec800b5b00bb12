//! The purge: the only caller of [`Os::purge`].
//!
//! A range is taken off the free map first, then given to the kernel without any lock held, then
//! put back as clean. So nobody can be handed a page that is being purged, and nobody waits for
//! the system call. Ranges are maximal up to a budget: one call for 2 MiB costs a seventh of what
//! the same pages cost one by one.

use crate::base::units::{PAGE_BYTES, PageIndex, Pages, Run, narrow};
use crate::os::{Os, Refused};
use crate::segment::Segments;
use crate::segment::arena::Arena;

/// Longest range of one call: what is off the free map meanwhile.
const RANGE_PAGES: Pages = Pages::new(4096);

/// What a purge did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purged {
    pub(crate) pages: Pages,
    pub(crate) calls: u64,
    pub(crate) refused: u64,
}

/// Goes over the arena once, upwards, until at most `keep` bytes of free pages may hold memory.
/// A range that the system refuses stays dirty and is not tried again in this pass.
pub(crate) fn purge<O: Os>(segments: &Segments<O>, keep: usize) -> Purged {
    let keep_pages = crate::base::units::wide(keep / PAGE_BYTES);
    let mut done = Purged { pages: Pages::ZERO, calls: 0, refused: 0 };
    let mut from = Arena::<O>::first_page();
    loop {
        let excess = segments.dirty_pages().saturating_sub(keep_pages);
        if excess == 0 {
            return done;
        }
        let limit = u32::try_from(excess).map_or(RANGE_PAGES, Pages::new).min(RANGE_PAGES);
        let Some(run) = segments.take_dirty(from, limit) else { return done };
        from = run.end();
        if let Some(whole) = os_pages(segments.os(), run) {
            done.calls += 1;
            // SAFETY: I-3: the run is off the free map, so it belongs to this call alone.
            match unsafe { segments.os().purge(segments.span(whole)) } {
                Ok(()) => {
                    segments.mark_clean(whole);
                    done.pages += whole.pages;
                }
                Err(Refused) => done.refused += 1,
            }
        }
        segments.give(run, Pages::ZERO);
    }
}

/// The part of a run that is made of whole OS pages.
fn os_pages(os: &impl Os, run: Run) -> Option<Run> {
    let grain = Pages::new(narrow(os.page_size() / PAGE_BYTES).max(1));
    let start = run.start.align_up(grain);
    let end = PageIndex::new(run.end().get() / grain.get() * grain.get());
    (end > start).then(|| Run::new(start, end - start))
}
