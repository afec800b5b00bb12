//! One block of the heap under test, with marks that reveal a foreign write.

use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// A fault of the allocator that a workload found. Each ends the program with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// malloc gave NULL.
    Exhausted { size: usize },
    /// A block does not hold what was written into it.
    Damaged { address: usize, size: usize, offset: usize, expected: u64, found: u64 },
    /// malloc gave a block that is not aligned to 16 bytes (8 for the smallest).
    Misaligned { address: usize, size: usize },
    /// A thread could not be created; the number is the system's error.
    NoThread { error: i32 },
    /// A thread stopped because another one failed, whose fault is reported.
    Abandoned,
    /// A thread ended without its result.
    Vanished,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exhausted { size } => write!(f, "malloc({size}) gave NULL"),
            Self::Damaged { address, size, offset, expected, found } => write!(
                f,
                "the block of {size} bytes at {address:#x} is damaged: \
                 at byte {offset} is {found:#x} instead of {expected:#x}"
            ),
            Self::Misaligned { address, size } => {
                write!(f, "the block of {size} bytes at {address:#x} is not aligned")
            }
            Self::NoThread { error } => {
                write!(f, "no thread: {}", std::io::Error::from_raw_os_error(error))
            }
            Self::Abandoned => f.write_str("another thread of the workload has failed"),
            Self::Vanished => f.write_str("a thread ended without a result"),
        }
    }
}

/// A live block, owned and not copied. Dropping it without releasing it is a leak.
#[derive(Debug)]
#[must_use = "a block that is not given back leaks"]
pub(crate) struct Block {
    start: NonNull<u8>,
    size: usize,
}

// SAFETY: a block is plain memory; malloc's blocks may be used and freed by any thread.
unsafe impl Send for Block {}

/// The address range of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) address: usize,
    pub(crate) size: usize,
}

impl Extent {
    /// Returns the numbers of the pages that contain its bytes.
    pub(crate) fn pages(self, page_size: usize) -> std::ops::RangeInclusive<usize> {
        self.address / page_size..=(self.address + self.size - 1) / page_size
    }
}

/// A live block without its size, which the owner derives: half as large in a table as a [`Block`].
#[derive(Debug)]
#[must_use = "a block that is not given back leaks"]
pub(crate) struct Unsized(NonNull<u8>);

impl Unsized {
    /// Returns the address range of a block of `size` bytes that starts here.
    pub(crate) fn extent(&self, size: usize) -> Extent {
        Extent { address: self.0.as_ptr().addr(), size }
    }

    /// Returns the block with its size.
    ///
    /// # Safety
    ///
    /// The size must be the block's.
    pub(crate) unsafe fn with_size(self, size: usize) -> Block {
        Block { start: self.0, size }
    }
}

const WORD: usize = size_of::<u64>();

impl Block {
    /// Takes ownership of `size` bytes at `start`.
    ///
    /// # Safety
    ///
    /// The bytes must be writable until the block is taken apart, `start` aligned to 8, and `size`
    /// at least 8. If the allocator gave the bytes to another block too, only the checks fail.
    #[inline]
    pub(crate) unsafe fn new(start: NonNull<u8>, size: usize) -> Self {
        debug_assert!(size >= WORD);
        Self { start, size }
    }

    /// Returns address and size, for releasing the block.
    #[inline]
    pub(crate) fn into_raw(self) -> (NonNull<u8>, usize) {
        (self.start, self.size)
    }

    /// Drops the size.
    pub(crate) fn without_size(self) -> Unsized {
        Unsized(self.start)
    }

    /// Returns the number of bytes requested.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Returns its address range.
    pub(crate) fn extent(&self) -> Extent {
        Extent { address: self.start.as_ptr().addr(), size: self.size }
    }

    #[inline]
    fn mark(&self) -> u64 {
        mark(self.start.as_ptr().addr(), self.size)
    }

    /// Atomic, so that a block that the allocator gave to two threads is a checked error and no
    /// data race. A relaxed access compiles to an ordinary move.
    #[inline]
    fn first_word(&self) -> &AtomicU64 {
        // SAFETY: every block has at least one aligned word, and it is ours while self lives.
        unsafe { AtomicU64::from_ptr(self.start.as_ptr().cast()) }
    }

    /// Writes the mark into the first word.
    #[inline]
    pub(crate) fn stamp(&mut self) {
        self.first_word().store(self.mark(), Ordering::Relaxed);
    }

    /// Checks the first word.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let expected = self.mark();
        let found = self.first_word().load(Ordering::Relaxed);
        if found == expected { Ok(()) } else { Err(self.damage(0, expected, found)) }
    }

    /// Checks that the first word is still the mark that the block had at `address` with `size`.
    pub(crate) fn check_moved(&self, address: usize, size: usize) -> Result<(), Fault> {
        let expected = mark(address, size);
        let found = self.first_word().load(Ordering::Relaxed);
        if found == expected { Ok(()) } else { Err(self.damage(0, expected, found)) }
    }

    /// Writes every byte; the first word gets the mark.
    pub(crate) fn fill(&mut self) {
        let byte = self.pattern();
        // SAFETY: all size bytes are ours.
        unsafe { self.start.write_bytes(byte, self.size) };
        self.stamp();
    }

    /// Checks every byte of a filled block.
    pub(crate) fn check_all(&self) -> Result<(), Fault> {
        self.check()?;
        let byte = self.pattern();
        // SAFETY: all size bytes are ours, and `fill` wrote every one.
        let bytes = unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.size) };
        match bytes[WORD..].iter().position(|&found| found != byte) {
            None => Ok(()),
            Some(at) => {
                let offset = at + WORD;
                Err(self.damage(offset, byte.into(), bytes[offset].into()))
            }
        }
    }

    /// Marks the first word, the last one, and one word per 4 KiB from byte `from` on.
    pub(crate) fn stamp_pages(&mut self, from: usize) {
        let (mark, last) = (self.mark(), self.size - WORD);
        for offset in page_offsets(from, last) {
            // SAFETY: page_offsets ends at the last whole word of the block.
            let place = unsafe { self.start.add(offset) };
            // SAFETY: a whole word from there on is inside the block, which is ours.
            unsafe { place.cast::<u64>().write_unaligned(mark ^ offset as u64) };
        }
    }

    /// Checks the marks that [`Block::stamp_pages`] wrote from byte 0 on.
    pub(crate) fn check_pages(&self) -> Result<(), Fault> {
        let (mark, last) = (self.mark(), self.size - WORD);
        for offset in page_offsets(0, last) {
            let expected = mark ^ offset as u64;
            // SAFETY: page_offsets ends at the last whole word of the block.
            let place = unsafe { self.start.add(offset) };
            // SAFETY: a whole word from there on is inside the block, which is ours.
            let found = unsafe { place.cast::<u64>().read_unaligned() };
            if found != expected {
                return Err(self.damage(offset, expected, found));
            }
        }
        Ok(())
    }

    /// Marks a word at byte `from` and at every 4 KiB after it. These marks do not depend on the
    /// address, so they stay valid when realloc moves the block.
    pub(crate) fn mark_from(&mut self, from: usize) {
        for offset in (from..=self.size - WORD).step_by(4096) {
            // SAFETY: the range ends at the last whole word of the block.
            let place = unsafe { self.start.add(offset) };
            // SAFETY: a whole word from there on is inside the block, which is ours.
            unsafe { place.cast::<u64>().write_unaligned(!(offset as u64)) };
        }
    }

    /// Checks the marks that [`Block::mark_from`] wrote when the block ended at `to`.
    pub(crate) fn check_marks(&self, from: usize, to: usize) -> Result<(), Fault> {
        for offset in (from..=to.min(self.size) - WORD).step_by(4096) {
            // SAFETY: the range ends at the last whole word of the block.
            let place = unsafe { self.start.add(offset) };
            // SAFETY: a whole word from there on is inside the block, which is ours.
            let found = unsafe { place.cast::<u64>().read_unaligned() };
            if found != !(offset as u64) {
                return Err(self.damage(offset, !(offset as u64), found));
            }
        }
        Ok(())
    }

    fn pattern(&self) -> u8 {
        // The lowest byte of the mark varies with the size, the next with the address.
        self.mark().to_le_bytes()[0] | 1
    }

    fn damage(&self, offset: usize, expected: u64, found: u64) -> Fault {
        let address = self.start.as_ptr().addr();
        Fault::Damaged { address, size: self.size, offset, expected, found }
    }
}

/// Computes the mark of a block. It differs between addresses and between sizes.
#[inline]
fn mark(address: usize, size: usize) -> u64 {
    (address as u64).rotate_left(17) ^ (size as u64) ^ 0x9e37_79b9_7f4a_7c15
}

/// Returns the offset of one word per 4 KiB from `from` on, and of the last word; none overlap.
fn page_offsets(from: usize, last: usize) -> impl Iterator<Item = usize> {
    let end = (last + 1).saturating_sub(WORD).max(1);
    let last = (last >= WORD).then_some(last);
    (from.next_multiple_of(4096)..end).step_by(4096).chain(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(16))]
    struct Aligned<const N: usize>([u8; N]);

    fn block(memory: &mut [u8]) -> Block {
        let start = NonNull::new(memory.as_mut_ptr()).unwrap();
        // SAFETY: the test's array outlives the block and is not used beside it.
        unsafe { Block::new(start, memory.len()) }
    }

    fn overwrite(block: &Block, offset: usize) {
        // SAFETY: the offset is inside the block.
        let place = unsafe { block.start.add(offset) };
        // SAFETY: the byte belongs to the block, which nobody else uses.
        let byte = unsafe { place.read() };
        // SAFETY: as for the read.
        unsafe { place.write(byte.wrapping_add(1)) };
    }

    #[test]
    fn an_untouched_block_passes_and_every_changed_byte_is_found() {
        let mut memory = Aligned([0; 300]);
        let mut block = block(&mut memory.0);
        block.fill();
        assert_eq!(block.check_all(), Ok(()));
        for offset in 0..300 {
            block.fill();
            overwrite(&block, offset);
            assert!(block.check_all().is_err(), "byte {offset}");
        }
    }

    #[test]
    fn the_stamp_and_the_page_marks_are_checked() {
        let mut memory = Aligned([0; 10_000]);
        let mut block = block(&mut memory.0);
        block.stamp();
        assert_eq!(block.check(), Ok(()));
        block.stamp_pages(0);
        assert_eq!(block.check_pages(), Ok(()));
        for offset in [0, 4096, 8192, 9999] {
            block.stamp_pages(0);
            overwrite(&block, offset);
            assert!(matches!(block.check_pages(), Err(Fault::Damaged { .. })), "byte {offset}");
        }
    }

    #[test]
    fn page_marks_of_any_size_stand_apart() {
        let mut memory = Aligned([0; 8300]);
        for size in (8..64).chain(4090..4120).chain(8190..8220) {
            let mut block = block(&mut memory.0[..size]);
            block.stamp_pages(0);
            assert_eq!((block.check_pages(), block.check()), (Ok(()), Ok(())), "{size}");
        }
    }

    #[test]
    fn marks_of_a_growing_block_are_checked() {
        let mut memory = Aligned([0; 16_384]);
        let mut block = block(&mut memory.0);
        block.mark_from(128);
        assert_eq!(block.check_marks(128, 16_384), Ok(()));
        overwrite(&block, 128 + 4096);
        assert!(block.check_marks(128, 16_384).is_err());
        assert_eq!(block.check_marks(128, 256), Ok(()), "only what was marked by then");
    }

    #[test]
    fn a_fault_names_the_block() {
        let fault = Fault::Damaged { address: 0x10, size: 64, offset: 8, expected: 1, found: 2 };
        let text = fault.to_string();
        assert!(text.contains("64 bytes at 0x10") && text.contains("byte 8 is 0x2"), "{text}");
    }
}
