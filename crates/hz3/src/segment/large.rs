//! Large blocks: runs of pages that the program gets as a whole.
//!
//! A block is its run, and the record of the run's first page holds the length. A freed run is
//! joined with its neighbours and serves the next request without a system call. If a long block
//! must read as zero and little of it is resident, hz3 gives its memory back instead of writing
//! zeros.

use core::ptr::NonNull;

use super::Segments;
use super::arena::PAGE_COST;
use super::pages::{Alignment, Fit};
use crate::base::units::{PAGE_BYTES, PageIndex, Pages, Run, SEGMENT_PAGES, to_u64, to_usize};
use crate::os::{Os, Refused, Span};

/// Blocks from this length on, 256 KiB, leave the arena if they cannot grow in place. Their page
/// tables move, and the block then grows as a mapping of its own. Shorter blocks are copied,
/// because a run of the arena is reused faster than a mapping.
const MOVE_OUT_PAGES: Pages = Pages::new(64);

/// The longest block for which the arena grows: 32 MiB. Longer blocks are mappings of their own,
/// unless the system refuses one. A mapping costs nothing for pages that are not touched; the
/// tables of a run cost 40 us a GiB.
pub(super) const LONGEST_RUN: Pages = Pages::new(8 * SEGMENT_PAGES);
/// From this many pages on, 1 MiB, hz3 asks the system how much of a block is resident before it
/// writes zeros to all of it.
const ASK_TO_ZERO: u32 = 256;

/// Why an address is not the start of a large block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotABlock {
    /// The address lies inside a block, or its block was freed.
    NoBlockStart,
}

/// A fresh block and the run of pages under it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LargeBlock {
    pub(crate) start: NonNull<u8>,
    run: Run,
}

impl<O: Os> Segments<O> {
    /// Allocates a block of `bytes` (at least 1) at a multiple of `align`, a power of two.
    pub(crate) fn allocate_large(&self, bytes: usize, align: usize) -> Option<LargeBlock> {
        if bytes.max(align) > LONGEST_RUN.bytes() {
            return None;
        }
        let (pages, fit) = self.fit(bytes, align)?;
        let run = self.take(pages, fit)?;
        Some(self.register_large(run))
    }

    /// As [`Segments::allocate_large`], of any length, but only from free pages. For a process with
    /// a limit on address space: there may be no mapping for a long block although the arena has
    /// room for it.
    pub(crate) fn allocate_long(&self, bytes: usize, align: usize) -> Option<LargeBlock> {
        if bytes.checked_add(align)? > self.arena.bytes() {
            return None;
        }
        let (pages, fit) = self.fit(bytes, align)?;
        let run = self.take_free(&mut self.pages.lock(), pages, fit)?;
        Some(self.register_large(run))
    }

    /// Returns the number of pages of a block, and where they may lie.
    fn fit(&self, bytes: usize, align: usize) -> Option<(Pages, Fit)> {
        let phase = self.arena.base().addr().get() & (align - 1);
        let pages = Pages::containing(align)?;
        let align = Alignment { pages, phase: Pages::containing(phase)? };
        let fit = if pages.get() > 1 { Fit::Aligned(align) } else { Fit::Any };
        Some((Pages::containing(bytes)?, fit))
    }

    /// Turns a run of the caller's into a block.
    pub(crate) fn register_large(&self, run: Run) -> LargeBlock {
        let record = self.tables().record(run.start);
        record.set_large_pages(run.pages);
        record.set_large(true);
        LargeBlock { start: self.arena.page_address(run.start), run }
    }

    /// Gives the run of a block back that was made for a program but not handed out.
    pub(crate) fn give_large(&self, block: LargeBlock) {
        self.tables().record(block.run.start).set_large(false);
        self.give(block.run, block.run.pages);
    }

    /// Turns a run that is the caller's since [`Segments::claim_run`] into a block again. Its
    /// record still holds the length.
    #[inline]
    pub(crate) fn register_again(&self, run: Run) -> LargeBlock {
        let record = self.tables().record(run.start);
        debug_assert_eq!(record.pages(), run.pages, "the length of a run that was a block");
        record.set_large(true);
        LargeBlock { start: self.arena.page_address(run.start), run }
    }

    /// Zeroes the first `bytes` of a block whose run served as another block before.
    pub(crate) fn zero_used(&self, block: LargeBlock, bytes: usize) {
        if block.run.pages.get() >= ASK_TO_ZERO && self.purge_if_sparse(block.run) {
            return;
        }
        // SAFETY: I-3: the run is the caller's alone, and the block holds that many bytes.
        unsafe { block.start.write_bytes(0, bytes) };
    }

    /// Zeroes a fresh block by writing only the pages that were dirty.
    pub(crate) fn zero_large(&self, block: LargeBlock) {
        let dirty = self.tables().dirty_pages(block.run);
        if dirty >= ASK_TO_ZERO && self.purge_if_sparse(block.run) {
            return;
        }
        let mut from = block.run.start;
        while let Some(dirty) = self.tables().next_dirty_range(block.run, from) {
            let span = self.arena.span(dirty);
            // SAFETY: I-3: the run was just taken and is the caller's alone, so its committed pages
            // may be written.
            unsafe { span.start.write_bytes(0, span.bytes) };
            from = dirty.end();
            if from == block.run.end() {
                break;
            }
        }
    }

    /// Gives the memory of a run of the caller's back to the system. Returns whether the run reads
    /// as zero now. If not, its contents are undefined.
    fn purge_contents(&self, run: Run) -> bool {
        let span = self.arena.span(run);
        if !(span.start.addr().get() | span.bytes).is_multiple_of(self.os().page_size()) {
            return false;
        }
        self.split_units(run);
        // SAFETY: I-3: the run is the caller's alone.
        if unsafe { self.os().purge(span) } == Err(Refused) {
            return false;
        }
        self.account.note_dropped(to_u64(span.bytes));
        let _pages = self.pages.lock();
        self.tables().clear_dirty(run);
        true
    }

    /// Gives the memory of a run of the caller's back if less than a quarter of it is resident.
    /// That costs less than to write all of it, and holds less memory. Returns whether the run
    /// reads as zero now. If not, the contents of its dirty pages are undefined.
    fn purge_if_sparse(&self, run: Run) -> bool {
        // Touching a page again is a fault, which costs as much as writing four pages.
        self.os().resident_bytes(self.arena.span(run)) < run.pages.bytes() / 4
            && self.purge_contents(run)
    }

    /// Returns the run of the block that starts at `offset` of the arena.
    pub(crate) fn large_at(&self, offset: usize) -> Result<Run, NotABlock> {
        let page = PageIndex::of_offset(offset);
        let record = self.tables().record(page);
        if page.offset() != offset || !record.is_large() {
            return Err(NotABlock::NoBlockStart);
        }
        Ok(Run::new(page, record.pages()))
    }

    /// Ends the block that starts at `offset` of the arena and returns its run, which then belongs
    /// to the caller. A sampled block counts as none.
    pub(crate) fn claim_large(&self, offset: usize) -> Result<Run, NotABlock> {
        let run = self.large_at(offset)?;
        self.claim_run(run).then_some(run).ok_or(NotABlock::NoBlockStart)
    }

    /// Returns the bin of the length of a large block.
    #[inline]
    pub(crate) fn bin_of_large(&self, run: Run) -> u32 {
        self.tables().record(run.start).length_bin()
    }

    /// Ends the block that [`Segments::large_at`] found; its run then belongs to the caller.
    /// Returns false if another thread has ended it since.
    #[inline]
    pub(crate) fn claim_run(&self, run: Run) -> bool {
        self.tables().record(run.start).claim_large()
    }

    /// Marks a block of the caller's as sample `number` of the heap profile.
    pub(crate) fn mark_sampled(&self, block: &LargeBlock, number: u32) {
        self.tables().record(block.run.start).set_sampled(number);
    }

    /// As [`Segments::mark_sampled`], of the block that starts at `offset` of the arena.
    pub(crate) fn mark_sampled_at(&self, offset: usize, number: u32) {
        self.tables().record(PageIndex::of_offset(offset)).set_sampled(number);
    }

    /// Returns the number of the sample that a block is.
    pub(crate) fn sample_of(&self, run: Run) -> Option<u32> {
        self.tables().record(run.start).sample()
    }

    /// As [`Segments::claim_large`], of a sampled block. Also returns the number of the sample.
    pub(crate) fn claim_sampled(&self, offset: usize) -> Result<(Run, u32), NotABlock> {
        let run = self.large_at(offset)?;
        let number = self.tables().record(run.start).claim_sampled();
        number.map(|number| (run, number)).ok_or(NotABlock::NoBlockStart)
    }

    /// Changes the length of a block to `bytes`, in place or by moving it. Returns `None` if there
    /// is no memory; the block is then unchanged.
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

    /// Shortens a block to `pages` pages and gives the rest back.
    fn shrink(&self, run: Run, pages: Pages) {
        if pages < run.pages {
            self.tables().record(run.start).set_large_pages(pages);
            let rest = Run::new(run.start + pages, run.pages - pages);
            self.give(rest, rest.pages);
        }
    }

    /// Lengthens a block in place, by the free pages behind it, or by new ones if the block ends
    /// the arena.
    fn extend(&self, run: Run, more: Pages) -> bool {
        if !self.extend_into_free(run, more) {
            // A request that the limit refuses must not move the frontier.
            if !self.admits_more(to_usize(more.get()) * PAGE_COST) {
                return false;
            }
            let mut growth = self.growth.lock();
            let tail = self.tail();
            if run.end() + tail != self.arena.frontier() {
                return false;
            }
            let missing = Pages::new(more.get().saturating_sub(tail.get()).max(1));
            let Some(new) = self.grow(&mut growth, missing) else { return false };
            self.pages.lock().add(self.tables(), new, self.arena.frontier());
            drop(growth);
            if !self.extend_into_free(run, more) {
                return false;
            }
        }
        self.tables().record(run.start).set_large_pages(run.pages + more);
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

    /// Turns a block of the arena into a longer one outside it by moving page tables only.
    fn move_out(&self, run: Run, bytes: usize) -> Option<NonNull<u8>> {
        if !self.admits_more(bytes.saturating_sub(run.pages.bytes())) {
            return None;
        }
        let from = self.arena.span(run);
        let os_page = self.os().page_size();
        if !(from.start.addr().get() | from.bytes).is_multiple_of(os_page) {
            return None;
        }
        // SAFETY: I-3: the run is the caller's block, and no other thread uses it during realloc.
        let start = unsafe { self.os().move_out(from) }?;
        let moved = Span { start, bytes: from.bytes };
        let Some(block) = self.adopt_huge(moved, bytes) else {
            // SAFETY: the memory lies at `start` now; both ranges hold `from.bytes` bytes.
            unsafe { from.start.copy_from_nonoverlapping(start, from.bytes) };
            // SAFETY: the mapping was just made, and no other thread knows its address.
            unsafe { self.os().unmap(moved) };
            return None;
        };
        self.tables().record(run.start).set_large(false);
        // Split only now: mremap does not move a range whose parts have different advice.
        self.split_units(run);
        self.mark_clean(run);
        self.give(run, Pages::ZERO);
        Some(block)
    }

    pub(crate) fn span(&self, run: Run) -> Span {
        self.arena.span(run)
    }
}
