//! The prefault policy: which new slabs are prefaulted as a whole.

use crate::base::size_class::SizeClass;
use crate::base::units::PAGE_BYTES;

/// A bin that already filled this many slabs will probably fill the next one, so the whole slab is
/// prefaulted. At worst one slab per bin is wasted.
const PROVEN_SLABS: u32 = 3;
/// The longest block whose slabs are prefaulted, in bytes. A program that writes to every block of
/// at most a page writes to every page; of longer blocks it may never touch most pages.
const MAX_PREFAULTED: usize = PAGE_BYTES;

/// Returns whether the next slab of a bin should be prefaulted.
///
/// `slabs` counts the slabs of the bin; it is called only if the class qualifies, because it locks.
pub(super) fn should_prefault(class: SizeClass, slabs: impl FnOnce() -> u32) -> bool {
    class.block_bytes() <= MAX_PREFAULTED && slabs() >= PROVEN_SLABS
}

#[cfg(test)]
mod tests {
    use super::{MAX_PREFAULTED, PROVEN_SLABS, SizeClass, should_prefault};

    #[test]
    fn only_slabs_of_short_blocks_in_a_proven_bin_are_prefaulted() {
        let (short, long) = (SizeClass::of_size(16), SizeClass::of_size(MAX_PREFAULTED + 1));
        assert!(should_prefault(short, || PROVEN_SLABS));
        assert!(!should_prefault(short, || PROVEN_SLABS - 1));
        assert!(!should_prefault(long, || panic!("the bin was locked for a class of long blocks")));
    }
}
