//! Blocks of one slab, brought together in a batch.
//!
//! What a slab costs when blocks come back to it (its class, its header, its note of traffic, its place
//! in the order) is paid once for blocks that follow one another in the batch. Programs that free in
//! another order than they allocated scatter them; then two passes by chunk, a counting sort, cost
//! less than a slab for each block.

use core::sync::atomic::Ordering;

use super::Slot;
use crate::base::size_class::SizeClass;
use crate::base::units::{CHUNK_SHIFT, widen};

/// Blocks that are sorted together.
const MOST: usize = 128;
/// Chunks that are told apart; a power of two.
const BUCKETS: usize = 64;
/// Blocks that are looked at to see whether a batch is scattered, and how many of them must lie in
/// another chunk than the one before.
const SAMPLE: usize = 8;
const SCATTERED: usize = 3;

/// Brings blocks of one chunk together where that is worth its price: slabs hold many of the class,
/// and the first blocks lie here and there.
pub(super) fn group(class: SizeClass, batch: &[Slot]) {
    for part in batch.chunks(MOST) {
        if widen(class.capacity()) > part.len() && is_scattered(part) {
            sort(part);
        }
    }
}

/// The bucket of the chunk that a block starts in. The arena starts at a multiple of a chunk.
fn bucket(slot: &Slot) -> usize {
    (slot.load(Ordering::Relaxed).addr() >> CHUNK_SHIFT) % BUCKETS
}

fn is_scattered(part: &[Slot]) -> bool {
    let Some(sample) = part.first_chunk::<SAMPLE>() else { return false };
    let changes = sample.windows(2).filter(|pair| bucket(&pair[0]) != bucket(&pair[1]));
    changes.count() >= SCATTERED
}

/// Sorts by bucket: counts, then every bucket's end, then each block to its place from behind.
fn sort(part: &[Slot]) {
    let mut ends = [0u8; BUCKETS];
    for slot in part {
        ends[bucket(slot)] += 1;
    }
    let mut end = 0;
    for bucket_end in &mut ends {
        end += *bucket_end;
        *bucket_end = end;
    }
    let unsorted = [const { Slot::new(core::ptr::null_mut()) }; MOST];
    for (from, to) in part.iter().zip(&unsorted) {
        to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    for slot in &unsorted[..part.len()] {
        let place = &mut ends[bucket(slot)];
        *place -= 1;
        part[usize::from(*place)].store(slot.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

const _: () = assert!(MOST <= u8::MAX as usize && BUCKETS.is_power_of_two());

#[cfg(test)]
mod tests {
    use super::{CHUNK_SHIFT, MOST, Ordering, SizeClass, Slot, group};
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
        for (len, chunks) in [(8, 3), (MOST - 1, 7), (MOST, 64), (MOST, 2), (3 * MOST + 9, 40)] {
            let batch = batch(len, chunks);
            let before = addresses(&batch);
            group(SizeClass::of_size(16), &batch);
            let mut after = addresses(&batch);
            assert!(changes(&batch) < chunks * len.div_ceil(MOST), "{len} blocks, {chunks} chunks");
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
