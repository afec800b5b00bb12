//! Size classes: 16-byte steps up to 128 bytes, then eight per doubling, up to 32 KiB.
//!
//! `const` code computes every table and asserts its properties: sizes rise, neighbours differ by
//! at most 12.5 % (or 16 bytes), and the reciprocal divides exactly over a whole slab.

use super::units::{CHUNK_BYTES, CHUNK_PAGES, Pages, to_u32, to_u64, to_usize};

/// The largest block, in bytes, that comes from a slab.
pub(crate) const MAX_SMALL: usize = 32 * 1024;
/// The alignment of every block and the size of the smallest one, in bytes.
pub(crate) const MIN_ALIGN: usize = 16;

const LINEAR_LIMIT: usize = 128;
const STEPS_PER_DOUBLING: usize = 8;
const LINEAR_CLASSES: usize = LINEAR_LIMIT / MIN_ALIGN;
const DOUBLINGS: usize = (MAX_SMALL / LINEAR_LIMIT).ilog2() as usize;
/// The number of size classes, including the null class 0.
pub(crate) const CLASSES: usize = 1 + LINEAR_CLASSES + DOUBLINGS * STEPS_PER_DOUBLING;
/// The most blocks that a slab of any class holds.
pub(crate) const MAX_BLOCKS: usize = CHUNK_BYTES / MIN_ALIGN;
/// The most chunks that a slab of any class has.
pub(crate) const MAX_SLAB_CHUNKS: u32 = 8;
const MIN_BLOCKS: usize = 8;

/// Bytes per class in a table that the fast paths index by [`SizeClass::entry_offset`].
pub(crate) const ENTRY_BYTES: usize = 64;

/// A size class. Class 0 means "not a small block" and has no blocks.
///
/// The number is the index times [`ENTRY_BYTES`], so that the fast paths add it to an address
/// without a shift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct SizeClass(u32);

/// The constants of one class.
#[derive(Clone, Copy, Debug)]
struct Shape {
    block_bytes: u32,
    slab_chunks: u32,
    capacity: u32,
    /// The right shift that turns a count of free blocks into a degree from 0 to 15.
    emptiness_shift: u32,
    divisor: Divisor,
    starts: StartTest,
}

/// A test of the low bits of an address: whether a block of a class can start there.
///
/// A slab of one chunk starts at a multiple of [`CHUNK_BYTES`], so the test is exact except in the
/// slab's tail. For a longer slab it tests whether the address is a multiple of the largest power
/// of two that divides the block size.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(crate) struct StartTest(u64);

impl StartTest {
    /// The test of [`SizeClass::NONE`], which admits every address.
    pub(crate) const NONE: StartTest = StartTest(0);
    /// The largest product of an offset where a block starts. All other products are larger.
    const MAX_PRODUCT: u64 = i32::MAX as u64;

    const fn new(block_bytes: usize, slab_chunks: u32) -> StartTest {
        let lowest_bit = block_bytes & block_bytes.wrapping_neg();
        let step = if slab_chunks == 1 { block_bytes } else { lowest_bit };
        StartTest(u64::MAX / to_u64(step) + 1)
    }

    /// Returns whether a block of the class can start at this address.
    ///
    /// With the names of [`Divisor::block_at`], the product is `k * e + j * r`. If `j` is 0, it is
    /// below `2^27`, because `k` is below `2^12` and `e` below `2^15`. Otherwise it is at least
    /// `r`, which is at least `2^49`.
    #[inline(always)]
    pub(crate) fn admits(self, address: usize) -> bool {
        const { assert!(CHUNK_BYTES == 1 << u16::BITS) }
        #[expect(clippy::cast_possible_truncation, reason = "the offset in the chunk")]
        let offset = u64::from(address as u16);
        offset.wrapping_mul(self.0) <= Self::MAX_PRODUCT
    }
}

/// Divides an offset in a slab by the block size, with a multiplication instead of a division.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Divisor {
    /// `ceil(2^64 / block_bytes)`.
    reciprocal: u64,
    /// Bytes of all blocks of a slab, without the tail.
    end: u64,
}

impl Divisor {
    /// Creates the divisor of a slab of `capacity` blocks of `block_bytes` each.
    const fn new(block_bytes: usize, capacity: u32) -> Divisor {
        let bytes = to_u64(block_bytes);
        // Rounded up, because 2^64 is one more than `u64::MAX`.
        let reciprocal = u64::MAX / bytes + 1;
        Divisor { reciprocal, end: bytes * (capacity as u64) }
    }

    /// Returns whether the byte `offset` bytes into a slab belongs to a block.
    #[inline(always)]
    pub(crate) fn covers(self, offset: u64) -> bool {
        offset < self.end
    }

    /// Returns the index of the block that starts `offset` bytes into a slab; `None` if none does.
    /// The divisor must cover the offset.
    ///
    /// Let `d` be the block size, `r = ceil(2^64 / d)` and `e = r * d - 2^64`, which is below `d`.
    /// The product of `r` and `k * d + j` is `k * 2^64 + k * e + j * r`. The last two terms are
    /// below `2^64`, so the high half is `k`; and the low half is below `r` exactly if `j` is 0.
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
/// The class of each size, in 16-byte steps: the index is `(size + 15) / 16`. An entry has two
/// bytes, because the table shares the first-level cache with the program's data.
static CLASS_OF: [u16; MAX_SMALL / MIN_ALIGN + 1] = class_table();

impl SizeClass {
    /// The class of an address that is not in a slab.
    pub(crate) const NONE: SizeClass = SizeClass(0);

    /// Returns the smallest class that holds `size` bytes; `size` must be at most [`MAX_SMALL`].
    #[inline(always)]
    pub(crate) fn of_size(size: usize) -> SizeClass {
        SizeClass(u32::from(CLASS_OF[size.wrapping_add(MIN_ALIGN - 1) / MIN_ALIGN]))
    }

    /// Returns the class for `size` bytes at `align`, a power of two; `None` if no slab serves it.
    ///
    /// Rounding the size up to a multiple of the alignment is enough. Where classes lie closer than
    /// `align`, every multiple of `align` is itself a class; elsewhere all classes are multiples of
    /// `align`. Slabs start at a multiple of [`CHUNK_BYTES`]. A test covers all cases.
    pub(crate) fn of_layout(size: usize, align: usize) -> Option<SizeClass> {
        let rounded = size.max(1).checked_next_multiple_of(align)?;
        (rounded <= MAX_SMALL).then(|| SizeClass::of_size(rounded))
    }

    /// Returns the class with this index, which must be below [`CLASSES`].
    pub(crate) const fn from_index(index: usize) -> SizeClass {
        debug_assert!(index < CLASSES);
        SizeClass(to_u32(index * ENTRY_BYTES))
    }

    /// Returns the class for a number that [`SizeClass::raw`] returned.
    #[inline(always)]
    pub(crate) const fn from_raw(raw: u32) -> SizeClass {
        debug_assert!(
            to_usize(raw) < CLASSES * ENTRY_BYTES && to_usize(raw).is_multiple_of(ENTRY_BYTES)
        );
        SizeClass(raw)
    }

    /// Returns the class as a number for the class map; 0 for [`SizeClass::NONE`].
    #[inline(always)]
    pub(crate) const fn raw(self) -> u32 {
        self.0
    }

    /// Returns the byte offset of this class's entry in a table with [`ENTRY_BYTES`] per class.
    #[inline(always)]
    pub(crate) const fn entry_offset(self) -> usize {
        to_usize(self.0)
    }

    /// Returns the index of the class, from 0 for [`SizeClass::NONE`] to `CLASSES - 1`.
    #[inline(always)]
    pub(crate) const fn index(self) -> usize {
        self.entry_offset() / ENTRY_BYTES
    }

    /// Iterates over all classes that have blocks, smallest first.
    pub(crate) fn all() -> impl Iterator<Item = SizeClass> + Clone {
        (1..CLASSES).map(SizeClass::from_index)
    }

    /// Returns the bytes of a block of the class with this index, in const code.
    pub(crate) const fn block_bytes_of(index: usize) -> usize {
        size_of_class(index)
    }

    /// Returns the usable size of each block of the class, in bytes; 0 for [`SizeClass::NONE`].
    #[inline(always)]
    pub(crate) fn block_bytes(self) -> usize {
        to_usize(SHAPES[self.index()].block_bytes)
    }

    /// Returns whether a block of this class stays in place when its size becomes `size`.
    ///
    /// A block that shrinks moves only if that saves at least half of it. Returns false for
    /// [`SizeClass::NONE`] unless `size` is 0.
    #[inline(always)]
    pub(crate) fn keeps(self, size: usize) -> bool {
        let present = self.block_bytes();
        size <= present && size >= present / 2
    }

    /// Returns the number of blocks in a slab.
    pub(crate) fn capacity(self) -> u32 {
        SHAPES[self.index()].capacity
    }

    /// Returns the length of a slab of the class: 1 to 8 chunks.
    pub(crate) fn slab_chunks(self) -> u32 {
        SHAPES[self.index()].slab_chunks
    }

    /// Returns the length of a slab of the class in pages.
    pub(crate) fn slab_pages(self) -> Pages {
        Pages::new(SHAPES[self.index()].slab_chunks * CHUNK_PAGES)
    }

    /// Returns how empty a slab with `free` free blocks is: from 0 to 15, in steps of at least
    /// 1/16.
    pub(crate) fn emptiness(self, free: u32) -> u8 {
        #[expect(clippy::cast_possible_truncation, reason = "at most 15")]
        let degree = (free >> SHAPES[self.index()].emptiness_shift) as u8;
        degree
    }

    /// Returns the divisor of the class's slabs.
    pub(crate) fn divisor(self) -> Divisor {
        SHAPES[self.index()].divisor
    }

    /// Returns the test that the fast path of free applies to an address in a slab of the class.
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
        Shape { block_bytes: 0, slab_chunks: 0, capacity: 0, emptiness_shift: 0, divisor, starts };
    let mut shapes = [empty; CLASSES];
    let mut class = 1;
    while class < CLASSES {
        shapes[class] = shape(size_of_class(class));
        class += 1;
    }
    shapes
}

/// Chooses the shortest slab with at least eight blocks whose tail wastes at most 1/32 of it. If
/// there is none, chooses the slab that wastes the smallest part.
const fn shape(block: usize) -> Shape {
    let mut best_chunks = 0;
    let mut best_waste = usize::MAX;
    let mut chunks = 1;
    while chunks <= MAX_SLAB_CHUNKS {
        let slab = to_usize(chunks) * CHUNK_BYTES;
        let blocks = slab / block;
        // Waste per slab in units of 2^-20, so that slabs of different lengths compare.
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
        // The logarithm is at least 3, because a slab has at least eight blocks.
        emptiness_shift: capacity.ilog2() - 3,
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
        // `k * e + j * r` stays below 2^64 if `k` is below 2^19 and `e` below 2^15, because `r` is
        // at least 2^49: see `Divisor::block_at`.
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
    fn only_the_start_of_a_block_has_an_index() {
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
