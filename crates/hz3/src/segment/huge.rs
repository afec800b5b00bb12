//! Huge blocks: mappings of their own, outside the arena.
//!
//! A block that exceeds the longest run of the arena is huge from the start. Mapping and unmapping
//! it takes time in proportion to the touched memory, and a free returns the memory at once. Other
//! huge blocks grew too large for the arena, or were allocated when the arena was full. See
//! `mappings` for the table of them.

use core::ptr::NonNull;

use super::Segments;
use super::large::NotABlock;
use crate::base::units::to_u64;
use crate::os::{Os, Span};

impl<O: Os> Segments<O> {
    /// Allocates a zeroed block of at least `bytes` outside the arena, at a multiple of `align`.
    pub(crate) fn allocate_huge(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        let page = self.os().page_size();
        let bytes = bytes.checked_next_multiple_of(page)?;
        if isize::try_from(bytes.checked_add(align)?).is_err() {
            return None;
        }
        if !self.admits_more(bytes) {
            return None;
        }
        let start = self.os().map(bytes, align.max(page))?;
        let span = Span { start, bytes };
        if self.register_huge(span) {
            self.count_huge(bytes);
            return Some(start);
        }
        // SAFETY: the mapping was just made, and no other thread knows its address.
        unsafe { self.os().unmap(span) };
        None
    }

    /// Adds a mapping to the table. Returns false if there is no memory for a longer table.
    fn register_huge(&self, span: Span) -> bool {
        let mut table = self.huge.lock();
        let room = table.make_room(self.os());
        if room {
            table.insert(span);
        }
        room
    }

    /// Counts `bytes` more in huge blocks.
    fn count_huge(&self, bytes: usize) {
        self.account.add_huge(to_u64(bytes));
        self.note(&self.pages.lock());
    }

    /// Turns a mapping of the caller's into a huge block of `bytes`. Returns `None` if that is not
    /// possible; the mapping is then unchanged.
    pub(super) fn adopt_huge(&self, mapping: Span, bytes: usize) -> Option<NonNull<u8>> {
        if !self.register_huge(mapping) {
            return None;
        }
        let resized = self.resize_entry(mapping.start.addr().get(), bytes);
        if resized.is_none() {
            self.huge.lock().remove(mapping.start.addr().get());
        } else {
            // Its old length is still counted among the arena's pages.
            self.account.add_huge(to_u64(mapping.bytes));
        }
        resized
    }

    /// Returns the length of the huge block that starts at `address`, in bytes.
    pub(crate) fn huge_at(&self, address: usize) -> Option<usize> {
        self.huge.lock().find(address).map(|span| span.bytes)
    }

    /// As [`Segments::huge_at`], without waiting: returns 0 while another thread uses the table.
    ///
    /// # Errors
    /// The address lies inside a huge block, not at its start.
    pub(crate) fn try_huge_at(&self, address: usize) -> Result<Option<usize>, NotABlock> {
        let Some(table) = self.huge.try_lock() else { return Ok(Some(0)) };
        match table.find(address) {
            Some(span) => Ok(Some(span.bytes)),
            None if table.covers(address) => Err(NotABlock::NoBlockStart),
            None => Ok(None),
        }
    }

    /// Returns whether an address lies in a huge block. Takes time in proportion to the number of
    /// huge blocks, so call it only for addresses that are no block of hz3's.
    #[cold]
    pub(crate) fn is_in_huge(&self, address: usize) -> bool {
        self.huge.lock().covers(address)
    }

    /// Frees the huge block that starts at `address`. Returns false if there is none.
    pub(crate) fn free_huge(&self, address: usize) -> bool {
        let removed = self.huge.lock().remove(address);
        let Some(span) = removed else { return false };
        // SAFETY: the entry was removed under the lock, so the mapping belongs to this call alone.
        unsafe { self.os().unmap(span) };
        self.account.remove_huge(to_u64(span.bytes));
        self.account.note_return();
        true
    }

    /// Changes the length of a huge block, which may move it. Shrinking always succeeds. Returns
    /// `None` if a longer block does not fit; the block is then unchanged.
    pub(crate) fn resize_huge(&self, block: NonNull<u8>, bytes: usize) -> Option<NonNull<u8>> {
        let address = block.addr().get();
        let present = self.huge_at(address)?;
        let bytes = bytes.checked_next_multiple_of(self.os().page_size())?;
        if bytes > present {
            let admitted = self.admits_more(bytes - present);
            return if admitted { self.resize_entry(address, bytes) } else { None };
        }
        // The system may refuse to split a mapping; the block then keeps its tail.
        let cut = if bytes < present { self.resize_entry(address, bytes) } else { None };
        Some(cut.unwrap_or(block))
    }

    /// As [`Segments::resize_huge`], without asking the memory limit.
    fn resize_entry(&self, address: usize, bytes: usize) -> Option<NonNull<u8>> {
        let bytes = bytes.checked_next_multiple_of(self.os().page_size())?;
        let old = self.huge.lock().withdraw(address)?;
        // No lock is held while the mapping moves.
        // SAFETY: the entry was removed under the lock, so the mapping belongs to this call alone.
        let moved = unsafe { self.os().resize(old, bytes) };
        self.huge.lock().put_back(moved.map_or(old, |start| Span { start, bytes }));
        if moved.is_some() {
            self.account.remove_huge(to_u64(old.bytes.saturating_sub(bytes)));
            self.count_huge(bytes.saturating_sub(old.bytes));
        }
        moved
    }
}
