//! Blocks of one slab, brought together in a batch.
//!
//! A slab has a price when blocks come back to it: its class, its header, its note of traffic, its
//! place in the order. Blocks that follow one another in the batch pay it once. Programs that free in
//! another order than they allocate scatter them; then a sort by chunk, in place, costs less than a
//! slab for each block.

use core::sync::atomic::Ordering;

use super::Slot;
use crate::base::size_class::SizeClass;
use crate::base::units::{CHUNK_SHIFT, to_usize};

/// Blocks that are sorted together: a whole flush of the smallest classes.
const MAX_SORTED: usize = 1024;
/// Chunks that are told apart in a short part of a batch and in a long one; powers of two. The pass
/// over the buckets costs less than the passes over the blocks.
const FEW_BUCKETS: usize = 64;
const MANY_BUCKETS: usize = 256;
/// A part of so many blocks is a long one.
const LONG_PART: usize = 192;
/// Slabs of fewer blocks are not worth a sort.
const MIN_SLAB_BLOCKS: usize = 16;
/// Blocks that are looked at to see whether a batch is scattered, and how many of them must lie in
/// another chunk than the one before.
const SAMPLE_BLOCKS: usize = 8;
const MIN_CHANGES: usize = 3;

/// Brings blocks of one chunk together where that is worth its price: slabs hold many of the class,
/// and the first blocks lie here and there.
pub(super) fn group(class: SizeClass, batch: &[Slot]) {
    if to_usize(class.capacity()) < MIN_SLAB_BLOCKS {
        return;
    }
    for part in batch.chunks(MAX_SORTED) {
        if !is_scattered(part) {
            continue;
        }
        if part.len() < LONG_PART {
            sort::<FEW_BUCKETS>(part);
        } else {
            sort::<MANY_BUCKETS>(part);
        }
    }
}

/// The chunk that a block starts in. The arena starts at a multiple of a chunk.
fn chunk(slot: &Slot) -> usize {
    slot.load(Ordering::Relaxed).addr() >> CHUNK_SHIFT
}

fn is_scattered(part: &[Slot]) -> bool {
    let Some(sample) = part.first_chunk::<SAMPLE_BLOCKS>() else { return false };
    let changes = sample.windows(2).filter(|pair| chunk(&pair[0]) != chunk(&pair[1]));
    changes.count() >= MIN_CHANGES
}

/// Sorts by chunk, modulo the number of buckets: counts, then every bucket's range, then swaps each
/// block into its bucket until the block that belongs here turns up.
fn sort<const BUCKETS: usize>(part: &[Slot]) {
    const { assert!(BUCKETS.is_power_of_two() && MAX_SORTED <= u16::MAX as usize) }
    let mut ends = [0u16; BUCKETS];
    for slot in part {
        ends[chunk(slot) % BUCKETS] += 1;
    }
    let mut next = [0u16; BUCKETS];
    let mut end = 0;
    for (next, bucket_end) in next.iter_mut().zip(&mut ends) {
        *next = end;
        end += *bucket_end;
        *bucket_end = end;
    }
    for bucket in 0..BUCKETS {
        while next[bucket] < ends[bucket] {
            let home = &part[usize::from(next[bucket])];
            let mut block = home.load(Ordering::Relaxed);
            loop {
                let target = (block.addr() >> CHUNK_SHIFT) % BUCKETS;
                if target == bucket {
                    break;
                }
                let place = &part[usize::from(next[target])];
                next[target] += 1;
                let displaced = place.load(Ordering::Relaxed);
                place.store(block, Ordering::Relaxed);
                block = displaced;
            }
            home.store(block, Ordering::Relaxed);
            next[bucket] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CHUNK_SHIFT, LONG_PART, MAX_SORTED, Ordering, SizeClass, Slot, group};
    use std::vec::Vec;

    /// Blocks in so many chunks in turn.
    fn batch(len: usize, chunks: usize) -> Vec<Slot> {
        let address = |block: usize| ((1000 + block % chunks) << CHUNK_SHIFT) | (block * 16);
        let slot = |block| Slot::new(core::ptr::without_provenance_mut(address(block)));
        (0..len).map(slot).collect()
    }

    fn addresses(batch: &[Slot]) -> Vec<usize> {
        batch.iter().map(|slot| slot.load(Ordering::Relaxed).addr()).collect()
    }

    /// How often a block lies in another chunk than the one before it.
    fn changes(batch: &[Slot]) -> usize {
        addresses(batch).windows(2).filter(|pair| (pair[0] ^ pair[1]) >> CHUNK_SHIFT != 0).count()
    }

    #[test]
    fn scattered_blocks_come_together_and_none_is_lost() {
        for (len, chunks) in [
            (8, 3),
            (127, 7),
            (LONG_PART, 64),
            (MAX_SORTED - 1, 200),
            (MAX_SORTED, 2),
            (3 * MAX_SORTED + 9, 40),
        ] {
            let batch = batch(len, chunks);
            let before = addresses(&batch);
            group(SizeClass::of_size(16), &batch);
            let mut after = addresses(&batch);
            assert!(
                changes(&batch) < chunks * len.div_ceil(MAX_SORTED),
                "{len} blocks, {chunks} chunks"
            );
            after.sort_unstable();
            let mut sorted = before;
            sorted.sort_unstable();
            assert_eq!(after, sorted);
        }
    }

    #[test]
    fn what_is_together_or_too_long_stays_as_it_is() {
        for (size, len, chunks) in [(16, 100, 1), (16, 7, 5), (32768, 100, 20)] {
            let batch = batch(len, chunks);
            let before = addresses(&batch);
            group(SizeClass::of_size(size), &batch);
            assert_eq!(addresses(&batch), before);
        }
    }
}
