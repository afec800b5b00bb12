//! Ranges of bits in slices of words that one lock protects.
//!
//! The words are atomics so that the tables they live in can be shared without `unsafe`; every
//! access is relaxed and never a read-modify-write, which costs what plain words cost.

use core::sync::atomic::{AtomicU64, Ordering};

use super::units::{to_u32, to_usize};

/// Bits of a word.
pub(crate) const WORD_BITS: u32 = u64::BITS;

/// The part of bits `start..start + count` that lies in each word: `(word index, mask)`.
fn masks(start: u32, count: u32) -> impl Iterator<Item = (usize, u64)> {
    let end = start + count;
    let first = start / WORD_BITS;
    let words = if count == 0 { 0 } else { (end - 1) / WORD_BITS - first + 1 };
    let last = (first + words).wrapping_sub(1);
    (first..first + words).map(move |word| {
        let above = if word == first { u64::MAX << (start % WORD_BITS) } else { u64::MAX };
        let below =
            if word == last { u64::MAX >> (end.wrapping_neg() % WORD_BITS) } else { u64::MAX };
        (to_usize(word), above & below)
    })
}

/// The number of set bits, without counting them in a word that has none or all: most words of a
/// long run of pages. Not every CPU has an instruction for the others.
fn count_in(word: u64) -> u32 {
    match word {
        0 => 0,
        u64::MAX => WORD_BITS,
        _ => word.count_ones(),
    }
}

/// The lowest `count` bits, of which there are 1 to 64.
pub(crate) fn ones(count: u32) -> u64 {
    u64::MAX >> (WORD_BITS - count)
}

/// Whether the set bits of a word that is not zero follow one another.
pub(crate) fn is_row(word: u64) -> bool {
    let lowest = word & word.wrapping_neg();
    word & word.wrapping_add(lowest) == 0
}

/// Sets the bits `start..start + count`.
pub(crate) fn set(words: &[AtomicU64], start: u32, count: u32) {
    for (word, mask) in masks(start, count) {
        words[word].store(words[word].load(Ordering::Relaxed) | mask, Ordering::Relaxed);
    }
}

/// Clears the bits `start..start + count`.
pub(crate) fn clear(words: &[AtomicU64], start: u32, count: u32) {
    for (word, mask) in masks(start, count) {
        words[word].store(words[word].load(Ordering::Relaxed) & !mask, Ordering::Relaxed);
    }
}

/// Sets those of the bits `start..start + count` that are set in `others`.
pub(crate) fn set_where(words: &[AtomicU64], others: &[AtomicU64], start: u32, count: u32) {
    for (word, mask) in masks(start, count) {
        let more = others[word].load(Ordering::Relaxed) & mask;
        words[word].store(words[word].load(Ordering::Relaxed) | more, Ordering::Relaxed);
    }
}

/// How many of the bits `start..start + count` are set in both.
pub(crate) fn count_both(words: &[AtomicU64], others: &[AtomicU64], start: u32, count: u32) -> u32 {
    masks(start, count)
        .map(|(word, mask)| {
            let both = words[word].load(Ordering::Relaxed) & others[word].load(Ordering::Relaxed);
            count_in(both & mask)
        })
        .sum()
}

/// How many of the bits `start..start + count` are set.
pub(crate) fn count(words: &[AtomicU64], start: u32, count: u32) -> u32 {
    masks(start, count)
        .map(|(word, mask)| count_in(words[word].load(Ordering::Relaxed) & mask))
        .sum()
}

/// The first index at or after `from` whose word, as `word_at` gives it, has the bit set.
pub(crate) fn next_set(from: u32, words: u32, word_at: impl Fn(usize) -> u64) -> Option<u32> {
    let mut word = from / WORD_BITS;
    let mut ignore = (1u64 << (from % WORD_BITS)) - 1;
    while word < words {
        let bits = word_at(to_usize(word)) & !ignore;
        if bits != 0 {
            return Some(word * WORD_BITS + bits.trailing_zeros());
        }
        ignore = 0;
        word += 1;
    }
    None
}

/// The number of words that hold `bits` bits.
pub(crate) const fn words_for(bits: usize) -> usize {
    bits.div_ceil(to_usize(WORD_BITS))
}

/// The number of words as the index type of [`next_set`].
pub(crate) const fn word_count(words: usize) -> u32 {
    to_u32(words)
}

#[cfg(test)]
mod tests {
    use super::{clear, count, is_row, next_set, ones, set};
    use core::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn ranges_cross_words_and_touch_nothing_else() {
        // Under Miri only what begins and ends at the edges of words, which takes seconds, not minutes.
        let is_edge = |bit: &u32| !cfg!(miri) || (bit + 1) % u64::BITS < 3;
        for start in (0..130u32).filter(is_edge) {
            for length in (start..=192).filter(is_edge).map(|end| end - start) {
                let words = [const { AtomicU64::new(0) }; 3];
                set(&words, start, length);
                assert_eq!(count(&words, 0, 192), length);
                assert_eq!(count(&words, start, length), length);
                let word_at = |word: usize| words[word].load(Ordering::Relaxed);
                assert_eq!(next_set(0, 3, word_at), (length > 0).then_some(start));
                clear(&words, start, length);
                assert_eq!(count(&words, 0, 192), 0);
            }
        }
    }

    #[test]
    fn a_row_is_what_has_no_gap() {
        for start in (0..64).step_by(if cfg!(miri) { 9 } else { 1 }) {
            for count in 1..=64 - start {
                let row = ones(count) << start;
                assert!(is_row(row) && row.count_ones() == count, "{row:#x}");
                for gap in start + 1..(start + count).saturating_sub(1) {
                    assert!(!is_row(row & !(1 << gap)), "{row:#x} without {gap}");
                }
            }
        }
    }
}
