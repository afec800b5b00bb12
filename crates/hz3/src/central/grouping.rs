//! Groups the blocks of a batch by slab.
//!
//! Each visit of a slab costs time: for its class, its header, its traffic note and its place in
//! the order of its bin. Blocks of one slab that follow one another in the batch need one visit. A
//! program that frees in another order than it allocates scatters them. Then a sort by chunk, in
//! place, costs less than a visit for each block.

use core::sync::atomic::Ordering;

use crate::base::size_class::SizeClass;
use crate::base::sync::Slot;
use crate::base::units::{CHUNK_SHIFT, to_usize};

/// The most blocks that one sort covers: a whole flush of the smallest classes.
const MAX_SORTED: usize = 1024;
/// Buckets of the sort for short and for long parts of a batch; powers of two. They are few enough
/// that the pass over the buckets costs less than the passes over the blocks.
const FEW_BUCKETS: usize = 64;
const MANY_BUCKETS: usize = 256;
/// Blocks from which a part of a batch counts as long.
const LONG_PART: usize = 192;
/// A sort does not pay for classes whose slabs have fewer blocks than this.
const MIN_SLAB_BLOCKS: usize = 16;
/// Leading blocks of a part that decide whether it is scattered.
const SAMPLE_BLOCKS: usize = 8;
/// A part is scattered if at least this many of the sampled blocks lie in another chunk than the
/// block before.
const MIN_CHANGES: usize = 3;

/// Groups the blocks of a batch by chunk if that pays: if slabs of the class have many blocks, and
/// the batch is scattered.
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

/// Returns the number of the chunk that a block starts in. Chunks are aligned in the address space.
fn chunk(slot: &Slot) -> usize {
    slot.load(Ordering::Relaxed).addr() >> CHUNK_SHIFT
}

fn is_scattered(part: &[Slot]) -> bool {
    let Some(sample) = part.first_chunk::<SAMPLE_BLOCKS>() else { return false };
    let changes = sample.windows(2).filter(|pair| chunk(&pair[0]) != chunk(&pair[1]));
    changes.count() >= MIN_CHANGES
}

/// Sorts by chunk, modulo the number of buckets, in place. Counts the blocks of each bucket,
/// computes the range of each, then swaps each block into its bucket.
///
/// Not inlined, so that the counters of many buckets are on the call stack only while it sorts.
#[inline(never)]
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
    use super::{CHUNK_SHIFT, LONG_PART, MAX_SORTED, SizeClass, Slot, group};
    use crate::base::sync::{addresses, slots};
    use std::vec::Vec;

    /// Makes a batch of `len` blocks that lie in `chunks` chunks in turn.
    fn batch(len: usize, chunks: usize) -> Vec<Slot> {
        let address = |block: usize| ((1000 + block % chunks) << CHUNK_SHIFT) | (block * 16);
        slots((0..len).map(address))
    }

    /// Counts the blocks that lie in another chunk than the one before.
    fn changes(batch: &[Slot]) -> usize {
        addresses(batch).windows(2).filter(|pair| (pair[0] ^ pair[1]) >> CHUNK_SHIFT != 0).count()
    }

    #[test]
    fn scattered_blocks_are_grouped_and_none_is_lost() {
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
    fn grouped_short_and_long_block_batches_stay_as_they_are() {
        for (size, len, chunks) in [(16, 100, 1), (16, 7, 5), (32768, 100, 20)] {
            let batch = batch(len, chunks);
            let before = addresses(&batch);
            group(SizeClass::of_size(size), &batch);
            assert_eq!(addresses(&batch), before);
        }
    }
}
