//! The trait `Allocator` of the crate `allocator-api2`, implemented by hz3.
//!
//! `cargo test -p hz3 --features allocator-api2`
#![cfg(all(feature = "allocator-api2", not(feature = "nightly")))]

use std::alloc::Layout;

use allocator_api2::alloc::Allocator;
use allocator_api2::vec::Vec;
use hz3::Hz3;

#[test]
fn a_collection_grows_and_shrinks_in_hz3() {
    let mut numbers: Vec<u64, Hz3> = Vec::new_in(Hz3);
    numbers.extend(0..100_000);
    numbers.truncate(10);
    numbers.shrink_to_fit();
    assert_eq!(numbers.iter().sum::<u64>(), 45);
    assert!(hz3::stats().allocated > 0);
}

#[test]
fn no_bytes_need_no_block_and_grow_to_one() {
    let none = Layout::from_size_align(0, 64).unwrap();
    let some = Layout::from_size_align(100, 64).unwrap();
    let empty = Hz3.allocate(none).unwrap();
    assert_eq!(empty.len(), 0);
    assert_eq!(empty.cast::<u8>().as_ptr().addr() % 64, 0);
    // SAFETY: the block has the first layout, and the second one is larger.
    let grown = unsafe { Hz3.grow_zeroed(empty.cast(), none, some) }.unwrap();
    // SAFETY: the allocator has filled the block with zeros.
    assert!(unsafe { grown.as_ref() }.iter().all(|&byte| byte == 0));
    // SAFETY: the block has the first layout, and the second one is smaller.
    let shrunk = unsafe { Hz3.shrink(grown.cast(), some, none) }.unwrap();
    // SAFETY: the block has this layout and is not used again.
    unsafe { Hz3.deallocate(shrunk.cast(), none) };
}

#[test]
fn a_new_alignment_moves_the_contents() {
    let old = Layout::from_size_align(40, 8).unwrap();
    let new = Layout::from_size_align(80, 4096).unwrap();
    let block = Hz3.allocate(old).unwrap().cast::<u8>();
    // SAFETY: the block has 40 bytes.
    unsafe { block.write_bytes(7, 40) };
    // SAFETY: the block has the first layout, and the second one is larger.
    let moved = unsafe { Hz3.grow(block, old, new) }.unwrap();
    assert_eq!(moved.cast::<u8>().as_ptr().addr() % 4096, 0);
    // SAFETY: the first 40 bytes have been written, and no others are read.
    let kept = unsafe { core::slice::from_raw_parts(moved.cast::<u8>().as_ptr(), 40) };
    assert!(kept.iter().all(|&byte| byte == 7));
    // SAFETY: the block has this layout and is not used again.
    unsafe { Hz3.deallocate(moved.cast(), new) };
}
