//! Blocks outside the arena: mappings of their own.
//!
//! They exist where address space is limited (the arena takes three quarters of it), where a
//! request exceeds the arena, and where a long block outgrew its place and moved out. They are
//! few; their table is a sorted array in memory of its own.

use core::ptr::NonNull;

use super::Segments;
use crate::base::units::wide;
use crate::os::{Os, Span};

/// Entries that the table starts with: one page of them.
const FIRST_CAPACITY: usize = 4096 / size_of::<Span>();

/// The mappings, by address.
#[derive(Debug)]
pub(crate) struct HugeTable {
    entries: NonNull<Span>,
    len: usize,
    capacity: usize,
    /// Entries that are out of the table while their mapping moves; their room is kept.
    promised: usize,
}

// SAFETY: the table owns its memory; the lock around it gives one thread at a time access.
unsafe impl Send for HugeTable {}

impl HugeTable {
    pub(crate) const fn new() -> HugeTable {
        HugeTable { entries: NonNull::dangling(), len: 0, capacity: 0, promised: 0 }
    }

    fn slice(&self) -> &[Span] {
        // SAFETY: the first `len` entries of the table's memory are initialised.
        unsafe { core::slice::from_raw_parts(self.entries.as_ptr(), self.len) }
    }

    /// The table's memory with `len` entries in it, of which the last may be uninitialised.
    fn slice_of(&mut self, len: usize) -> &mut [Span] {
        debug_assert!(len <= self.capacity);
        // SAFETY: `len` is at most the capacity, and fresh memory of the table is zero or holds
        // an old entry: a `Span` at index `len - 1` is overwritten before it is read.
        unsafe { core::slice::from_raw_parts_mut(self.entries.as_ptr(), len) }
    }

    fn position(&self, address: usize) -> Result<usize, usize> {
        self.slice().binary_search_by_key(&address, |span| span.start.addr().get())
    }

    fn find(&self, address: usize) -> Option<Span> {
        self.position(address).ok().map(|at| self.slice()[at])
    }

    /// Makes room for one more entry; false when there is no memory for it.
    fn make_room<O: Os>(&mut self, os: &O) -> bool {
        if self.len + self.promised < self.capacity {
            return true;
        }
        let table_bytes =
            |entries: usize| (entries * size_of::<Span>()).next_multiple_of(os.page_size());
        let capacity = (self.capacity * 2).max(FIRST_CAPACITY);
        let Some(memory) = os.map(table_bytes(capacity), os.page_size()) else { return false };
        let entries = memory.cast::<Span>();
        // SAFETY: both tables hold `len` entries, and the new one is fresh memory.
        unsafe { entries.copy_from_nonoverlapping(self.entries, self.len) };
        if self.capacity > 0 {
            let old = Span { start: self.entries.cast(), bytes: table_bytes(self.capacity) };
            // SAFETY: the old table's memory came from `map` and was just copied out.
            unsafe { os.unmap(old) };
        }
        self.entries = entries;
        self.capacity = capacity;
        true
    }

    /// Adds a mapping; there must be room.
    fn insert(&mut self, span: Span) {
        let at = self.position(span.start.addr().get()).unwrap_or_else(|at| at);
        let len = self.len;
        // SAFETY: there is room behind the last entry.
        let last = unsafe { self.entries.add(len) };
        // SAFETY: as above; this initialises the entry that `slice_of` then covers.
        unsafe { last.write(span) };
        self.slice_of(len + 1)[at..].rotate_right(1);
        self.len += 1;
    }

    fn remove(&mut self, address: usize) -> Option<Span> {
        let at = self.position(address).ok()?;
        let len = self.len;
        let span = self.slice()[at];
        self.slice_of(len)[at..].rotate_left(1);
        self.len -= 1;
        Some(span)
    }
}

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
        self.account.add_huge(wide(bytes));
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
            self.account.add_huge(wide(mapping.bytes));
        }
        resized
    }

    /// The length of the huge block that starts at `address`.
    pub(crate) fn huge_at(&self, address: usize) -> Option<usize> {
        self.huge.lock().find(address).map(|span| span.bytes)
    }

    /// Frees the huge block that starts at `address`; false when there is none.
    pub(crate) fn free_huge(&self, address: usize) -> bool {
        let removed = self.huge.lock().remove(address);
        let Some(span) = removed else { return false };
        // SAFETY: the entry was removed under the lock, so this call alone has the mapping.
        unsafe { self.os().unmap(span) };
        self.account.remove_huge(wide(span.bytes));
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
        let old = {
            let mut table = self.huge.lock();
            let old = table.remove(address)?;
            table.promised += 1;
            old
        };
        // No lock is held while the mapping moves.
        // SAFETY: the entry was removed under the lock, so this call alone has the mapping.
        let moved = unsafe { self.os().resize(old, bytes) };
        {
            let mut table = self.huge.lock();
            table.promised -= 1;
            table.insert(moved.map_or(old, |start| Span { start, bytes }));
        }
        if moved.is_some() {
            self.account.remove_huge(wide(old.bytes.saturating_sub(bytes)));
            self.count_huge(bytes.saturating_sub(old.bytes));
        }
        moved
    }
}
