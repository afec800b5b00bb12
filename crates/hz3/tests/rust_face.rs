//! hz3 as the global allocator of a Rust program.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, realloc};
use std::collections::{BTreeMap, HashMap};
use std::thread;

#[global_allocator]
static ALLOCATOR: hz3::Hz3 = hz3::Hz3;

#[test]
fn collections_work_in_many_threads() {
    let sums: Vec<usize> = thread::scope(|scope| {
        let workers: Vec<_> = (0..8usize)
            .map(|seed| {
                scope.spawn(move || {
                    let mut map = BTreeMap::new();
                    let mut index = HashMap::new();
                    for i in 0..5_000 {
                        map.insert(i * seed, format!("value {i} of {seed}"));
                        index.insert(format!("{i}"), vec![seed; i % 50]);
                    }
                    map.values().map(String::len).sum::<usize>()
                        + index.values().map(Vec::len).sum::<usize>()
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let expected_vectors: usize = (0..5_000).map(|i| i % 50).sum();
    assert!(sums.iter().all(|&sum| sum > expected_vectors));
}

#[test]
fn every_alignment_is_kept_through_realloc() {
    for shift in 0..=24 {
        let align = 1usize << shift;
        for size in [1, 100, 5_000, 40_000, 3_000_000] {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: the size is not 0.
            let block = unsafe { alloc(layout) };
            assert!(!block.is_null() && block.addr().is_multiple_of(align), "{layout:?}");
            // SAFETY: the block has that many bytes.
            unsafe { block.write_bytes(7, size) };
            // SAFETY: the block has this layout, and only the result is used.
            let grown = unsafe { realloc(block, layout, size * 3) };
            assert!(!grown.is_null() && grown.addr().is_multiple_of(align), "grown {layout:?}");
            // SAFETY: these bytes were written above and moved along.
            let kept = unsafe { std::slice::from_raw_parts(grown, size) };
            assert!(kept.iter().all(|&byte| byte == 7), "grown {layout:?}");
            let layout = Layout::from_size_align(size * 3, align).unwrap();
            // SAFETY: the block has this layout since it grew, and is not used again.
            unsafe { dealloc(grown, layout) };
        }
    }
}

#[test]
fn zeroed_blocks_are_zero_even_where_dirty_ones_were() {
    for size in [10, 4_000, 33_000, 5_000_000] {
        let layout = Layout::from_size_align(size, 16).unwrap();
        for _ in 0..4 {
            // SAFETY: the size is not 0.
            let dirty = unsafe { alloc(layout) };
            // SAFETY: the block has that many bytes.
            unsafe { dirty.write_bytes(0xFF, size) };
            // SAFETY: the block has this layout and is not used again.
            unsafe { dealloc(dirty, layout) };
            // SAFETY: the size is not 0.
            let block = unsafe { alloc_zeroed(layout) };
            // SAFETY: the allocator has filled the block with zeros.
            let bytes = unsafe { std::slice::from_raw_parts(block, size) };
            assert!(bytes.iter().all(|&byte| byte == 0), "{size} bytes");
            // SAFETY: the block has this layout and is not used again.
            unsafe { dealloc(block, layout) };
        }
    }
}

#[test]
fn a_vector_grows_to_a_gibibyte_and_keeps_its_contents() {
    let mut vector: Vec<u64> = Vec::new();
    let last = (1u64 << 30) / 8;
    for number in 0..last {
        vector.push(number);
    }
    for number in (0..last).step_by(100_003) {
        assert_eq!(vector[usize::try_from(number).unwrap()], number);
    }
    vector.truncate(10);
    vector.shrink_to_fit();
    assert_eq!(vector, (0..10).collect::<Vec<_>>());
}

#[test]
fn statistics_count_what_is_live() {
    let blocks: Vec<Box<[u8; 1000]>> = (0..10_000).map(|_| Box::new([1; 1000])).collect();
    let during = hz3::stats();
    // Whatever other tests of this process hold or free, these blocks are live.
    assert!(during.allocated >= 10_000_000, "{during}");
    assert!(during.resident > 0 && during.reserved >= during.committed);
    assert_eq!(blocks.iter().map(|block| usize::from(block[999])).sum::<usize>(), 10_000);
}
