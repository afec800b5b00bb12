//! The table of the mappings outside the arena, by address: open addressing with linear probing.
//!
//! A removal moves the entries behind it forward instead of leaving a tombstone, so a search ends
//! at the first empty slot, however many entries were inserted and removed. The table doubles
//! before it is half full and never shrinks: it has 32 to 64 bytes for each entry of the largest
//! number so far.

use core::ptr::NonNull;

use crate::os::{Os, Span};

/// Slots of the first table: one page.
const FIRST_CAPACITY: usize = 4096 / size_of::<Entry>();

/// The mappings. The layer's lock `huge` guards them.
#[derive(Debug)]
pub(crate) struct Mappings {
    /// `capacity` entries.
    entries: NonNull<Entry>,
    /// A power of two, or 0 at first.
    capacity: usize,
    len: usize,
    /// Entries that are out of the table while their mapping moves. Their slots stay reserved.
    reserved: usize,
}

/// One mapping. A slot with a null start is empty.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Entry {
    start: *mut u8,
    bytes: usize,
}

const EMPTY: Entry = Entry { start: core::ptr::null_mut(), bytes: 0 };

// SAFETY: the table owns its memory; the lock around it gives one thread at a time access.
unsafe impl Send for Mappings {}

impl Entry {
    fn span(self) -> Option<Span> {
        NonNull::new(self.start).map(|start| Span { start, bytes: self.bytes })
    }
}

impl Mappings {
    pub(crate) const fn new() -> Mappings {
        Mappings { entries: NonNull::dangling(), capacity: 0, len: 0, reserved: 0 }
    }

    fn entries(&self) -> &[Entry] {
        // SAFETY: the table's memory holds `capacity` entries; zeroed memory is empty entries.
        unsafe { core::slice::from_raw_parts(self.entries.as_ptr(), self.capacity) }
    }

    fn entries_mut(&mut self) -> &mut [Entry] {
        // SAFETY: as above, and the table is borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(self.entries.as_ptr(), self.capacity) }
    }

    /// Returns the slot where the search for an address begins. The capacity must not be 0.
    fn first_slot(&self, address: usize) -> usize {
        // Mappings start at pages, so the low bits carry nothing. The upper bits of the product
        // depend on all other bits.
        let mixed = (address >> 12).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed >> (usize::BITS - self.capacity.ilog2())
    }

    /// Returns the slots in the order of the search for an address. Endless, because the table is
    /// never full.
    fn probes(&self, address: usize) -> impl Iterator<Item = usize> + use<> {
        let (first_slot, mask) = (self.first_slot(address), self.capacity - 1);
        (0..).map(move |step| (first_slot + step) & mask)
    }

    /// Returns the slot of the mapping that starts at an address.
    fn position(&self, address: usize) -> Option<usize> {
        if self.len == 0 {
            return None;
        }
        let entries = self.entries();
        self.probes(address)
            .take_while(|&at| !entries[at].start.is_null())
            .find(|&at| entries[at].start.addr() == address)
    }

    /// Returns the mapping that starts at an address.
    pub(crate) fn find(&self, address: usize) -> Option<Span> {
        self.position(address).and_then(|at| self.entries()[at].span())
    }

    /// Returns whether an address lies in a mapping. Takes time in proportion to the capacity.
    pub(crate) fn covers(&self, address: usize) -> bool {
        let covers = |span: Span| address.wrapping_sub(span.start.addr().get()) < span.bytes;
        self.entries().iter().filter_map(|entry| entry.span()).any(covers)
    }

    /// Makes room for one more entry. Returns false if there is no memory for a longer table.
    pub(crate) fn make_room<O: Os>(&mut self, os: &O) -> bool {
        if 2 * (self.len + self.reserved) < self.capacity {
            return true;
        }
        let table_bytes =
            |entries: usize| (entries * size_of::<Entry>()).next_multiple_of(os.page_size());
        let capacity = (self.capacity * 2).max(FIRST_CAPACITY);
        let Some(memory) = os.map(table_bytes(capacity), os.page_size()) else { return false };
        let reserved = self.reserved;
        let mut larger = Mappings { entries: memory.cast(), capacity, len: 0, reserved };
        for span in self.entries().iter().filter_map(|entry| entry.span()) {
            larger.insert(span);
        }
        let old = core::mem::replace(self, larger);
        if old.capacity > 0 {
            let old = Span { start: old.entries.cast(), bytes: table_bytes(old.capacity) };
            // SAFETY: the old table's memory came from `map`, and its entries were copied.
            unsafe { os.unmap(old) };
        }
        true
    }

    /// Adds a mapping. There must be room, made or reserved.
    pub(crate) fn insert(&mut self, span: Span) {
        debug_assert!(self.len < self.capacity, "no room was made");
        let at =
            self.probes(span.start.addr().get()).find(|&at| self.entries()[at].start.is_null());
        if let Some(at) = at {
            self.entries_mut()[at] = Entry { start: span.start.as_ptr(), bytes: span.bytes };
            self.len += 1;
        }
    }

    /// Removes and returns the mapping that starts at an address.
    pub(crate) fn remove(&mut self, address: usize) -> Option<Span> {
        let mut gap = self.position(address)?;
        let removed = self.entries()[gap].span();
        let mask = self.capacity - 1;
        let mut at = (gap + 1) & mask;
        while let Some(next) = self.entries()[at].span() {
            // It may move into the gap unless its search begins behind the gap.
            let first_slot = self.first_slot(next.start.addr().get());
            if at.wrapping_sub(first_slot) & mask >= at.wrapping_sub(gap) & mask {
                self.entries_mut()[gap] = self.entries()[at];
                gap = at;
            }
            at = (at + 1) & mask;
        }
        self.entries_mut()[gap] = EMPTY;
        self.len -= 1;
        removed
    }

    /// As [`Mappings::remove`], and reserves a slot for the mapping's return.
    pub(crate) fn withdraw(&mut self, address: usize) -> Option<Span> {
        let removed = self.remove(address)?;
        self.reserved += 1;
        Some(removed)
    }

    /// Puts a withdrawn mapping back, which may have been moved or resized.
    pub(crate) fn put_back(&mut self, span: Span) {
        self.reserved -= 1;
        self.insert(span);
    }
}

#[cfg(test)]
mod tests {
    use super::Mappings;
    use crate::os::fake::Fake;
    use crate::os::{Os, Span};
    use core::ptr::NonNull;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    /// Makes a mapping that exists only in the table.
    fn span(page: usize, bytes: usize) -> Span {
        let start = core::ptr::without_provenance_mut(page << 12);
        Span { start: NonNull::new(start).expect("not the null page"), bytes }
    }

    #[test]
    fn the_table_agrees_with_a_btree() {
        let os = Fake::new(4096, 1, 1 << 30);
        let (mut table, mut model) = (Mappings::new(), BTreeMap::new());
        let steps = if cfg!(miri) { 300 } else { 60_000u64 };
        let mut random = 1u64;
        for _ in 0..steps {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Few pages, so that many searches collide, and some probe many slots in a row.
            let page = usize::try_from((random >> 33) % 4096).expect("small") + 1;
            match (random >> 60) % 4 {
                0 | 1 if !model.contains_key(&page) => {
                    assert!(table.make_room(&os));
                    table.insert(span(page, page + 1));
                    model.insert(page, page + 1);
                }
                2 if model.contains_key(&page) => {
                    let moved = table.withdraw(page << 12).expect("it is there");
                    assert!(table.find(page << 12).is_none());
                    table.put_back(Span { bytes: moved.bytes + 1, ..moved });
                    model.entry(page).and_modify(|bytes| *bytes += 1);
                }
                _ => {
                    let removed = table.remove(page << 12).map(|span| span.bytes);
                    assert_eq!(removed, model.remove(&page));
                }
            }
            assert_eq!(table.find(page << 12).map(|span| span.bytes), model.get(&page).copied());
            assert_eq!(table.len, model.len());
        }
        assert!(model.iter().all(|(page, _)| table.find(page << 12).is_some()));
    }

    #[test]
    fn an_address_is_covered_only_inside_a_mapping() {
        let os = Fake::new(4096, 1, 1 << 30);
        let mut table = Mappings::new();
        assert!(!table.covers(4096), "an empty table has no memory");
        for page in [8, 16] {
            assert!(table.make_room(&os));
            table.insert(span(page, 3 << 12));
        }
        let covered: Vec<usize> = (0..32).filter(|page| table.covers((page << 12) + 16)).collect();
        assert_eq!(covered, [8, 9, 10, 16, 17, 18]);
        table.remove(8 << 12);
        assert!(!table.covers(9 << 12) && table.covers(17 << 12));
    }

    #[test]
    fn without_memory_for_a_larger_table_no_entry_is_lost() {
        let os = Fake::new(4096, 1, 1 << 30);
        let mut table = Mappings::new();
        assert!(table.find(4096).is_none() && table.remove(4096).is_none());
        os.exhaust(true);
        assert!(!table.make_room(&os));
        os.exhaust(false);
        let mut pages = Vec::new();
        for page in 1..=128 {
            assert!(table.make_room(&os));
            table.insert(span(page, 1));
            pages.push(page);
        }
        os.exhaust(true);
        assert!(!table.make_room(&os), "the first table is half full");
        let moving = table.withdraw(4096).expect("it is there");
        assert!(!table.make_room(&os), "the slot of a mapping that moves is reserved");
        table.put_back(moving);
        assert!(pages.into_iter().all(|page| table.find(page << 12).is_some()));
        assert_eq!(os.page_size(), 4096);
    }
}
