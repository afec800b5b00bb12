//! Large blocks: runs of pages handed out whole.
//!
//! A block is its run: the record of its first page holds the length. A freed run is joined with
//! its neighbours and serves the next request without a system call. To make a long block zero of
//! which the system has little, its memory is given back.

use core::ptr::NonNull;

use super::Segments;
use super::arena::{Arena, PAGE_COST};
use super::pages::{Alignment, Fit, PageHeap};
use crate::base::units::{PAGE_BYTES, PageIndex, Pages, Run, SEGMENT_PAGES, to_u64, to_usize};
use crate::os::{Os, Refused, Span};

/// A block of at least this length, 256 KiB, that outgrows its place leaves the arena by its page
/// tables and grows as a mapping of its own. Shorter ones are copied and keep the arena's fast reuse.
const MOVE_OUT_PAGES: Pages = Pages::new(64);

/// The longest block for which the arena grows: 32 MiB. Longer ones are mappings of their own as
/// long as the system has any, which cost nothing for what is not touched; the tables of a run cost
/// 40 us a GiB.
pub(super) const LONGEST_RUN: Pages = Pages::new(8 * SEGMENT_PAGES);
/// From this many pages on, 1 MiB, the system is asked how much of a block that must read as zero is
/// there before all of it is written.
const ASK_TO_ZERO: u32 = 256;

/// What is wrong with an address that should be the start of a large block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotABlock {
    /// No block starts there: an address inside of a block, or of a freed one.
    NoBlockStart,
}

/// A fresh block and whether its pages read as zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LargeBlock {
    pub(crate) start: NonNull<u8>,
    run: Run,
}

impl<O: Os> Segments<O> {
    /// A block of `bytes` (at least 1) at a multiple of `align`, a power of two.
    pub(crate) fn allocate_large(&self, bytes: usize, align: usize) -> Option<LargeBlock> {
        if bytes.max(align) > LONGEST_RUN.bytes() {
            return None;
        }
        let (pages, fit) = self.fit(bytes, align)?;
        let run = self.take(pages, fit)?;
        Some(self.enter_large(run))
    }

    /// As [`Segments::allocate_large`], of any length, from free pages. They count towards a limit on
    /// address space, so there may be no mapping for a long block while the arena has room for it.
    pub(crate) fn allocate_long(&self, bytes: usize, align: usize) -> Option<LargeBlock> {
        if bytes.checked_add(align)? > self.arena.bytes() {
            return None;
        }
        let (pages, fit) = self.fit(bytes, align)?;
        let run = self.take_free(&mut self.pages.lock(), pages, fit)?;
        Some(self.enter_large(run))
    }

    /// The pages of a block, and how they must lie.
    fn fit(&self, bytes: usize, align: usize) -> Option<(Pages, Fit)> {
        let phase = self.arena.base().addr().get() & (align - 1);
        let pages = Pages::containing(align)?;
        let align = Alignment { pages, phase: Pages::containing(phase)? };
        let fit = if pages.get() > 1 { Fit::Aligned(align) } else { Fit::Any };
        Some((Pages::containing(bytes)?, fit))
    }

    /// Makes a run of the caller's a block.
    pub(crate) fn enter_large(&self, run: Run) -> LargeBlock {
        let record = self.tables().record(run.start);
        record.set_pages(run.pages);
        record.set_large(true);
        LargeBlock { start: self.arena.page_address(run.start), run }
    }

    /// Makes the first `bytes` of a block read as zero whose run served as another block before.
    pub(crate) fn zero_used(&self, block: LargeBlock, bytes: usize) {
        if block.run.pages.get() >= ASK_TO_ZERO && self.drop_untouched(block.run) {
            return;
        }
        // SAFETY: I-3: the run is the caller's alone, and the block holds that many bytes.
        unsafe { block.start.write_bytes(0, bytes) };
    }

    /// Makes a fresh block read as zero; only pages that were dirty are written.
    pub(crate) fn zero_large(&self, block: LargeBlock) {
        let dirty = self.tables().dirty_pages(block.run);
        if dirty >= ASK_TO_ZERO && self.drop_untouched(block.run) {
            return;
        }
        let mut from = block.run.start;
        while let Some(dirty) = self.tables().next_dirty_range(block.run, from) {
            let span = self.arena.span(dirty);
            // SAFETY: I-3: the run was just taken and is the caller's alone, so its committed
            // pages may be written.
            unsafe { span.start.write_bytes(0, span.bytes) };
            from = dirty.end();
            if from == block.run.end() {
                break;
            }
        }
    }

    /// Gives the memory of a run of the caller's back. Returns whether it reads as zero now; if not,
    /// its contents are undefined.
    fn drop_contents(&self, run: Run) -> bool {
        let span = self.arena.span(run);
        if !(span.start.addr().get() | span.bytes).is_multiple_of(self.os().page_size()) {
            return false;
        }
        self.break_units(run);
        // SAFETY: I-3: the run is the caller's alone.
        if unsafe { self.os().purge(span) } == Err(Refused) {
            return false;
        }
        self.account.note_dropped(to_u64(span.bytes));
        let _pages = self.pages.lock();
        self.tables().forget_dirt(run);
        true
    }

    /// Gives the memory of a run of the caller's back if the system has little of it: then that costs
    /// less than to write it all, or to keep it. Returns whether it reads as zero now; if not, the
    /// contents of its dirty pages are undefined.
    fn drop_untouched(&self, run: Run) -> bool {
        // A page that is touched again is a fault, which costs what writing four pages costs.
        self.os().resident_bytes(self.arena.span(run)) < run.pages.bytes() / 4
            && self.drop_contents(run)
    }

    /// The run of the block that starts at `offset` of the arena.
    pub(crate) fn large_at(&self, offset: usize) -> Result<Run, NotABlock> {
        let page = PageIndex::of_offset(offset);
        let record = self.tables().record(page);
        if page.offset() != offset || !record.is_large() {
            return Err(NotABlock::NoBlockStart);
        }
        Ok(Run::new(page, record.pages()))
    }

    /// Ends the block that starts at `offset` of the arena. Its run is the caller's.
    pub(crate) fn claim_large(&self, offset: usize) -> Result<Run, NotABlock> {
        let run = self.large_at(offset)?;
        let claimed = self.tables().record(run.start).claim_large();
        claimed.then_some(run).ok_or(NotABlock::NoBlockStart)
    }

    /// Changes the length of a block to `bytes`, in place or by moving it. `None` when there is
    /// no memory; the block is then what it was.
    pub(crate) fn resize_large(&self, run: Run, bytes: usize) -> Option<NonNull<u8>> {
        let pages = Pages::containing(bytes)?;
        if pages <= run.pages {
            self.shrink(run, pages);
            return Some(self.arena.page_address(run.start));
        }
        if pages <= LONGEST_RUN && self.extend(run, pages - run.pages) {
            return Some(self.arena.page_address(run.start));
        }
        self.move_larger(run, bytes)
    }

    /// Gives the pages behind the first `pages` back.
    fn shrink(&self, run: Run, pages: Pages) {
        if pages < run.pages {
            self.tables().record(run.start).set_pages(pages);
            let rest = Run::new(run.start + pages, run.pages - pages);
            self.give(rest, rest.pages);
        }
    }

    /// Takes the pages behind the run: free ones, or new ones when the run ends the arena.
    fn extend(&self, run: Run, more: Pages) -> bool {
        if !self.extend_into_free(run, more) {
            // What is refused anyway must not move the frontier.
            if !self.admits_more(to_usize(more.get()) * PAGE_COST) {
                return false;
            }
            let mut growth = self.growth.lock();
            let frontier = self.arena.frontier();
            let tail = PageHeap::tail(self.tables(), frontier, Arena::<O>::first_page());
            if run.end() + tail != frontier {
                return false;
            }
            let missing = Pages::new(more.get().saturating_sub(tail.get()).max(1));
            let Some(new) = self.grow(&mut growth, missing) else { return false };
            self.give(new, Pages::ZERO);
            drop(growth);
            if !self.extend_into_free(run, more) {
                return false;
            }
        }
        self.tables().record(run.start).set_pages(run.pages + more);
        true
    }

    fn extend_into_free(&self, run: Run, more: Pages) -> bool {
        let frontier = self.arena.frontier();
        let mut heap = self.pages.lock();
        let extension = heap.extend(self.tables(), run, more, frontier);
        extension.is_some_and(|extension| self.admit(&mut heap, extension))
    }

    fn move_larger(&self, run: Run, bytes: usize) -> Option<NonNull<u8>> {
        if run.pages >= MOVE_OUT_PAGES
            && let Some(moved) = self.move_out(run, bytes)
        {
            return Some(moved);
        }
        let block = self.allocate_large(bytes, PAGE_BYTES)?;
        let from = self.arena.span(run);
        // SAFETY: I-3: both runs belong to this call: the old block is the caller's, the new one
        // was just taken and is longer; taken runs do not overlap.
        unsafe { block.start.copy_from_nonoverlapping(from.start, from.bytes) };
        self.tables().record(run.start).set_large(false);
        self.give(run, run.pages);
        Some(block.start)
    }

    /// Turns a block of the arena into a longer one outside of it, moving page tables only.
    fn move_out(&self, run: Run, bytes: usize) -> Option<NonNull<u8>> {
        if !self.admits_more(bytes.saturating_sub(run.pages.bytes())) {
            return None;
        }
        let from = self.arena.span(run);
        let os_page = self.os().page_size();
        if !(from.start.addr().get() | from.bytes).is_multiple_of(os_page) {
            return None;
        }
        // SAFETY: I-3: the run is the caller's block, which nobody else uses during realloc.
        let start = unsafe { self.os().move_out(from) }?;
        let moved = Span { start, bytes: from.bytes };
        let Some(block) = self.adopt_huge(moved, bytes) else {
            // SAFETY: the memory lies at `start` now; both ranges hold `from.bytes` bytes.
            unsafe { from.start.copy_from_nonoverlapping(start, from.bytes) };
            // SAFETY: the mapping was just made and nobody knows of it.
            unsafe { self.os().unmap(moved) };
            return None;
        };
        self.tables().record(run.start).set_large(false);
        // Only now: mremap moves no range whose parts have different advice.
        self.break_units(run);
        self.mark_clean(run);
        self.give(run, Pages::ZERO);
        Some(block)
    }

    /// The bytes of a run of the arena.
    pub(crate) fn span(&self, run: Run) -> Span {
        self.arena.span(run)
    }
}
