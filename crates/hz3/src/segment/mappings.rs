//! The table of the mappings outside the arena, by address: open addressing with linear probing.
//!
//! A removal moves the entries behind it forward instead of leaving a mark, so a search ends at the
//! first empty place however many entries came and went. The table doubles before it is half full
//! and never shrinks: 16 bytes for each mapping that there was at once, up to four times that.

use core::ptr::NonNull;

use crate::os::{Os, Span};

/// Places that the table starts with: one page of them.
const FIRST_CAPACITY: usize = 4096 / size_of::<Entry>();

/// The mappings. A lock of the layer protects them.
#[derive(Debug)]
pub(crate) struct Mappings {
    /// `capacity` entries.
    entries: NonNull<Entry>,
    /// A power of two, or 0 at first.
    capacity: usize,
    len: usize,
    /// Entries that are out of the table while their mapping moves; their room is kept.
    promised: usize,
}

/// One mapping; empty when the start is null.
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
        Mappings { entries: NonNull::dangling(), capacity: 0, len: 0, promised: 0 }
    }

    fn entries(&self) -> &[Entry] {
        // SAFETY: the table's memory holds `capacity` entries; zeroed memory is empty entries.
        unsafe { core::slice::from_raw_parts(self.entries.as_ptr(), self.capacity) }
    }

    fn entries_mut(&mut self) -> &mut [Entry] {
        // SAFETY: as above, and the table is borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(self.entries.as_ptr(), self.capacity) }
    }

    /// The place where the search for an address begins. There must be places.
    fn home(&self, address: usize) -> usize {
        // Mappings start at pages; the upper bits of the product depend on all bits of the rest.
        let mixed = (address >> 12).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed >> (usize::BITS - self.capacity.ilog2())
    }

    /// The places in the order of the search for an address. Without end: the table is never full.
    fn probes(&self, address: usize) -> impl Iterator<Item = usize> + use<> {
        let (home, mask) = (self.home(address), self.capacity - 1);
        (0..).map(move |step| (home + step) & mask)
    }

    /// The place of the mapping that starts at an address.
    fn position(&self, address: usize) -> Option<usize> {
        if self.len == 0 {
            return None;
        }
        let entries = self.entries();
        self.probes(address)
            .take_while(|&at| !entries[at].start.is_null())
            .find(|&at| entries[at].start.addr() == address)
    }

    /// The mapping that starts at an address.
    pub(crate) fn find(&self, address: usize) -> Option<Span> {
        self.position(address).and_then(|at| self.entries()[at].span())
    }

    /// Whether an address lies in a mapping. Takes time in proportion to the capacity.
    pub(crate) fn covers(&self, address: usize) -> bool {
        let covers = |span: Span| address.wrapping_sub(span.start.addr().get()) < span.bytes;
        self.entries().iter().filter_map(|entry| entry.span()).any(covers)
    }

    /// Makes room for one more entry; false when there is no memory for it.
    pub(crate) fn make_room<O: Os>(&mut self, os: &O) -> bool {
        if 2 * (self.len + self.promised) < self.capacity {
            return true;
        }
        let table_bytes =
            |entries: usize| (entries * size_of::<Entry>()).next_multiple_of(os.page_size());
        let capacity = (self.capacity * 2).max(FIRST_CAPACITY);
        let Some(memory) = os.map(table_bytes(capacity), os.page_size()) else { return false };
        let promised = self.promised;
        let mut larger = Mappings { entries: memory.cast(), capacity, len: 0, promised };
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

    /// Adds a mapping; there must be room, made or promised.
    pub(crate) fn insert(&mut self, span: Span) {
        debug_assert!(self.len < self.capacity, "no room was made");
        let at =
            self.probes(span.start.addr().get()).find(|&at| self.entries()[at].start.is_null());
        if let Some(at) = at {
            self.entries_mut()[at] = Entry { start: span.start.as_ptr(), bytes: span.bytes };
            self.len += 1;
        }
    }

    /// Takes the mapping that starts at an address out.
    pub(crate) fn remove(&mut self, address: usize) -> Option<Span> {
        let mut gap = self.position(address)?;
        let removed = self.entries()[gap].span();
        let mask = self.capacity - 1;
        let mut at = (gap + 1) & mask;
        while let Some(next) = self.entries()[at].span() {
            // It may move into the gap unless its search begins behind the gap.
            let home = self.home(next.start.addr().get());
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(gap) & mask {
                self.entries_mut()[gap] = self.entries()[at];
                gap = at;
            }
            at = (at + 1) & mask;
        }
        self.entries_mut()[gap] = EMPTY;
        self.len -= 1;
        removed
    }

    /// As [`Mappings::remove`], and keeps the room for the mapping's return.
    pub(crate) fn withdraw(&mut self, address: usize) -> Option<Span> {
        let removed = self.remove(address)?;
        self.promised += 1;
        Some(removed)
    }

    /// Puts a mapping back, perhaps moved or resized, that was withdrawn.
    pub(crate) fn put_back(&mut self, span: Span) {
        self.promised -= 1;
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

    /// A mapping that only the table knows.
    fn span(page: usize, bytes: usize) -> Span {
        let start = core::ptr::without_provenance_mut(page << 12);
        Span { start: NonNull::new(start).expect("not the null page"), bytes }
    }

    #[test]
    fn agrees_with_a_btree() {
        let os = Fake::new(4096, 1, 1 << 30);
        let (mut table, mut model) = (Mappings::new(), BTreeMap::new());
        let steps = if cfg!(miri) { 300 } else { 60_000u64 };
        let mut random = 1u64;
        for _ in 0..steps {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Few pages, so that many searches meet; now and then a long row of neighbours.
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
    fn covers_the_inside_of_mappings_and_nothing_else() {
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
    fn without_memory_for_a_larger_table_everything_stays() {
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
        assert!(!table.make_room(&os), "the place of a mapping that moves is kept");
        table.put_back(moving);
        assert!(pages.into_iter().all(|page| table.find(page << 12).is_some()));
        assert_eq!(os.page_size(), 4096);
    }
}
