//! Prefaulted slabs: which slabs are prefaulted, and that their unused pages go back.

use std::vec::Vec;

use super::program::Program;
use crate::base::size_class::SizeClass;
use crate::base::units::{PAGE_BYTES, SEGMENT_BYTES, to_u64, to_usize};
use crate::cache::Front;
use crate::heap::Heap;
use crate::options::{Config, Within};
use crate::os::fake::Fake;
use crate::os::linux::Linux;
use crate::os::{Os, Span};

/// Blocks of a page each, in slabs of a chunk.
const BLOCK: usize = PAGE_BYTES;
/// The first slabs of a bin, which are not prefaulted.
const NOT_PREFAULTED: usize = 3;

fn heap<O: Os>(os: O, config: &Config) -> Heap<O> {
    Heap::create(
        os,
        &config.arena_bytes(8 * SEGMENT_BYTES).shards(Within::new(1).expect("in range")),
    )
    .expect("a heap")
}

fn fake(config: &Config) -> Heap<Fake> {
    heap(Fake::new(PAGE_BYTES, 1, 1 << 30), config)
}

fn slab_bytes() -> usize {
    SizeClass::of_size(BLOCK).slab_pages().bytes()
}

/// Takes the blocks of so many slabs, and one block of a further one.
fn fill<O: Os>(heap: &Heap<O>, slabs: usize) -> Vec<*mut u8> {
    let allocate = |_| heap.allocate(Front::Direct, BLOCK).expect("room").as_ptr();
    (0..=slabs * slab_bytes() / BLOCK).map(allocate).collect()
}

fn free<O: Os>(heap: &Heap<O>, blocks: impl IntoIterator<Item = *mut u8>) {
    for block in blocks {
        assert_eq!(heap.give(Front::Direct, block), Ok(()));
    }
}

#[test]
fn the_slab_after_the_third_is_prefaulted_if_its_pages_are_clean() {
    let heap = fake(&Config::new());
    let mut blocks = fill(&heap, NOT_PREFAULTED - 1);
    assert_eq!(heap.stats().prefaulted_bytes, 0);
    blocks.extend(fill(&heap, 1));
    assert_eq!(heap.stats().prefaulted_bytes, to_u64(slab_bytes()));
    free(&heap, blocks.drain(..));
    let blocks = fill(&heap, NOT_PREFAULTED);
    assert_eq!(
        heap.stats().prefaulted_bytes,
        to_u64(slab_bytes()),
        "dirty pages are there already"
    );
    free(&heap, blocks);
    heap.collect(Front::Direct, 0);
    free(&heap, fill(&heap, NOT_PREFAULTED));
    assert_eq!(heap.stats().prefaulted_bytes, 2 * to_u64(slab_bytes()), "purged pages are not");
    heap.validate();
}

#[test]
fn nothing_is_prefaulted_if_disabled_or_impossible() {
    let off = fake(&Config::new().prefault(false));
    free(&off, fill(&off, 2 * NOT_PREFAULTED));
    assert_eq!(off.stats().prefaulted_bytes, 0);

    let long = fake(&Config::new());
    let class = SizeClass::of_size(BLOCK + 1);
    for _ in 0..2 * NOT_PREFAULTED * to_usize(class.capacity()) {
        assert!(long.allocate(Front::Direct, BLOCK + 1).is_some());
    }
    assert_eq!(long.stats().prefaulted_bytes, 0, "of longer blocks much may stay untouched");

    let heap = fake(&Config::new());
    let blocks = fill(&heap, NOT_PREFAULTED - 1);
    heap.os().fail_call(1);
    let more = fill(&heap, NOT_PREFAULTED);
    assert_eq!(heap.stats().prefaulted_bytes, 0, "a system that refused is not asked again");
    free(&heap, blocks.into_iter().chain(more));
    heap.validate();
}

#[test]
#[cfg_attr(miri, ignore = "asks the system what is resident")]
fn a_prefaulted_slab_is_resident_at_once_and_its_unused_pages_go_back() {
    if Linux.page_size() != PAGE_BYTES {
        return;
    }
    let heap = heap(Linux, &Config::new());
    // The first purge of a process looks at what it purged, and so brings a page back.
    let first = fill(&heap, 1);
    free(&heap, first);
    heap.collect(Front::Direct, 0);
    let blocks = fill(&heap, NOT_PREFAULTED);
    if heap.stats().prefaulted_bytes == 0 {
        // Linux before 5.14.
        return;
    }
    let start = core::ptr::NonNull::new(*blocks.last().expect("a block")).expect("an address");
    let slab = Span { start, bytes: slab_bytes() };
    assert_eq!(heap.os().resident_bytes(slab), slab.bytes);
    heap.collect(Front::Direct, 0);
    assert_eq!(heap.os().resident_bytes(slab), BLOCK, "all but the block in use");
    free(&heap, blocks);
    heap.collect(Front::Direct, 0);
    assert_eq!(heap.os().resident_bytes(slab), 0);
}
