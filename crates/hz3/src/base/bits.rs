//! Ranges of bits in slices of words that one lock protects.
//!
//! The words are atomics, so that the tables they live in can be shared without `unsafe`. Every
//! access is relaxed and none is a read-modify-write, so they cost no more than plain words.

use core::sync::atomic::{AtomicU64, Ordering};

use super::units::{to_u32, to_usize};

pub(crate) const WORD_BITS: u32 = u64::BITS;

/// Splits the bits `start..start + count` by word: returns the index and the mask of each word.
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

/// Counts the set bits of a word.
///
/// Most words of a long run of pages are all zeros or all ones. These skip `count_ones`, because
/// not every CPU has an instruction for it.
fn count_in(word: u64) -> u32 {
    match word {
        0 => 0,
        u64::MAX => WORD_BITS,
        _ => word.count_ones(),
    }
}

/// Returns a word whose lowest `count` bits are set; `count` is from 1 to 64.
pub(crate) fn ones(count: u32) -> u64 {
    u64::MAX >> (WORD_BITS - count)
}

/// Returns whether the set bits of `word`, which is not zero, are contiguous.
pub(crate) fn is_contiguous(word: u64) -> bool {
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

/// Sets each bit of `start..start + count` that is set in `others`.
pub(crate) fn set_where(words: &[AtomicU64], others: &[AtomicU64], start: u32, count: u32) {
    for (word, mask) in masks(start, count) {
        let more = others[word].load(Ordering::Relaxed) & mask;
        words[word].store(words[word].load(Ordering::Relaxed) | more, Ordering::Relaxed);
    }
}

/// Counts the bits of `start..start + count` that are set in both slices.
pub(crate) fn count_both(words: &[AtomicU64], others: &[AtomicU64], start: u32, count: u32) -> u32 {
    masks(start, count)
        .map(|(word, mask)| {
            let both = words[word].load(Ordering::Relaxed) & others[word].load(Ordering::Relaxed);
            count_in(both & mask)
        })
        .sum()
}

/// Counts the bits of `start..start + count` that are set.
pub(crate) fn count(words: &[AtomicU64], start: u32, count: u32) -> u32 {
    masks(start, count)
        .map(|(word, mask)| count_in(words[word].load(Ordering::Relaxed) & mask))
        .sum()
}

/// Finds the first set bit at or after `from`. `word_at` returns the word of an index below
/// `words`.
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

/// Returns the number of words that hold `bits` bits.
pub(crate) const fn words_for(bits: usize) -> usize {
    bits.div_ceil(to_usize(WORD_BITS))
}

/// Converts a number of words to the type that [`next_set`] takes.
pub(crate) const fn word_count(words: usize) -> u32 {
    to_u32(words)
}

#[cfg(test)]
mod tests {
    use super::{clear, count, is_contiguous, next_set, ones, set};
    use core::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn setting_a_range_across_words_changes_no_other_bit() {
        // Under Miri only ranges that begin and end at the edges of words: seconds, not minutes.
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
    fn a_word_with_a_gap_is_not_contiguous() {
        for start in (0..64).step_by(if cfg!(miri) { 9 } else { 1 }) {
            for count in 1..=64 - start {
                let row = ones(count) << start;
                assert!(is_contiguous(row) && row.count_ones() == count, "{row:#x}");
                for gap in start + 1..(start + count).saturating_sub(1) {
                    assert!(!is_contiguous(row & !(1 << gap)), "{row:#x} without {gap}");
                }
            }
        }
    }
}
