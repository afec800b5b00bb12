//! The lists of free runs: by length, and by the number of whole chunks inside.
//!
//! A list holds the runs of one length, or, from 128 KiB on, of an eighth of a doubling. Each
//! segment has its own head for each list, in its metadata, and the links are in the page records.
//! Two levels of bits over the segments find the lowest segment whose list is not empty:
//!
//! ```text
//!   non-empty lists --> a bit a region --> a bit a segment --> head --> run --> run
//!     (each level has one word for each list, side by side: a small heap touches two entries)
//! ```
//!
//! So inserting and removing a run takes constant time, with a handful of cache misses; an ordered
//! tree of a million runs took forty. The lowest segment with a fitting run serves first, so that
//! the upper end of the heap becomes empty.

use core::sync::atomic::{AtomicU64, Ordering};

use super::list_layout::{
    EXACT, EXACT_SHIFT, LENGTH_LISTS, LISTS, LONGEST_SHIFT, STEPS_SHIFT, TOP_WORDS, WORD,
};
use super::tables::Tables;
use crate::base::bits;
use crate::base::size_class::MAX_SLAB_CHUNKS;
use crate::base::units::{PageIndex, SEGMENT_PAGES, to_u32, to_usize};

/// The link value that means "no run". Page 0 is never free.
const NIL: u32 = 0;

/// Returns the list of the runs of `pages` pages, and the shortest length in that list.
fn length_list(pages: u32) -> (usize, u32) {
    if pages <= EXACT {
        return (to_usize(pages - 1), pages);
    }
    let order = pages.ilog2();
    if order >= LONGEST_SHIFT {
        return (LENGTH_LISTS - 1, 1 << LONGEST_SHIFT);
    }
    let grain = order - STEPS_SHIFT;
    let step = pages >> grain;
    let list = EXACT + ((order - EXACT_SHIFT) << STEPS_SHIFT) + (step - (1 << STEPS_SHIFT));
    (to_usize(list), step << grain)
}

/// Returns the list of the runs that contain `chunks` whole chunks, at least 1.
fn chunk_list(chunks: u32) -> usize {
    LENGTH_LISTS + to_usize(chunks.min(MAX_SLAB_CHUNKS + 1) - 1)
}

/// The state of the lists that is not in the tables. Every method takes the tables of the arena
/// that the runs are in, and needs the lock of the page heap.
#[derive(Debug)]
pub(super) struct Lists {
    /// One bit for each list: the list has runs.
    filled: [u64; LISTS.div_ceil(WORD)],
    /// For each list, how many of its words in the top level are not 0.
    words: [u8; LISTS],
}

impl Lists {
    pub(super) const fn new() -> Lists {
        Lists { filled: [0; LISTS.div_ceil(WORD)], words: [0; LISTS] }
    }

    /// Inserts the run of `pages` pages at `start`, which contains `chunks` whole chunks.
    pub(super) fn insert(&mut self, tables: &Tables, start: PageIndex, pages: u32, chunks: u32) {
        self.link(tables, length_list(pages).0, start.get());
        if chunks > 0 {
            // The links of the second list are in the record of the run's second page.
            self.link(tables, chunk_list(chunks), start.get() + 1);
        }
    }

    /// Removes a run that [`Lists::insert`] inserted with the same arguments.
    pub(super) fn remove(&mut self, tables: &Tables, start: PageIndex, pages: u32, chunks: u32) {
        self.unlink(tables, length_list(pages).0, start.get());
        if chunks > 0 {
            self.unlink(tables, chunk_list(chunks), start.get() + 1);
        }
    }

    /// Returns the start of a run of at least `pages` pages: as short as the lists can tell, and in
    /// the lowest segment among those.
    pub(super) fn at_least(&self, tables: &Tables, pages: u32) -> Option<PageIndex> {
        let (list, shortest) = length_list(pages);
        let length = |node: u32| tables.record(PageIndex::new(node)).pages().get();
        let fits = |node: u32| length(node) >= pages;
        if shortest == pages {
            return self.lowest_from(tables, list, LENGTH_LISTS).map(PageIndex::new);
        }
        // This list also has runs that are too short. A few of its runs are tried before a longer
        // one is cut, and more before the heap grows.
        let own = |tries| self.find(tables, list, tries, fits);
        let found = own(8)
            .or_else(|| self.lowest_from(tables, list + 1, LENGTH_LISTS))
            .or_else(|| own(256));
        found.map(PageIndex::new)
    }

    /// Returns the start of a run that contains at least `chunks` whole chunks, at most as many as
    /// a slab has.
    pub(super) fn with_chunks(&self, tables: &Tables, chunks: u32) -> Option<PageIndex> {
        let node = self.lowest_from(tables, chunk_list(chunks), LISTS)?;
        Some(PageIndex::new(node - 1))
    }

    /// Counts the entries of all lists by walking each of them once.
    #[cfg(any(test, feature = "check"))]
    pub(super) fn count(&self, tables: &Tables) -> u64 {
        let count = core::cell::Cell::new(0);
        for list in 0..LISTS {
            self.find(tables, list, u32::MAX, |_| {
                count.set(count.get() + 1);
                false
            });
            let is_filled = self.filled[list / WORD] >> (list % WORD) & 1 == 1;
            assert_eq!(is_filled, self.words[list] > 0, "I-5: list {list}");
        }
        count.get()
    }

    /// Returns the first run of the first non-empty list in `list..end`.
    fn lowest_from(&self, tables: &Tables, list: usize, end: usize) -> Option<u32> {
        let words = bits::word_count(self.filled.len());
        let found = to_usize(bits::next_set(to_u32(list), words, |word| self.filled[word])?);
        if found >= end {
            return None;
        }
        self.find(tables, found, 1, |_| true)
    }

    /// Returns the first run of a list that fits, lowest segments first, among the first `tries`
    /// runs.
    fn find(
        &self,
        tables: &Tables,
        list: usize,
        tries: u32,
        fits: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let (mut tries, mut words) = (tries, self.words[list]);
        for index in 0..TOP_WORDS {
            if words == 0 {
                break;
            }
            let regions = tables.list_bits(index)[list].load(Ordering::Relaxed);
            words -= u8::from(regions != 0);
            for region in ones_of(regions).map(|bit| index * WORD + bit) {
                let segments = tables.list_bits(TOP_WORDS + region)[list].load(Ordering::Relaxed);
                for segment in ones_of(segments).map(|bit| region * WORD + bit) {
                    let mut node = head(tables, list, segment);
                    while node != NIL {
                        if fits(node) {
                            return Some(node);
                        }
                        tries -= 1;
                        if tries == 0 {
                            return None;
                        }
                        node = tables.record(PageIndex::new(node)).next();
                    }
                }
            }
        }
        None
    }

    fn link(&mut self, tables: &Tables, list: usize, node: u32) {
        let segment = to_usize(node / SEGMENT_PAGES);
        let next = head(tables, list, segment);
        let record = tables.record(PageIndex::new(node));
        record.set_next(next);
        record.set_previous(NIL);
        set_head(tables, list, segment, node);
        if next == NIL {
            self.mark_filled(tables, list, segment);
        } else {
            tables.record(PageIndex::new(next)).set_previous(node);
        }
    }

    fn unlink(&mut self, tables: &Tables, list: usize, node: u32) {
        let record = tables.record(PageIndex::new(node));
        let (previous, next) = (record.previous(), record.next());
        if next != NIL {
            tables.record(PageIndex::new(next)).set_previous(previous);
        }
        if previous != NIL {
            tables.record(PageIndex::new(previous)).set_next(next);
            return;
        }
        let segment = to_usize(node / SEGMENT_PAGES);
        debug_assert_eq!(head(tables, list, segment), node, "I-5: the first run of its list");
        set_head(tables, list, segment, next);
        if next == NIL {
            self.mark_empty(tables, list, segment);
        }
    }

    /// Sets the bits of a segment whose list is no longer empty.
    fn mark_filled(&mut self, tables: &Tables, list: usize, segment: usize) {
        let region = segment / WORD;
        set_bit(&tables.list_bits(TOP_WORDS + region)[list], segment % WORD);
        if set_bit(&tables.list_bits(region / WORD)[list], region % WORD) {
            self.words[list] += 1;
            self.filled[list / WORD] |= 1 << (list % WORD);
        }
    }

    /// Clears the bits of a segment whose list has become empty.
    fn mark_empty(&mut self, tables: &Tables, list: usize, segment: usize) {
        let region = segment / WORD;
        if clear_bit(&tables.list_bits(TOP_WORDS + region)[list], segment % WORD)
            && clear_bit(&tables.list_bits(region / WORD)[list], region % WORD)
        {
            self.words[list] -= 1;
            if self.words[list] == 0 {
                self.filled[list / WORD] &= !(1 << (list % WORD));
            }
        }
    }
}

/// Returns the first run of a segment in a list, or `NIL`.
fn head(tables: &Tables, list: usize, segment: usize) -> u32 {
    match tables.segment(segment).heads[list].load(Ordering::Relaxed) {
        0 => NIL,
        head => to_u32(segment) * SEGMENT_PAGES + u32::from(head) - 1,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "an offset in a segment plus one")]
fn set_head(tables: &Tables, list: usize, segment: usize, node: u32) {
    let head = if node == NIL { 0 } else { node % SEGMENT_PAGES + 1 };
    tables.segment(segment).heads[list].store(head as u16, Ordering::Relaxed);
}

/// Sets a bit of a word that a lock protects. Returns whether the word was 0.
fn set_bit(word: &AtomicU64, bit: usize) -> bool {
    let before = word.load(Ordering::Relaxed);
    word.store(before | 1 << bit, Ordering::Relaxed);
    before == 0
}

/// Clears a bit of a word that a lock protects. Returns whether the word is now 0.
fn clear_bit(word: &AtomicU64, bit: usize) -> bool {
    let after = word.load(Ordering::Relaxed) & !(1 << bit);
    word.store(after, Ordering::Relaxed);
    after == 0
}

/// Returns the indices of the bits that are set, lowest first.
fn ones_of(word: u64) -> impl Iterator<Item = usize> {
    let mut rest = word;
    core::iter::from_fn(move || {
        let bit = rest.trailing_zeros();
        rest &= rest.wrapping_sub(1);
        (bit < u64::BITS).then(|| to_usize(bit))
    })
}

const _: () = {
    assert!(SEGMENT_PAGES < u16::MAX as u32);
    assert!(TOP_WORDS <= u8::MAX as usize);
};

#[cfg(test)]
mod tests {
    use super::super::list_layout::CHUNK_LISTS;
    use super::{LENGTH_LISTS, LISTS, chunk_list, length_list};

    #[test]
    fn a_longer_run_is_in_the_same_or_a_later_list() {
        let mut last = (0, 1);
        for pages in 1..20_000 {
            let (list, shortest) = length_list(pages);
            assert!(list < LENGTH_LISTS && shortest <= pages);
            assert!(list == last.0 || list == last.0 + 1, "{pages}");
            assert!(pages < 32 || pages - shortest <= shortest / 8 || pages >= 8192, "{pages}");
            last = (list, shortest);
        }
        assert_eq!(last.0, LENGTH_LISTS - 1);
    }

    #[test]
    fn each_number_of_chunks_of_a_slab_has_its_own_list() {
        let lists: Vec<usize> = (1..20).map(chunk_list).collect();
        assert!(lists.iter().all(|list| (LENGTH_LISTS..LISTS).contains(list)));
        assert!(lists[..CHUNK_LISTS].windows(2).all(|pair| pair[1] == pair[0] + 1));
        assert!(lists[CHUNK_LISTS..].iter().all(|&list| list == LISTS - 1));
    }

    use std::vec::Vec;
}
