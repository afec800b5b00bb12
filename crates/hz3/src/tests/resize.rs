//! Shrinking: a block that shrinks stays or moves, never fails, and is not copied if its tail can
//! be cut off.

use core::num::NonZero;
use core::ptr::NonNull;

use super::program::{Program, contents, fill};
use crate::base::size_class::MAX_SMALL;
use crate::base::units::{PAGE_BYTES, SEGMENT_BYTES};
use crate::cache::Front::Direct;
use crate::heap::Heap;
use crate::options::{Config, Limit};
use crate::os::fake::Fake;

const MIB: usize = 1 << 20;

fn heap(limit: Limit) -> Heap<Fake> {
    let arena_bytes = Some(8 * SEGMENT_BYTES);
    let config = Config { arena_bytes, limit, ..Config::new() };
    Heap::create(Fake::new(PAGE_BYTES, 1, 1 << 30), &config).expect("a heap")
}

fn allocate(heap: &Heap<Fake>, size: usize) -> NonNull<u8> {
    let block = heap.take_block(Direct, size);
    fill(block, 7, size);
    block
}

/// A small block, a run of the arena, and a mapping outside of it.
fn sizes() -> [usize; 3] {
    [MAX_SMALL, MIB, if cfg!(miri) { 33 * MIB } else { 64 * MIB }]
}

/// Shrinks a block of each kind to each smaller size; `prepare` takes the memory away first.
fn shrink_each(heap: &Heap<Fake>, prepare: impl Fn(&Heap<Fake>), restore: impl Fn(&Heap<Fake>)) {
    for size in sizes() {
        for smaller in [1, 100, MAX_SMALL / 2, MAX_SMALL + 1, size / 2 + 1, size - 1] {
            if smaller >= size {
                continue;
            }
            let block = allocate(heap, size);
            prepare(heap);
            let kept = heap.change(Direct, block, smaller).expect("shrinking never fails");
            restore(heap);
            let bytes = contents(kept, smaller);
            assert!(bytes.iter().all(|&byte| byte == 7), "{size} to {smaller}");
            heap.give_block(Direct, kept);
        }
    }
    heap.validate();
}

#[test]
fn shrinking_needs_nothing_of_the_system() {
    let heap = heap(Limit::None);
    shrink_each(&heap, |heap| heap.os().exhaust(true), |heap| heap.os().exhaust(false));
}

#[test]
fn shrinking_succeeds_at_the_limit() {
    let limit = sizes()[2] + 4 * MIB;
    let heap = heap(Limit::Bytes(NonZero::new(limit as u64).expect("not 0")));
    shrink_each(&heap, |_| (), |_| ());
}

#[test]
fn the_tail_cut_off_a_mapping_goes_back() {
    let heap = heap(Limit::None);
    let block = allocate(&heap, sizes()[2]);
    let kept = heap.change(Direct, block, MIB).expect("shrinking never fails");
    assert_eq!(heap.stats().huge, MIB as u64, "nothing was copied into the arena");
    heap.give_block(Direct, kept);
    assert_eq!(heap.stats().huge, 0);
    heap.validate();
}
