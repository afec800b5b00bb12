//! The unsafe steps of the program that a test plays, as safe functions.
//!
//! Each test keeps the program's side of the contract: it does not use a block that it has freed.

use core::ptr::NonNull;

use crate::cache::{Front, OwnCache};
use crate::heap::{Foreign, Heap};
use crate::hot;
use crate::os::Os;

/// The heap's functions for a program.
pub(super) trait Program {
    /// Takes a block for which there is memory.
    #[track_caller]
    fn take_block(&self, front: Front<'_>, size: usize) -> NonNull<u8>;
    fn take_after_miss(&self, cache: OwnCache<'_>, size: usize) -> Option<NonNull<u8>>;
    /// Returns `None` if there is no memory; the block is then unchanged.
    fn change(&self, front: Front<'_>, block: NonNull<u8>, size: usize) -> Option<NonNull<u8>>;
    fn give(&self, front: Front<'_>, block: *mut u8) -> Result<(), Foreign>;
    /// Gives a block of the heap's back.
    #[track_caller]
    fn give_block(&self, front: Front<'_>, block: NonNull<u8>) {
        assert_eq!(self.give(front, block.as_ptr()), Ok(()));
    }
    fn give_after_miss(&self, front: Front<'_>, block: *mut u8) -> Result<(), Foreign>;
    fn end(&self, cache: OwnCache<'_>);
}

impl<O: Os> Program for Heap<O> {
    #[track_caller]
    fn take_block(&self, front: Front<'_>, size: usize) -> NonNull<u8> {
        self.allocate(front, size).expect("room")
    }

    fn take_after_miss(&self, cache: OwnCache<'_>, size: usize) -> Option<NonNull<u8>> {
        // SAFETY: a test calls this after its `pop`.
        unsafe { self.allocate_miss(cache, size) }
    }

    fn change(&self, front: Front<'_>, block: NonNull<u8>, size: usize) -> Option<NonNull<u8>> {
        // SAFETY: a test uses of its block only the result.
        unsafe { self.reallocate(front, block, size) }.expect("a block of the heap's")
    }

    fn give(&self, front: Front<'_>, block: *mut u8) -> Result<(), Foreign> {
        // SAFETY: a test uses a freed block no more.
        unsafe { self.free(front, block) }
    }

    fn give_after_miss(&self, front: Front<'_>, block: *mut u8) -> Result<(), Foreign> {
        // SAFETY: as in `give`; a test calls this after its `push`.
        unsafe { self.free_miss(front, block) }
    }

    fn end(&self, cache: OwnCache<'_>) {
        // SAFETY: a test uses the cache of an ended thread no more.
        unsafe { self.detach(cache) };
    }
}

/// Allocates by the fast path alone.
pub(super) fn pop(cache: OwnCache<'_>, size: usize) -> Option<*mut u8> {
    // SAFETY: an `OwnCache` is this thread's.
    unsafe { hot::malloc(&cache, size) }
}

/// Frees by the fast path alone; returns false if it cannot.
pub(super) fn push(cache: OwnCache<'_>, block: *mut u8) -> bool {
    // SAFETY: an `OwnCache` is this thread's, and a test uses a freed block no more.
    unsafe { hot::free(&cache, block) }
}

/// Returns the address `offset` bytes into a block that the test owns.
pub(super) fn within(block: NonNull<u8>, offset: usize) -> NonNull<u8> {
    // SAFETY: a test asks for an offset in the block.
    unsafe { block.add(offset) }
}

/// Writes `count` bytes of a block that the test owns.
pub(super) fn fill(block: NonNull<u8>, byte: u8, count: usize) {
    // SAFETY: the block has that many bytes, and only the test uses them.
    unsafe { block.write_bytes(byte, count) };
}

/// Returns the first `count` bytes of a block that the test owns.
pub(super) fn contents<'a>(block: NonNull<u8>, count: usize) -> &'a [u8] {
    // SAFETY: the heap or the test has written them, and only the test uses them.
    unsafe { core::slice::from_raw_parts(block.as_ptr(), count) }
}

/// Writes eight bytes at any place of a block that the test owns.
pub(super) fn stamp_at(block: NonNull<u8>, offset: usize, stamp: u64) {
    let place = within(block, offset);
    // SAFETY: the block has eight bytes there, and only the test uses them.
    unsafe { place.cast::<u64>().write_unaligned(stamp) };
}

/// Reads what [`stamp_at`] wrote.
pub(super) fn read_stamp(block: NonNull<u8>, offset: usize) -> u64 {
    let place = within(block, offset);
    // SAFETY: the block has eight bytes there, which the test has written.
    unsafe { place.cast::<u64>().read_unaligned() }
}
