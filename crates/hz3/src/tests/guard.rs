//! Sampled guards over a fake system: where blocks lie, what opens and closes, what is noted.

use core::ptr::NonNull;
use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

use super::program::{contents, fill, within};
use super::world::heap_with;
use crate::base::units::{PAGE_BYTES, SEGMENT_BYTES};
use crate::cache::Front;
use crate::heap::Heap;
use crate::options::Config;
use crate::os::fake::Fake;
use crate::profiler::guards::{Kind, Misuse};

const MAX_LIVE: usize = 768;
const PLACES: usize = 1024;

fn guarded_heap() -> Heap<Fake> {
    let config = Config::new().profile_rate(core::num::NonZero::new(1).expect("not 0"));
    let heap = heap_with(Fake::new(PAGE_BYTES, 1, 1 << 30), 8 * SEGMENT_BYTES, &config);
    heap.start_guards().expect("memory");
    heap
}

fn allocate(heap: &Heap<Fake>, size: usize, align: usize) -> NonNull<u8> {
    heap.allocate_aligned(Front::Direct, align, size).expect("room")
}

fn free(heap: &Heap<Fake>, block: NonNull<u8>) {
    // SAFETY: no cache is passed; a wrong free is noted, and the test writes to no freed block.
    let freed = unsafe { heap.free(Front::Direct, block.as_ptr()) };
    assert_eq!(freed, Ok(()));
}

fn is_guarded(heap: &Heap<Fake>, block: NonNull<u8>) -> bool {
    heap.profile().guards().contains(block.addr().get())
}

/// Frees a block and returns the misuse that the free noted.
fn misuse_of(heap: &Heap<Fake>, block: NonNull<u8>) -> Option<Misuse> {
    free(heap, block);
    heap.profile().guards().take_misuse()
}

#[test]
fn a_new_rate_of_guards_starts_no_profile() {
    let heap = guarded_heap();
    heap.set_profile_rate(2);
    assert!(!heap.profile().is_recording() && heap.profile_snapshot().is_none());
    assert_eq!(heap.profile().rate(), 2);
}

#[test]
fn a_block_begins_or_ends_its_place_and_opens_only_its_pages() {
    let heap = guarded_heap();
    let (mut begin, mut end) = (0, 0);
    for round in 0..if cfg!(miri) { 40 } else { 400 } {
        let align = 16 << (round % 9);
        let size = round * 83 % (32 * 1024 + 1);
        let block = allocate(&heap, size, align);
        assert!(is_guarded(&heap, block), "{size} {align}");
        let address = block.addr().get();
        assert!(address.is_multiple_of(align));
        assert_eq!(heap.usable_size(address), Some(size));
        fill(block, 1, size);
        assert_eq!(heap.os().open_pages(), size.max(1).div_ceil(PAGE_BYTES));
        begin += usize::from(address.is_multiple_of(PAGE_BYTES));
        let last = (address + size.max(1)).next_multiple_of(align);
        end += usize::from(last.is_multiple_of(PAGE_BYTES));
        free(&heap, block);
        assert_eq!(heap.os().open_pages(), 0);
    }
    assert!(begin > 10 && end > 10, "{begin} {end}");
    assert_eq!(heap.profile().guards().take_misuse(), None);
}

#[test]
fn live_guards_are_bounded_and_a_freed_place_waits() {
    if cfg!(miri) {
        return;
    }
    let heap = guarded_heap();
    let mut blocks: Vec<_> = (0..MAX_LIVE).map(|_| allocate(&heap, 100, 16)).collect();
    assert!(blocks.iter().all(|&block| is_guarded(&heap, block)));
    let ordinary = allocate(&heap, 100, 16);
    assert!(!is_guarded(&heap, ordinary), "more live guards than the bound");
    let place = |block: &NonNull<u8>| heap.profile().guards().place_of(block.addr().get());
    let places: BTreeSet<_> = blocks.iter().map(place).collect();
    assert_eq!(places.len(), MAX_LIVE);
    let first = blocks.remove(0);
    free(&heap, first);
    for _ in 0..PLACES - MAX_LIVE {
        let next = allocate(&heap, 100, 16);
        assert!(is_guarded(&heap, next) && place(&next) != place(&first), "used at once");
        free(&heap, next);
    }
    let next = allocate(&heap, 100, 16);
    assert_eq!(place(&next), place(&first), "the oldest place is next");
    for block in blocks.into_iter().chain([next, ordinary]) {
        free(&heap, block);
    }
}

#[test]
fn a_request_that_cannot_be_guarded_is_ordinary() {
    let heap = guarded_heap();
    let blocks = [allocate(&heap, 32 * 1024 + 1, 16), allocate(&heap, 100, 2 * PAGE_BYTES)];
    assert!(blocks.iter().all(|&block| !is_guarded(&heap, block)));
    heap.os().fail_call(1);
    let refused = allocate(&heap, 100, 16);
    assert!(!is_guarded(&heap, refused), "the system refused to open the page");
    let next = allocate(&heap, 100, 16);
    assert!(is_guarded(&heap, next));
    for block in blocks.into_iter().chain([refused, next]) {
        free(&heap, block);
    }
    assert_eq!(heap.profile().guards().take_misuse(), None);
}

#[test]
fn misuse_is_noted_with_its_kind() {
    for (size, offset, kind) in [(93, 93, Kind::WrittenBehind), (0, 0, Kind::WrittenBehind)] {
        let heap = guarded_heap();
        let block = allocate(&heap, size, 16);
        // The byte behind the block lies in its page.
        fill(within(block, offset), 1, 1);
        let misuse = misuse_of(&heap, block).expect("damage");
        assert_eq!((misuse.kind, misuse.address), (kind, block.addr().get() + offset));
        let misuse = misuse_of(&heap, block).expect("a double free");
        assert_eq!(misuse.kind, Kind::DoubleFree);
        assert_eq!(heap.usable_size(block.addr().get()), Some(0));
        let kind = heap.profile().guards().take_misuse().map(|misuse| misuse.kind);
        assert_eq!(kind, Some(Kind::UseAfterFree));
        let inside = within(block, 16);
        assert_eq!(misuse_of(&heap, inside).map(|misuse| misuse.kind), Some(Kind::NotABlock));
        let after = allocate(&heap, 100, 16);
        assert!(!is_guarded(&heap, after), "the process ends: no place is used again");
        free(&heap, after);
    }
}

#[test]
fn a_fault_is_attributed_to_the_nearest_block() {
    let heap = guarded_heap();
    let blocks: Vec<_> = (0..8).map(|_| allocate(&heap, 100, 16)).collect();
    let guards = heap.profile().guards();
    let kind_at = |address: usize| guards.fault_at(address).map(|misuse| misuse.kind);
    for block in &blocks {
        let start = block.addr().get();
        let found = guards.fault_at(start + 100).expect("near a block");
        assert_eq!(found.kind, Kind::Overflow);
        assert_eq!(guards.record(found.place).start(), start);
        assert_eq!(kind_at(start - 1), Some(Kind::Underflow));
    }
    free(&heap, blocks[3]);
    let start = blocks[3].addr().get();
    assert_eq!(kind_at(start), Some(Kind::UseAfterFree));
    assert_eq!(kind_at(start + 99), Some(Kind::UseAfterFree));
    assert_eq!(kind_at(start - (2 << 20)), None, "outside");
    for (at, block) in blocks.into_iter().enumerate().filter(|&(at, _)| at != 3) {
        free(&heap, block);
        assert_eq!(guards.take_misuse(), None, "{at}");
    }
}

/// The profile starts and stops beside guards, and samples keep their records until they are freed.
#[test]
fn a_guarded_block_has_a_record_while_the_profile_runs() {
    let heap = guarded_heap();
    let before = allocate(&heap, 100, 16);
    heap.start_profile(1).expect("memory");
    let recorded = allocate(&heap, 100, 16);
    assert!(is_guarded(&heap, recorded));
    heap.stop_profile();
    let after = allocate(&heap, 100, 16);
    assert!(is_guarded(&heap, after), "guards go on without the profile");
    let live: Vec<_> = heap.profile().lock().live().map(|record| record.address).collect();
    assert_eq!(live, vec![recorded.addr().get()]);
    for block in [before, recorded, after] {
        free(&heap, block);
    }
    assert_eq!(heap.profile().lock().live().count(), 0);
    assert_eq!(heap.os().open_pages(), 0);
}

#[test]
fn a_guarded_block_is_resized_with_its_contents() {
    let heap = guarded_heap();
    let mut block = allocate(&heap, 10, 16);
    fill(block, 7, 10);
    let mut kept = 10;
    for size in [100, 40_000, 5000, 3, 300] {
        // SAFETY: no cache is passed, and the test uses only the result from here on.
        let moved = unsafe { heap.reallocate(Front::Direct, block, size) };
        let moved = moved.expect("its own").expect("room");
        assert_eq!(is_guarded(&heap, moved), size <= 32 * 1024);
        kept = kept.min(size);
        assert!(contents(moved, kept).iter().all(|&byte| byte == 7), "{size}");
        block = moved;
    }
    free(&heap, block);
    assert_eq!(heap.profile().guards().take_misuse(), None);
}
