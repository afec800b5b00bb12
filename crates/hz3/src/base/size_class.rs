//! Size classes: 16-byte steps up to 128 bytes, then eight to a doubling, up to 32 KiB.
//!
//! Every table is computed by the same `const` code that proves it: sizes rise, neighbours are at
//! most 12.5 % (or 16 bytes) apart, and the reciprocal divides exactly over a whole slab.

use super::units::{CHUNK_BYTES, CHUNK_PAGES, Pages, to_u32, to_u64, to_usize};

/// The largest block, in bytes, that comes from a slab.
pub(crate) const MAX_SMALL: usize = 32 * 1024;
/// The alignment, in bytes, of every block; also the smallest block.
pub(crate) const MIN_ALIGN: usize = 16;

const LINEAR_LIMIT: usize = 128;
const STEPS_PER_DOUBLING: usize = 8;
const LINEAR_CLASSES: usize = LINEAR_LIMIT / MIN_ALIGN;
const DOUBLINGS: usize = (MAX_SMALL / LINEAR_LIMIT).ilog2() as usize;
/// Number of size classes, the null class 0 included.
pub(crate) const CLASSES: usize = 1 + LINEAR_CLASSES + DOUBLINGS * STEPS_PER_DOUBLING;
/// Most blocks that a slab of any class holds.
pub(crate) const MAX_BLOCKS: usize = CHUNK_BYTES / MIN_ALIGN;
/// Most chunks that a slab of any class has.
pub(crate) const MAX_SLAB_CHUNKS: u32 = 8;
const MIN_BLOCKS: usize = 8;

/// Bytes of a class's entry in a table that the fast paths index by [`SizeClass::entry_offset`].
pub(crate) const ENTRY_BYTES: usize = 64;

/// A size class: its index times [`ENTRY_BYTES`], so that the fast paths add it to an address
/// without shifting it. Class 0 stands for "not a small block" and has no blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct SizeClass(u32);

/// What is fixed for a class.
#[derive(Clone, Copy, Debug)]
struct Shape {
    block_bytes: u32,
    slab_chunks: u32,
    capacity: u32,
    /// How far a count of free blocks is shifted to give a degree of fullness from 0 to 15.
    fullness_shift: u32,
    divisor: Divisor,
    starts: StartTest,
}

/// Tells by the low bits of an address whether a block of a class can start there.
///
/// A slab of one chunk starts at a multiple of [`CHUNK_BYTES`], so the test is exact but for the
/// slab's tail. In a longer slab it is whether the address is a multiple of the largest power of
/// two that divides the block size.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(crate) struct StartTest(u64);

impl StartTest {
    /// A test of no class.
    pub(crate) const NONE: StartTest = StartTest(0);
    /// The products of the starts of blocks are at most this, all others above it.
    const MOST: u64 = i32::MAX as u64;

    const fn new(block_bytes: usize, slab_chunks: u32) -> StartTest {
        let lowest_bit = block_bytes & block_bytes.wrapping_neg();
        let step = if slab_chunks == 1 { block_bytes } else { lowest_bit };
        StartTest(u64::MAX / to_u64(step) + 1)
    }

    /// Whether a block of the class can start at this address.
    ///
    /// With the names of [`Divisor::block_at`], the product is `k * e + j * r`: below `2^27` if `j` is
    /// 0, as `k` is below `2^12` and `e` below `2^15`; else at least `r`, and so at least `2^49`.
    #[inline(always)]
    pub(crate) fn admits(self, address: usize) -> bool {
        const { assert!(CHUNK_BYTES == 1 << u16::BITS) }
        #[expect(clippy::cast_possible_truncation, reason = "the offset in the chunk")]
        let offset = u64::from(address as u16);
        offset.wrapping_mul(self.0) <= Self::MOST
    }
}

/// How a slab's bytes are divided into blocks: without a division.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Divisor {
    /// `ceil(2^64 / block_bytes)`.
    reciprocal: u64,
    /// Bytes of all blocks of a slab.
    end: u64,
}

impl Divisor {
    /// The division of `capacity` blocks of `block_bytes` each.
    const fn new(block_bytes: usize, capacity: u32) -> Divisor {
        let bytes = to_u64(block_bytes);
        // The ceiling: 2^64 is one more than the largest number.
        let reciprocal = u64::MAX / bytes + 1;
        Divisor { reciprocal, end: bytes * (capacity as u64) }
    }

    /// Whether the byte `offset` bytes into a slab belongs to a block.
    #[inline(always)]
    pub(crate) fn covers(self, offset: u64) -> bool {
        offset < self.end
    }

    /// The block that starts `offset` bytes into a slab, which covers it; `None` when none starts
    /// there.
    ///
    /// With `r = ceil(2^64 / d)` and `e = r * d - 2^64`, which is below `d`: the product of `r`
    /// and `k * d + j` is `k * 2^64 + k * e + j * r`. The last two terms are below `2^64`, so the
    /// high half is `k`; and the low half is below `r` exactly when `j` is 0.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the product")]
    pub(crate) fn block_at(self, offset: u64) -> Option<u32> {
        let product = u128::from(offset) * u128::from(self.reciprocal);
        let (block, remainder) = ((product >> 64) as u32, product as u64);
        (remainder < self.reciprocal).then_some(block)
    }
}

static SHAPES: [Shape; CLASSES] = SHAPE_TABLE;
const SHAPE_TABLE: [Shape; CLASSES] = shapes();
/// The class of a size, by 16-byte steps: index `(size + 15) / 16`.
/// Two bytes each, as the fast path of malloc shares the first-level cache with the program.
static CLASS_OF: [u16; MAX_SMALL / MIN_ALIGN + 1] = class_table();

impl SizeClass {
    /// The class of everything that is not a small block.
    pub(crate) const NONE: SizeClass = SizeClass(0);

    /// The smallest class that holds `size` bytes, which must be at most [`MAX_SMALL`].
    #[inline(always)]
    pub(crate) fn of_size(size: usize) -> SizeClass {
        SizeClass(u32::from(CLASS_OF[size.wrapping_add(MIN_ALIGN - 1) / MIN_ALIGN]))
    }

    /// The class for `size` bytes at `align`, a power of two; `None` when no slab serves it.
    ///
    /// Rounding the size up to a multiple of the alignment is enough: where classes lie closer
    /// than `align`, every multiple of `align` is itself a class; elsewhere all classes are
    /// multiples of `align`. Slabs start at a multiple of [`CHUNK_BYTES`]. (Tested exhaustively.)
    pub(crate) fn of_layout(size: usize, align: usize) -> Option<SizeClass> {
        let rounded = size.max(1).checked_next_multiple_of(align)?;
        (rounded <= MAX_SMALL).then(|| SizeClass::of_size(rounded))
    }

    /// The class with this index, which must be below [`CLASSES`].
    pub(crate) const fn from_index(index: usize) -> SizeClass {
        debug_assert!(index < CLASSES);
        SizeClass(to_u32(index * ENTRY_BYTES))
    }

    /// The class that [`SizeClass::raw`] gave.
    #[inline(always)]
    pub(crate) const fn from_raw(raw: u32) -> SizeClass {
        debug_assert!(
            to_usize(raw) < CLASSES * ENTRY_BYTES && to_usize(raw).is_multiple_of(ENTRY_BYTES)
        );
        SizeClass(raw)
    }

    /// The class as a number for the class map; 0 for [`SizeClass::NONE`].
    #[inline(always)]
    pub(crate) const fn raw(self) -> u32 {
        self.0
    }

    /// Bytes from the start of a table with [`ENTRY_BYTES`] a class to the entry of this one.
    #[inline(always)]
    pub(crate) const fn entry_offset(self) -> usize {
        to_usize(self.0)
    }

    /// The class's place among all, from 0 for [`SizeClass::NONE`] to `CLASSES - 1`.
    #[inline(always)]
    pub(crate) const fn index(self) -> usize {
        self.entry_offset() / ENTRY_BYTES
    }

    /// All classes that have blocks, smallest first.
    pub(crate) fn all() -> impl Iterator<Item = SizeClass> + Clone {
        (1..CLASSES).map(SizeClass::from_index)
    }

    /// Bytes of a block of the class with this index, in const code.
    pub(crate) const fn block_bytes_of(index: usize) -> usize {
        size_of_class(index)
    }

    /// Bytes of a block.
    #[inline(always)]
    pub(crate) fn block_bytes(self) -> usize {
        to_usize(SHAPES[self.index()].block_bytes)
    }

    /// Whether a block of this class stays where it is when its size becomes `size`. Shrinking moves
    /// only when it saves at least half. Never true of [`SizeClass::NONE`] and a size above 0.
    #[inline(always)]
    pub(crate) fn keeps(self, size: usize) -> bool {
        let present = self.block_bytes();
        size <= present && size >= present / 2
    }

    /// Blocks of a slab.
    pub(crate) fn capacity(self) -> u32 {
        SHAPES[self.index()].capacity
    }

    /// Chunks of a slab.
    pub(crate) fn slab_chunks(self) -> u32 {
        SHAPES[self.index()].slab_chunks
    }

    /// Pages of a slab.
    pub(crate) fn slab_pages(self) -> Pages {
        Pages::new(SHAPES[self.index()].slab_chunks * CHUNK_PAGES)
    }

    /// How empty a slab with `free` free blocks is, from 0 to 15, in steps of at least 1/16.
    pub(crate) fn emptiness(self, free: u32) -> u8 {
        #[expect(clippy::cast_possible_truncation, reason = "at most 15")]
        let degree = (free >> SHAPES[self.index()].fullness_shift) as u8;
        degree
    }

    /// How the bytes of a slab are divided into blocks.
    pub(crate) fn divisor(self) -> Divisor {
        SHAPES[self.index()].divisor
    }

    /// How the fast path of free tells whether a block of the class can start at an address.
    pub(crate) fn start_test(self) -> StartTest {
        SHAPES[self.index()].starts
    }
}

const fn size_of_class(class: usize) -> usize {
    if class <= LINEAR_CLASSES {
        return class * MIN_ALIGN;
    }
    let above = class - LINEAR_CLASSES - 1;
    let base = LINEAR_LIMIT << (above / STEPS_PER_DOUBLING);
    base + base / STEPS_PER_DOUBLING * (above % STEPS_PER_DOUBLING + 1)
}

const fn shapes() -> [Shape; CLASSES] {
    let divisor = Divisor { reciprocal: 0, end: 0 };
    let starts = StartTest::NONE;
    let empty =
        Shape { block_bytes: 0, slab_chunks: 0, capacity: 0, fullness_shift: 0, divisor, starts };
    let mut shapes = [empty; CLASSES];
    let mut class = 1;
    while class < CLASSES {
        shapes[class] = shape(size_of_class(class));
        class += 1;
    }
    shapes
}

/// The smallest slab with at least eight blocks whose tail wastes at most 1/32 of it; failing
/// that, the one that wastes least.
const fn shape(block: usize) -> Shape {
    let mut best_chunks = 0;
    let mut best_waste = usize::MAX;
    let mut chunks = 1;
    while chunks <= MAX_SLAB_CHUNKS {
        let slab = to_usize(chunks) * CHUNK_BYTES;
        let blocks = slab / block;
        // Waste in parts of 2^20, so that slabs of different lengths compare.
        let waste = ((slab % block) << 20) / slab;
        if blocks >= MIN_BLOCKS && waste < best_waste {
            best_chunks = chunks;
            best_waste = waste;
            if waste <= (1 << 20) / 32 {
                break;
            }
        }
        chunks += 1;
    }
    assert!(best_chunks > 0, "a slab of every class holds at least eight blocks");
    let capacity = to_u32(to_usize(best_chunks) * CHUNK_BYTES / block);
    Shape {
        block_bytes: to_u32(block),
        slab_chunks: best_chunks,
        capacity,
        // At least eight blocks, so the logarithm is at least 3.
        fullness_shift: capacity.ilog2() - 3,
        divisor: Divisor::new(block, capacity),
        starts: StartTest::new(block, best_chunks),
    }
}

const fn class_table() -> [u16; MAX_SMALL / MIN_ALIGN + 1] {
    let mut table = [0u16; MAX_SMALL / MIN_ALIGN + 1];
    let mut class = 1;
    let mut step = 0;
    while step < table.len() {
        if step * MIN_ALIGN > size_of_class(class) {
            class += 1;
        }
        #[expect(clippy::cast_possible_truncation, reason = "CLASSES is asserted below 256")]
        {
            table[step] = SizeClass::from_index(class).raw() as u16;
        }
        step += 1;
    }
    table
}

const _: () = {
    assert!(CLASSES < 256);
    assert!(size_of_class(CLASSES - 1) == MAX_SMALL);
    let mut class = 1;
    while class < CLASSES {
        let size = size_of_class(class);
        assert!(size.is_multiple_of(MIN_ALIGN));
        let shape = SHAPE_TABLE[class];
        assert!(to_usize(shape.capacity) <= MAX_BLOCKS);
        if class > 1 {
            let below = size_of_class(class - 1);
            assert!(size > below);
            assert!(size - below == MIN_ALIGN || (size - below) * 8 <= below);
        }
        // `k * e + j * r` stays below 2^64 with `k` below 2^19 and `e` below 2^15, as `r` is at
        // least 2^49: see `Divisor::block_at`.
        assert!(size.ilog2() <= 15 && shape.divisor.end < 1 << 19);
        class += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::{CHUNK_BYTES, CLASSES, MAX_SMALL, SizeClass, to_u64, to_usize};

    #[test]
    fn every_size_has_the_smallest_class_that_holds_it() {
        for size in 0..=MAX_SMALL {
            let class = SizeClass::of_size(size);
            assert!(class.block_bytes() >= size.max(1), "size {size}");
            let below = SizeClass::from_index(class.index() - 1);
            assert!(class.index() == 1 || below.block_bytes() < size, "size {size}");
        }
    }

    #[test]
    fn a_layout_gets_a_class_whose_blocks_are_aligned() {
        for shift in 0..=15 {
            let align = 1usize << shift;
            for size in (1..=MAX_SMALL).step_by(if cfg!(miri) { 997 } else { 1 }) {
                let Some(class) = SizeClass::of_layout(size, align) else {
                    assert!(size.next_multiple_of(align) > MAX_SMALL);
                    continue;
                };
                assert!(class.block_bytes() >= size);
                assert_eq!(class.block_bytes() % align, 0, "size {size} align {align}");
            }
        }
    }

    #[test]
    fn only_block_starts_have_an_index() {
        for class in SizeClass::all().step_by(if cfg!(miri) { 17 } else { 1 }) {
            let size = class.block_bytes();
            let divisor = class.divisor();
            for block in 0..class.capacity() {
                let offset = to_u64(block as usize * size);
                assert_eq!(divisor.block_at(offset), Some(block));
                assert_eq!(divisor.block_at(offset + 1), None);
                assert_eq!(divisor.block_at(offset + to_u64(size) - 1), None);
                assert!(divisor.covers(offset + to_u64(size) - 1));
                let (start, starts) = (CHUNK_BYTES + to_usize(block) * size, class.start_test());
                assert!(starts.admits(start), "{class:?}, block {block}");
                let step = 1 << size.trailing_zeros();
                let inside = if class.slab_chunks() == 1 { 1..size } else { 1..step };
                let all = if cfg!(miri) { size / 16 } else { 1 };
                assert!(!inside.step_by(all).any(|byte| starts.admits(start + byte)), "{class:?}");
            }
            assert!(!divisor.covers(to_u64(class.capacity() as usize * size)));
        }
        assert_eq!(SizeClass::all().count(), CLASSES - 1);
    }
}
