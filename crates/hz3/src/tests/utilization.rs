//! How full the slab of a block is: known patterns, and every kind of address that is no block.

use core::ptr::NonNull;
use std::vec::Vec;

use super::program::{Program, within};
use super::world::fake_heap;
use crate::base::size_class::SizeClass;
use crate::base::units::SEGMENT_BYTES;
use crate::cache::Front::{self, Direct};
use crate::heap::Heap;
use crate::os::fake::Fake;
use crate::stats::Utilization;

fn heap() -> Heap<Fake> {
    fake_heap(16)
}

fn of(heap: &Heap<Fake>, block: NonNull<u8>) -> Option<(usize, usize, usize)> {
    let found = heap.utilization(block.addr().get());
    found.map(|Utilization { block_bytes, blocks, used }| (block_bytes, blocks, used))
}

#[test]
fn the_blocks_of_a_slab_are_counted_in_every_pattern() {
    let heap = heap();
    for size in [16, 1000, 32_768] {
        let class = SizeClass::of_size(size);
        let (bytes, capacity) = (class.block_bytes(), class.capacity() as usize);
        // Without a cache a thread takes the blocks of one slab before it opens the next.
        let blocks: Vec<_> = (0..=capacity).map(|_| heap.take_block(Direct, size)).collect();
        let (last, slab) = blocks.split_last().expect("blocks");
        assert_eq!(of(&heap, slab[0]), Some((bytes, capacity, capacity)), "full");
        assert_eq!(of(&heap, *last), Some((bytes, capacity, 1)), "the first of another slab");
        let (kept, freed): (Vec<_>, Vec<_>) =
            slab.iter().enumerate().partition(|(at, _)| at % 3 == 0);
        for (_, block) in &freed {
            heap.give_block(Direct, **block);
        }
        for (_, block) in &kept {
            assert_eq!(of(&heap, **block), Some((bytes, capacity, kept.len())));
        }
        assert!(freed.iter().all(|(_, block)| of(&heap, **block).is_none()), "free in its slab");
        assert_eq!(of(&heap, within(*kept[0].1, 8)), None, "inside a block");
    }
}

#[test]
fn blocks_in_caches_count_as_used() {
    let heap = heap();
    let front = Front::Cache(heap.attach().expect("a cache"));
    let blocks = [(); 10].map(|()| heap.take_block(front, 1000));
    let (cached, held) = (blocks[0], blocks[9]);
    heap.give_block(front, cached);
    let (_, capacity, used) = of(&heap, held).expect("a block");
    assert!((10..capacity).contains(&used), "{used} blocks are out of the slab");
    assert_eq!(of(&heap, cached), of(&heap, held), "nothing tells it from one in use");
    heap.collect(front, 0);
    assert_eq!((of(&heap, held).map(|found| found.2), of(&heap, cached)), (Some(9), None));
}

#[test]
fn other_blocks_are_alone_and_other_addresses_are_none() {
    let heap = heap();
    let first = heap.take_block(Direct, 16);
    for (size, held) in [(32_769, 36_864), (3 << 20, 3 << 20), (48 << 20, 48 << 20)] {
        let block = heap.take_block(Direct, size);
        assert_eq!(of(&heap, block), Some((held, 1, 1)));
        assert_eq!(of(&heap, within(block, 4096)), None, "inside a block");
        heap.give_block(Direct, block);
        assert_eq!(of(&heap, block), None, "{size} bytes, freed");
    }
    heap.start_profile(1).expect("memory");
    let sample = heap.take_block(Direct, 16);
    assert_eq!(of(&heap, sample), Some((4096, 1, 1)), "a sample has a page of its own");
    heap.start_guards().expect("memory");
    let guarded = heap.take_block(Direct, 100);
    assert_eq!(of(&heap, guarded), Some((100, 1, 1)));
    assert_eq!(of(&heap, within(guarded, 1)), None);
    let mine = [0u8; 64];
    let base = first.addr().get() - first.addr().get() % SEGMENT_BYTES;
    let unused = base + 12 * SEGMENT_BYTES;
    for address in [0, 1, usize::MAX, mine.as_ptr().addr(), base, unused] {
        assert_eq!(heap.utilization(address), None, "{address:#x}");
    }
    assert!(heap.profile().guards().take_misuse().is_none(), "a question is no misuse");
    assert_eq!(of(&heap, first).map(|found| found.2), Some(2), "and the twin of the sample");
}
