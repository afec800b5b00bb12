//! Bins of lengths: large blocks of one bin differ in length by at most an eighth.
//!
//! The record of a large block's first page holds its bin, so a free need not compute it.

use crate::base::units::{Pages, to_usize};

/// log2 of the pages of the longest run that has a bin, 4 MiB.
const MAX_BINNED_SHIFT: u32 = 10;
pub(crate) const MAX_BINNED: Pages = Pages::new(1 << MAX_BINNED_SHIFT);
/// The start of the lowest doubling, log2 of its pages. The shortest large block lies in it.
const SHORTEST_SHIFT: u32 = 3;
/// Bins per doubling of the length: log2.
const STEPS_SHIFT: u32 = 3;
pub(crate) const BINS: usize = to_usize((MAX_BINNED_SHIFT - SHORTEST_SHIFT) << STEPS_SHIFT) + 1;

/// Returns the bin of a run's length. That of a run longer than [`MAX_BINNED`] is [`BINS`] or more.
#[inline]
pub(crate) fn length_bin(pages: Pages) -> u32 {
    // The lowest bin is for all runs that are shorter than its doubling too.
    let pages = pages.get().max(1 << SHORTEST_SHIFT);
    let doubling = pages.ilog2() - SHORTEST_SHIFT;
    (doubling << STEPS_SHIFT) + (pages >> doubling) - (1 << STEPS_SHIFT)
}

#[cfg(test)]
mod tests {
    use super::{BINS, MAX_BINNED, length_bin};
    use crate::base::units::{Pages, to_usize};
    use std::vec::Vec;

    #[test]
    fn bins_rise_with_the_length_and_only_longer_runs_have_none() {
        let bin = |pages| to_usize(length_bin(Pages::new(pages)));
        let bins: Vec<usize> = (1..=MAX_BINNED.get()).map(bin).collect();
        assert!(bins.windows(2).all(|pair| pair[0] <= pair[1] && pair[1] <= pair[0] + 1));
        assert_eq!((bins.first(), bins.last()), (Some(&0), Some(&(BINS - 1))));
        let longer = [MAX_BINNED.get() * 9 / 8, MAX_BINNED.get() * 2, u32::MAX];
        assert!(longer.into_iter().all(|pages| bin(pages) >= BINS));
    }

    #[test]
    fn runs_of_one_bin_differ_by_at_most_an_eighth() {
        for pages in 8..MAX_BINNED.get() {
            let next = pages + pages / 8 + 1;
            assert!(length_bin(Pages::new(pages)) < length_bin(Pages::new(next)), "{pages} pages");
        }
    }
}
