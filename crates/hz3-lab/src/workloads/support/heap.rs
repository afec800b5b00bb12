//! Sources of blocks: the malloc under test, the same with a clock, or none.
//!
//! A workload is written once, over [`Heap`], and compiled for all three.

use super::block::{Block, Fault};
use super::histogram::Histogram;
use super::mapped::Mapped;
use super::random::Random;
use crate::failure;
use std::hint::black_box;
use std::ptr::NonNull;
use std::time::Instant;

/// Latencies of the calls.
#[derive(Debug)]
pub(crate) struct Latency {
    pub(crate) malloc: Histogram,
    pub(crate) free: Histogram,
}

/// A source of blocks. Every thread has its own.
pub(crate) trait Heap: Sized + Send {
    /// Whether blocks are real, so that their contents can be checked.
    const REAL: bool;

    /// Opens the heap of one thread.
    fn open(thread: usize) -> failure::Result<Self>;

    /// Allocates `size` bytes; returns NULL on failure.
    fn obtain(&mut self, size: usize) -> *mut u8;

    /// Frees a block that `obtain` returned.
    ///
    /// # Safety
    ///
    /// `start` came from `obtain` of a heap of this type and was not taken back since.
    unsafe fn take_back(&mut self, start: *mut u8);

    /// Resizes as realloc does: on NULL the old block stays valid.
    ///
    /// # Safety
    ///
    /// As for `take_back`, unless the result is NULL.
    unsafe fn resize(&mut self, start: *mut u8, size: usize) -> *mut u8;

    /// Returns the latencies if this heap measures them.
    fn into_latency(self) -> Option<Latency> {
        None
    }

    /// Allocates a block of at least 8 bytes and stamps it.
    #[inline]
    fn allocate(&mut self, size: usize) -> Result<Block, Fault> {
        // The black box keeps the compiler from removing this malloc together with its free.
        let Some(start) = NonNull::new(black_box(self.obtain(size))) else {
            return Err(Fault::Exhausted { size });
        };
        let alignment = if size < 16 { 8 } else { 16 };
        if Self::REAL && !start.as_ptr().addr().is_multiple_of(alignment) {
            return Err(Fault::Misaligned { address: start.as_ptr().addr(), size });
        }
        // SAFETY: `obtain` gave these bytes to us, at least 8 and aligned.
        let mut block = unsafe { Block::new(start, size) };
        block.stamp();
        Ok(block)
    }

    /// Grows or shrinks `block`. Its contents stay, and its stamp is renewed.
    fn reallocate(&mut self, block: Block, size: usize) -> Result<Block, Fault> {
        block.check()?;
        let (start, old) = block.into_raw();
        // SAFETY: a block of this workload came from `obtain` or `resize`, and it is consumed here.
        let moved = unsafe { self.resize(start.as_ptr(), size) };
        let moved = NonNull::new(moved).ok_or(Fault::Exhausted { size })?;
        // SAFETY: `resize` gave these bytes to us; the smaller of both sizes holds at least a word.
        let as_it_was = unsafe { Block::new(moved, old.min(size)) };
        // SAFETY: the same bytes, all of them.
        let mut block = unsafe { Block::new(moved, size) };
        as_it_was.check_moved(start.as_ptr().addr(), old)?;
        block.stamp();
        Ok(block)
    }

    /// Checks the stamp of `block` and frees it.
    #[inline]
    fn release(&mut self, block: Block) -> Result<(), Fault> {
        let intact = black_box(block.check());
        if Self::REAL {
            intact?;
        }
        let (start, _) = block.into_raw();
        // SAFETY: a block of this workload came from `obtain`, and it is consumed here.
        unsafe { self.take_back(start.as_ptr()) };
        Ok(())
    }
}

/// The process's malloc.
#[derive(Debug)]
pub(crate) struct Plain;

impl Heap for Plain {
    const REAL: bool = true;

    fn open(_thread: usize) -> failure::Result<Self> {
        Ok(Self)
    }

    #[inline]
    fn obtain(&mut self, size: usize) -> *mut u8 {
        // SAFETY: malloc takes any size.
        unsafe { libc::malloc(size) }.cast()
    }

    #[inline]
    unsafe fn take_back(&mut self, start: *mut u8) {
        // SAFETY: the caller got the block from `obtain`, so from malloc, and gives it up.
        unsafe { libc::free(start.cast()) };
    }

    unsafe fn resize(&mut self, start: *mut u8, size: usize) -> *mut u8 {
        // SAFETY: the caller's block is malloc's.
        unsafe { libc::realloc(start.cast(), size) }.cast()
    }
}

/// The process's malloc, with a clock around one call in [`Timed::EVERY`].
#[derive(Debug)]
pub(crate) struct Timed {
    latency: Latency,
    choice: Random,
    clock_ns: u64,
}

impl Timed {
    const EVERY: u32 = 8;

    #[inline]
    fn is_chosen(&mut self) -> bool {
        self.choice.below(Self::EVERY) == 0
    }

    #[inline]
    fn since(&self, start: Instant) -> u64 {
        let ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        ns.saturating_sub(self.clock_ns)
    }
}

/// Measures two readings of the clock, in nanoseconds: the smallest of many, without interruptions.
fn clock_cost_ns() -> u64 {
    let cost = || u64::try_from(Instant::now().elapsed().as_nanos()).unwrap_or(0);
    (0..1000).map(|_| cost()).min().unwrap_or(0)
}

impl Heap for Timed {
    const REAL: bool = true;

    fn open(thread: usize) -> failure::Result<Self> {
        let latency = Latency { malloc: Histogram::new()?, free: Histogram::new()? };
        Ok(Self { latency, choice: Random::for_thread(0x51ed, thread), clock_ns: clock_cost_ns() })
    }

    #[inline]
    fn obtain(&mut self, size: usize) -> *mut u8 {
        if !self.is_chosen() {
            return Plain.obtain(size);
        }
        let start = Instant::now();
        let block = black_box(Plain.obtain(size));
        self.latency.malloc.record(self.since(start));
        block
    }

    #[inline]
    unsafe fn take_back(&mut self, start: *mut u8) {
        if !self.is_chosen() {
            // SAFETY: handed through from our caller.
            return unsafe { Plain.take_back(start) };
        }
        let begin = Instant::now();
        // SAFETY: handed through from our caller.
        unsafe { Plain.take_back(start) };
        self.latency.free.record(self.since(begin));
    }

    unsafe fn resize(&mut self, start: *mut u8, size: usize) -> *mut u8 {
        let begin = Instant::now();
        // SAFETY: handed through from our caller.
        let moved = unsafe { Plain.resize(start, size) };
        self.latency.malloc.record(self.since(begin));
        moved
    }

    fn into_latency(self) -> Option<Latency> {
        Some(self.latency)
    }
}

/// No allocator: every block is the next cell of one buffer. The time of a workload on it is that
/// of the harness: random numbers, slots, rings, stamps.
#[derive(Debug)]
pub(crate) struct Nothing {
    cells: Mapped<[u64; 8]>,
    next: usize,
}

impl Nothing {
    /// 256 KiB, about the footprint of 400 blocks of the small range in the processor's cache.
    const CELLS: usize = 4096;
    /// Bytes of the buffer behind every cell, so that all bytes of a block are writable.
    const LARGEST: usize = 32 * 1024;
    const WORDS: usize = 8;
}

impl Heap for Nothing {
    const REAL: bool = false;

    fn open(_thread: usize) -> failure::Result<Self> {
        let cells = Self::CELLS + Self::LARGEST / (Self::WORDS * size_of::<u64>());
        Ok(Self { cells: Mapped::new(cells, || [0; Self::WORDS])?, next: 0 })
    }

    #[inline]
    fn obtain(&mut self, size: usize) -> *mut u8 {
        if size > Self::LARGEST {
            return std::ptr::null_mut();
        }
        self.next = (self.next + 1) % Self::CELLS;
        // The pointer derives from the whole buffer, because a block spans many cells.
        self.cells.as_mut_ptr().wrapping_add(self.next).cast()
    }

    #[inline]
    unsafe fn take_back(&mut self, start: *mut u8) {
        black_box(start);
    }

    unsafe fn resize(&mut self, _start: *mut u8, _size: usize) -> *mut u8 {
        std::ptr::null_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_stamped_and_damage_is_found_at_release() {
        let mut heap = Plain;
        let block = heap.allocate(40).unwrap();
        assert_eq!(heap.release(block), Ok(()));
        let (start, size) = heap.allocate(40).unwrap().into_raw();
        // SAFETY: the block is ours; the first byte is part of the stamp.
        let byte = unsafe { start.read() };
        // SAFETY: as for the read.
        unsafe { start.write(byte ^ 0xff) };
        // SAFETY: the parts are those of a block that was just taken apart.
        let block = unsafe { Block::new(start, size) };
        assert!(matches!(heap.release(block), Err(Fault::Damaged { size: 40, offset: 0, .. })));
        // SAFETY: the failed release left the block with us.
        unsafe { heap.take_back(start.as_ptr()) };
    }

    #[test]
    fn a_request_that_cannot_be_met_is_a_fault() {
        let size = usize::MAX / 4;
        assert_eq!(Plain.allocate(size).map(|_| ()), Err(Fault::Exhausted { size }));
    }

    #[test]
    fn a_resized_block_keeps_its_contents() {
        let mut block = Plain.allocate(100).unwrap();
        for size in [5000, 1 << 20, 64] {
            block = Plain.reallocate(block, size).unwrap();
            assert_eq!((block.size(), block.check()), (size, Ok(())));
        }
        Plain.release(block).unwrap();
    }

    #[test]
    fn a_timed_heap_samples_both_calls() {
        let mut heap = Timed::open(0).unwrap();
        for _ in 0..4000 {
            let block = heap.allocate(64).unwrap();
            heap.release(block).unwrap();
        }
        let latency = heap.into_latency().unwrap();
        for histogram in [latency.malloc, latency.free] {
            let n = histogram.count();
            assert!((300..=700).contains(&n), "{n} of 4000 is far from one in eight");
        }
    }
}
