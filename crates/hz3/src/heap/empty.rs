//! Blocks of size 0: addresses of their own, without memory.
//!
//! They lie in chunk 0 of the arena, which is reserved and never committed: whoever reads or writes
//! through one is stopped by the processor. They are taken and given back by slow paths alone.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::base::size_class::MIN_ALIGN;
use crate::base::units::{CHUNK_BYTES, widen};

const WORDS: usize = CHUNK_BYTES / MIN_ALIGN / widen(u64::BITS);

/// Which of the addresses are handed out. Nothing is published with an address, so all accesses
/// are relaxed.
#[derive(Debug)]
pub(super) struct EmptyBlocks {
    taken: [AtomicU64; WORDS],
    /// The word where the last address was found.
    hint: AtomicUsize,
}

/// The address is not that of a block in use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotTaken;

impl EmptyBlocks {
    pub(super) const fn new() -> EmptyBlocks {
        EmptyBlocks { taken: [const { AtomicU64::new(0) }; WORDS], hint: AtomicUsize::new(0) }
    }

    /// The offset in the arena of a block that is nobody's yet; `None` when all are in use.
    pub(super) fn take(&self) -> Option<usize> {
        let hint = self.hint.load(Ordering::Relaxed);
        (0..WORDS).map(|step| (hint + step) % WORDS).find_map(|word| self.take_of(word))
    }

    fn take_of(&self, word: usize) -> Option<usize> {
        loop {
            let free = !self.taken[word].load(Ordering::Relaxed);
            let bit = (free != 0).then(|| free.trailing_zeros())?;
            let before = self.taken[word].fetch_or(1 << bit, Ordering::Relaxed);
            if before & (1 << bit) == 0 {
                self.hint.store(word, Ordering::Relaxed);
                return Some((word * widen(u64::BITS) + widen(bit)) * MIN_ALIGN);
            }
        }
    }

    /// Whether an offset in the arena lies where these blocks are.
    pub(super) fn covers(offset: usize) -> bool {
        offset < CHUNK_BYTES
    }

    /// Gives the block at an offset back, which [`EmptyBlocks::covers`].
    pub(super) fn give(&self, offset: usize) -> Result<(), NotTaken> {
        let block = offset / MIN_ALIGN;
        let (word, bit) = (block / widen(u64::BITS), block % widen(u64::BITS));
        let is_start = offset.is_multiple_of(MIN_ALIGN);
        let was_taken = is_start
            && self.taken[word].fetch_and(!(1 << bit), Ordering::Relaxed) & (1 << bit) != 0;
        was_taken.then_some(()).ok_or(NotTaken)
    }
}

#[cfg(test)]
mod tests {
    use super::{CHUNK_BYTES, EmptyBlocks, MIN_ALIGN, NotTaken};
    use std::collections::BTreeSet;

    #[test]
    fn every_address_is_handed_out_once_and_again_when_it_came_back() {
        let blocks = EmptyBlocks::new();
        let all: BTreeSet<usize> = std::iter::from_fn(|| blocks.take()).collect();
        assert_eq!(all.len(), CHUNK_BYTES / MIN_ALIGN);
        assert!(all.iter().all(|offset| offset % MIN_ALIGN == 0 && EmptyBlocks::covers(*offset)));
        assert_eq!(blocks.give(16 * 100 + 1), Err(NotTaken));
        assert_eq!(blocks.give(16 * 100), Ok(()));
        assert_eq!(blocks.give(16 * 100), Err(NotTaken));
        assert_eq!((blocks.take(), blocks.take()), (Some(16 * 100), None));
    }
}
