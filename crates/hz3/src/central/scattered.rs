//! Puts batches back whose blocks lie scattered over slabs.
//!
//! Each visit of a slab costs time: for its notes, its counts and its place in the order of its
//! bin. Blocks of one slab that follow one another in the batch need one visit. A program that
//! frees in another order than it allocates scatters them. Then the bits of all blocks are set
//! first, and each slab is visited once, at the end.

use core::sync::atomic::Ordering;

use super::Central;
use super::bin::BinView;
use super::slab::Slab;
use super::visits::Visits;
use crate::base::sync::Slot;
use crate::base::units::CHUNK_SHIFT;
use crate::os::Os;
use crate::segment::Segments;

/// Leading blocks of a batch that decide whether it is scattered.
const SAMPLE_BLOCKS: usize = 8;
/// A batch is scattered if at least this many of the sampled blocks lie in another chunk than the
/// block before.
const MIN_CHANGES: usize = 3;

/// Returns whether the blocks of a batch lie scattered over chunks, by a sample. Chunks are aligned
/// in the address space.
pub(super) fn is_scattered(batch: &[Slot]) -> bool {
    let chunk = |slot: &Slot| slot.load(Ordering::Relaxed).addr() >> CHUNK_SHIFT;
    let Some(sample) = batch.first_chunk::<SAMPLE_BLOCKS>() else { return false };
    let changes = sample.windows(2).filter(|pair| chunk(&pair[0]) != chunk(&pair[1]));
    changes.count() >= MIN_CHANGES
}

impl Central {
    /// As [`Central::put_grouped`], for a scattered batch.
    ///
    /// Not inlined, so that the visits are on the call stack only while they are needed.
    #[inline(never)]
    pub(super) fn put_scattered<O: Os>(
        &self,
        segments: &Segments<O>,
        mut view: BinView<'_>,
        shard: usize,
        batch: &[Slot],
    ) -> usize {
        let (tables, class) = (view.tables, view.class);
        let mut visits = Visits::new();
        let mut others = 0;
        for slot in batch {
            let block = slot.load(Ordering::Relaxed);
            let Some(first) = self.locate(segments, class, block) else { continue };
            // While the lock of a slab's bin is held, the slab stays in that bin.
            if Slab::of(tables, first).shard() != shard {
                batch[others].store(block, Ordering::Relaxed);
                others += 1;
                continue;
            }
            let start = segments.arena().address(first.offset());
            if let Err(reason) = view.put_one(&mut visits, first, start, block.addr()) {
                self.note_fault(reason, class, block.addr());
            } else if visits.is_full() {
                self.settle(segments, &mut view, &mut visits);
            }
        }
        self.settle(segments, &mut view, &mut visits);
        others
    }

    /// Makes all visits.
    fn settle<O: Os>(&self, segments: &Segments<O>, view: &mut BinView<'_>, visits: &mut Visits) {
        for &visit in visits.drain() {
            if let Some(retired) = view.settle_visit(visit) {
                self.dissolve(segments, view.class, retired);
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Central, Ordering, Slot};
    use crate::base::size_class::SizeClass;
    use crate::base::sync::slots;
    use crate::base::units::to_usize;
    use crate::central::blocks::BadBlock;
    use crate::central::visits::MAX_VISITS;
    use crate::options::{Config, Within};
    use crate::os::fake::Fake;
    use crate::segment::{Segments, fake_segments};
    use std::vec::Vec;

    /// Returns a class with 16 blocks in a slab.
    fn class() -> SizeClass {
        SizeClass::of_size(4096)
    }

    /// Takes all blocks of `slabs` new slabs, which belong to two shards in turn, and mixes them.
    fn mixed_blocks(slabs: usize) -> (Segments<Fake>, Central, Vec<Slot>) {
        let segments = fake_segments(16);
        let two = Within::new(2).expect("in range");
        let central = Central::create(segments.os(), &Config::new().shards(two)).expect("bins");
        let per_slab = to_usize(class().capacity());
        let blocks: Vec<Slot> = (0..slabs * per_slab).map(|_| Slot::default()).collect();
        for (index, part) in blocks.chunks(per_slab).enumerate() {
            assert_eq!(central.fetch(&segments, index % 2, class(), part), per_slab);
        }
        // Their number has no factor in common with the step, so each block comes once.
        let count = blocks.len();
        assert!(!count.is_multiple_of(31));
        let mixed = (0..count).map(|index| blocks[index * 31 % count].load(Ordering::Relaxed));
        let mixed = mixed.map(Slot::new).collect();
        (segments, central, mixed)
    }

    fn slab_counts(central: &Central) -> [u32; 2] {
        [0, 1].map(|shard| central.bin(shard, class()).state.lock().slabs())
    }

    /// More slabs than fit into the list of visits; each of the two shards has its part.
    #[test]
    fn scattered_blocks_come_back_and_every_slab_is_settled() {
        let (segments, central, blocks) = mixed_blocks(2 * MAX_VISITS + 20);
        assert_eq!(slab_counts(&central), [138, 138]);
        let (some, rest) = blocks.split_at(blocks.len() / 2);
        assert!(super::is_scattered(some) && super::is_scattered(rest));
        central.put(&segments, class(), some);
        central.validate(&segments);
        let free = |shard| central.bin(shard, class()).free_blocks();
        assert_eq!(free(0) + free(1), some.len() as u64);
        central.put(&segments, class(), rest);
        central.validate(&segments);
        // Of the empty slabs each bin keeps one.
        assert_eq!(slab_counts(&central), [1, 1]);
        central.end_if_faulty();
    }

    #[test]
    fn an_invalid_block_of_a_scattered_batch_is_noted_and_the_others_come_back() {
        for (offset, reason) in [(0, BadBlock::AlreadyFree), (48, BadBlock::NoBlockStart)] {
            let (segments, central, blocks) = mixed_blocks(20);
            let bad = blocks[0].load(Ordering::Relaxed).wrapping_add(offset);
            let batch = blocks.iter().map(|block| block.load(Ordering::Relaxed));
            let batch: Vec<Slot> = batch.chain([bad]).map(Slot::new).collect();
            assert!(super::is_scattered(&batch));
            central.put(&segments, class(), &batch);
            assert_eq!(central.fault.lock().take(), Some((reason, class(), bad.addr())));
            central.validate(&segments);
            assert_eq!(slab_counts(&central), [1, 1]);
        }
    }

    #[test]
    fn only_batches_that_change_chunks_often_are_scattered() {
        // The blocks of a batch of `len` lie in `chunks` chunks in turn.
        let is_scattered = |len: usize, chunks: usize| {
            let address =
                |block: usize| ((1000 + block % chunks) << super::CHUNK_SHIFT) + block * 16;
            super::is_scattered(&slots((0..len).map(address)))
        };
        assert!(is_scattered(8, 2) && is_scattered(1024, 7));
        assert!(!is_scattered(8, 1) && !is_scattered(7, 5) && !is_scattered(0, 1));
    }
}
