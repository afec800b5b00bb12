//! Blocks outside the arena: mappings of their own.
//!
//! Blocks that exceed the longest run of the arena are huge from the start: mapping and unmapping
//! them takes time in proportion to what was touched, and what is freed is back at once. Blocks that
//! outgrew their place moved out, and others came when the arena was full. See `mappings` for
//! their table.

use core::ptr::NonNull;

use super::Segments;
use super::large::NotABlock;
use crate::base::units::to_u64;
use crate::os::{Os, Span};

impl<O: Os> Segments<O> {
    /// A zeroed block of at least `bytes` outside the arena, at a multiple of `align`.
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
        if self.enter_huge(span) {
            self.count_huge(bytes);
            return Some(start);
        }
        // SAFETY: the mapping was just made and nobody knows of it.
        unsafe { self.os().unmap(span) };
        None
    }

    fn enter_huge(&self, span: Span) -> bool {
        let mut table = self.huge.lock();
        let room = table.make_room(self.os());
        if room {
            table.insert(span);
        }
        room
    }

    /// Counts more bytes of huge blocks.
    fn count_huge(&self, bytes: usize) {
        self.account.add_huge(to_u64(bytes));
        self.note(&self.pages.lock());
    }

    /// Makes a mapping of the caller's a huge block of `bytes`. `None` when that is not possible;
    /// the mapping is then what it was.
    pub(super) fn adopt_huge(&self, mapping: Span, bytes: usize) -> Option<NonNull<u8>> {
        if !self.enter_huge(mapping) {
            return None;
        }
        let resized = self.resize_entry(mapping.start.addr().get(), bytes);
        if resized.is_none() {
            self.huge.lock().remove(mapping.start.addr().get());
        } else {
            // What it had is still counted where it came from.
            self.account.add_huge(to_u64(mapping.bytes));
        }
        resized
    }

    /// The length of the huge block that starts at `address`.
    pub(crate) fn huge_at(&self, address: usize) -> Option<usize> {
        self.huge.lock().find(address).map(|span| span.bytes)
    }

    /// As [`Segments::huge_at`], without waiting: 0 while the table is in use.
    ///
    /// # Errors
    /// The address lies inside a huge block.
    pub(crate) fn try_huge_at(&self, address: usize) -> Result<Option<usize>, NotABlock> {
        let Some(table) = self.huge.try_lock() else { return Ok(Some(0)) };
        match table.find(address) {
            Some(span) => Ok(Some(span.bytes)),
            None if table.covers(address) => Err(NotABlock::NoBlockStart),
            None => Ok(None),
        }
    }

    /// Whether an address lies in a huge block. Takes time in proportion to the number of those
    /// blocks: only for addresses that are no block of hz3's.
    #[cold]
    pub(crate) fn is_in_huge(&self, address: usize) -> bool {
        self.huge.lock().covers(address)
    }

    /// Frees the huge block that starts at `address`; false when there is none.
    pub(crate) fn free_huge(&self, address: usize) -> bool {
        let removed = self.huge.lock().remove(address);
        let Some(span) = removed else { return false };
        // SAFETY: the entry was removed under the lock, so this call alone has the mapping.
        unsafe { self.os().unmap(span) };
        self.account.remove_huge(to_u64(span.bytes));
        self.account.note_return();
        true
    }

    /// Changes the length of a huge block, which may move. `None` when a longer one does not fit:
    /// the block is then what it was. Shrinking always succeeds.
    pub(crate) fn resize_huge(&self, block: NonNull<u8>, bytes: usize) -> Option<NonNull<u8>> {
        let address = block.addr().get();
        let present = self.huge_at(address)?;
        let bytes = bytes.checked_next_multiple_of(self.os().page_size())?;
        if bytes > present {
            let admitted = self.admits_more(bytes - present);
            return if admitted { self.resize_entry(address, bytes) } else { None };
        }
        // The system may refuse to cut a mapping in two; the block then keeps its tail.
        let cut = if bytes < present { self.resize_entry(address, bytes) } else { None };
        Some(cut.unwrap_or(block))
    }

    /// [`Segments::resize_huge`] whatever the limit is.
    fn resize_entry(&self, address: usize, bytes: usize) -> Option<NonNull<u8>> {
        let bytes = bytes.checked_next_multiple_of(self.os().page_size())?;
        let old = self.huge.lock().withdraw(address)?;
        // No lock is held while the mapping moves.
        // SAFETY: the entry was removed under the lock, so this call alone has the mapping.
        let moved = unsafe { self.os().resize(old, bytes) };
        self.huge.lock().put_back(moved.map_or(old, |start| Span { start, bytes }));
        if moved.is_some() {
            self.account.remove_huge(to_u64(old.bytes.saturating_sub(bytes)));
            self.count_huge(bytes.saturating_sub(old.bytes));
        }
        moved
    }
}
