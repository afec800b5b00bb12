//! The free bitmap of a slab: takes blocks from it and puts them back.
//!
//! The bitmap of a slab of at most 256 blocks lies in its header, in the cache line of the count. A
//! longer bitmap lies in the table of bitmaps.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use super::slab::{INLINE_WORDS, Slab};
use crate::base::bits::{self, WORD_BITS, is_contiguous, ones, words_for};
use crate::base::size_class::SizeClass;
use crate::base::sync::Slot;
use crate::base::units::{ChunkIndex, PAGE_BYTES, Run, to_u32, to_u64, to_usize};
use crate::segment::tables::{BITMAP_WORDS, Bitmap, Tables};

/// [`PAGE_BYTES`] for arithmetic on offsets in a slab.
const PAGE_SIZE: u32 = to_u32(PAGE_BYTES);
/// The most blocks of a slab whose bitmap lies in its header.
const INLINE_BLOCKS: u32 = to_u32(INLINE_WORDS) * WORD_BITS;

/// A slab's header and bitmap, protected by the lock of the slab's bin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocks<'a> {
    header: &'a Slab,
    /// The slab's part of the table of bitmaps; used if the header has no room for the bitmap.
    table: &'a Bitmap,
    class: SizeClass,
}

/// The reason why a block cannot be put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadBlock {
    /// No block starts at the address.
    NoBlockStart,
    /// The block is free in its slab already.
    AlreadyFree,
    /// There is no slab of the class. A slab stays as long as a block of it is in use.
    NoSlab,
    /// As `AlreadyFree`, noticed by `free` itself: the block may never have been handed out.
    NotInUse,
}

/// Returns the page of the slab in which a block starts.
fn page_of(class: SizeClass, block: u32) -> u32 {
    to_u32(to_usize(block) * class.block_bytes() / PAGE_BYTES)
}

/// Returns the page of the slab in which a block ends.
fn page_of_end(class: SizeClass, block: u32) -> u32 {
    to_u32((to_usize(block + 1) * class.block_bytes() - 1) / PAGE_BYTES)
}

/// Counts the leading blocks of a batch, at most `most`, that lie `step` bytes apart.
fn equally_spaced(batch: &[Slot], step: usize, most: u32) -> u32 {
    let batch = &batch[..to_usize(most).min(batch.len())];
    let address = |slot: &Slot| slot.load(Ordering::Relaxed).addr();
    let first = address(&batch[0]);
    let expected = |place: usize| first.wrapping_add(step.wrapping_mul(place));
    // Four at a time, which takes half of the instructions, then one by one.
    let (fours, _) = batch.as_chunks::<4>();
    let mut next = first;
    let all_follow = |four: &&[Slot; 4]| {
        let [a, b, c, d] = four.each_ref().map(address);
        let [to_c, to_d] = [step.wrapping_mul(2), step.wrapping_mul(3)];
        let follow = a == next
            && b == next.wrapping_add(step)
            && c == next.wrapping_add(to_c)
            && d == next.wrapping_add(to_d);
        next = next.wrapping_add(step.wrapping_mul(4));
        follow
    };
    let mut count = 4 * fours.iter().take_while(all_follow).count();
    while batch.get(count).is_some_and(|slot| address(slot) == expected(count)) {
        count += 1;
    }
    to_u32(count)
}

/// Takes the lowest free blocks of one word of a bitmap, one for each place, and the lowest into
/// the last place. `first` is the address of the word's first block. Returns the blocks that stay
/// free, and the number of the block behind the last one taken.
#[inline]
fn take_lowest(free: u64, first: *mut u8, size: usize, places: &[Slot]) -> (u64, u32) {
    let lowest = free.trailing_zeros();
    if is_contiguous(free) {
        let mut address = first.wrapping_add(to_usize(lowest) * size);
        let mut fill = |place: &Slot| {
            place.store(address, Ordering::Relaxed);
            address = address.wrapping_add(size);
        };
        // Four at a time, which takes half of the instructions, then one by one.
        let (others, fours) = places.as_rchunks::<4>();
        fours.iter().rev().for_each(|four| four.iter().rev().for_each(&mut fill));
        others.iter().rev().for_each(fill);
        let count = to_u32(places.len());
        return (free & !(ones(count) << lowest), lowest + count);
    }
    let (mut left, mut past) = (free, lowest);
    for place in places.iter().rev() {
        let block = left.trailing_zeros();
        place.store(first.wrapping_add(to_usize(block) * size), Ordering::Relaxed);
        left &= left - 1;
        past = block + 1;
    }
    (left, past)
}

impl<'a> Blocks<'a> {
    /// Carves a run into blocks of `class`, all of them free. Returns the slab's first chunk.
    pub(crate) fn carve(tables: &Tables, run: Run, class: SizeClass, shard: u8) -> ChunkIndex {
        let first = run.start.chunk();
        Slab::write_headers(tables, run, class, shard);
        Blocks::of(tables, first, class).fill();
        tables.set_class(first, class.slab_chunks(), class);
        first
    }

    /// Returns the blocks of the slab of `class` that starts at `first`.
    pub(crate) fn of(tables: &'a Tables, first: ChunkIndex, class: SizeClass) -> Blocks<'a> {
        Blocks { header: Slab::of(tables, first), table: tables.bitmap(first), class }
    }

    /// Returns whether the bitmap lies in the header.
    fn is_inline(&self) -> bool {
        self.class.capacity() <= INLINE_BLOCKS
    }

    /// Returns the words that hold the bitmap, and perhaps unused ones behind it.
    fn words(&self) -> &'a [AtomicU64] {
        if self.is_inline() { &self.header.inline_bits } else { self.table }
    }

    /// Returns the words of the bitmap: one bit for each block, set if it is free in the slab.
    fn bits(&self) -> &'a [AtomicU64] {
        &self.words()[..words_for(to_usize(self.class.capacity()))]
    }

    /// Returns the index of the block that starts `offset` bytes into the slab.
    ///
    /// # Errors
    /// [`BadBlock::NoBlockStart`].
    pub(super) fn block_at(&self, offset: usize) -> Result<u32, BadBlock> {
        let (divisor, offset) = (self.class.divisor(), to_u64(offset));
        let block = if divisor.covers(offset) { divisor.block_at(offset) } else { None };
        block.ok_or(BadBlock::NoBlockStart)
    }

    /// Returns whether a block is free in the slab; a hint without the lock of the slab's bin.
    pub(super) fn is_free(&self, block: u32) -> bool {
        let word = self.words()[to_usize(block / u64::BITS)].load(Ordering::Relaxed);
        word & (1 << (block % u64::BITS)) != 0
    }

    /// Makes every block free.
    fn fill(&self) {
        let mut left = self.class.capacity();
        for word in self.bits() {
            let ones = left.min(u64::BITS);
            word.store(u64::MAX >> (u64::BITS - ones), Ordering::Relaxed);
            left -= ones;
        }
        self.header.set_free(self.class.capacity());
    }

    /// Takes the lowest free blocks of the slab, whose first byte is at `start`, into `out`. The
    /// lowest one goes into the last slot, the next into the slot before it. Returns how many.
    ///
    /// The caller updates the slab's bin.
    pub(crate) fn take(&self, start: NonNull<u8>, out: &[Slot]) -> usize {
        let size = self.class.block_bytes();
        let (mut room, mut low, mut end) = (out, None, 0);
        for (index, word) in self.bits().iter().enumerate() {
            let free = word.load(Ordering::Relaxed);
            if free == 0 {
                continue;
            }
            let first_block = to_u32(index) * u64::BITS;
            let first = start.as_ptr().wrapping_add(to_usize(first_block) * size);
            low = low.or(Some(first_block + free.trailing_zeros()));
            let count = room.len().min(to_usize(free.count_ones()));
            let (rest, places) = room.split_at(room.len() - count);
            let (left, past) = take_lowest(free, first, size, places);
            word.store(left, Ordering::Relaxed);
            end = first_block + past;
            room = rest;
            if room.is_empty() {
                break;
            }
        }
        let taken = out.len() - room.len();
        self.header.set_free(self.header.free() - to_u32(taken));
        if let Some(low) = low {
            // Marks all pages from the first block to the last, also those of blocks in use
            // between. Each has a block that is not free, so none becomes a hole.
            let start = page_of(self.class, low);
            let end = page_of_end(self.class, end - 1) + 1;
            bits::set(&self.header.dirty, start, end - start);
        }
        taken
    }

    /// Sets the bits of the leading blocks of `batch` that lie in this slab, whose first byte is at
    /// `start`. Returns how many. The caller then sets the count ([`Slab::set_free`]).
    ///
    /// # Errors
    /// The reason and the address if the first block is invalid; then no bit has changed. An
    /// invalid block behind it only ends the part that is put back. By I-7 a block that the program
    /// or a cache holds is not free in the bitmap.
    pub(crate) fn put(&self, start: usize, batch: &[Slot]) -> Result<u32, (BadBlock, usize)> {
        let (words, divisor, size) = (self.words(), self.class.divisor(), self.class.block_bytes());
        let mut done = 0;
        while let Some(slot) = batch.get(done) {
            let address = slot.load(Ordering::Relaxed).addr();
            let offset = to_u64(address.wrapping_sub(start));
            if !divisor.covers(offset) {
                break;
            }
            let Some(block) = divisor.block_at(offset) else {
                if done > 0 {
                    break;
                }
                return Err((BadBlock::NoBlockStart, address));
            };
            let (word, bit) = (&words[to_usize(block / u64::BITS)], block % u64::BITS);
            // Neighbours in a batch are often neighbours in memory: set all bits of one word at
            // once.
            let next = batch.get(done + 1).map_or(0, |slot| slot.load(Ordering::Relaxed).addr());
            let step = next.wrapping_sub(address);
            let (bits, count) = if step == size {
                let most = (u64::BITS - bit).min(self.class.capacity() - block);
                let count = equally_spaced(&batch[done..], step, most);
                (ones(count) << bit, count)
            } else if step == size.wrapping_neg() {
                let count = equally_spaced(&batch[done..], step, bit + 1);
                (ones(count) << (bit + 1 - count), count)
            } else {
                (1 << bit, 1)
            };
            let free = word.load(Ordering::Relaxed);
            if free & bits != 0 {
                if done > 0 {
                    break;
                }
                let twice = to_usize(block - bit + (free & bits).trailing_zeros());
                return Err((BadBlock::AlreadyFree, start + twice * size));
            }
            word.store(free | bits, Ordering::Relaxed);
            done += to_usize(count);
        }
        Ok(to_u32(done))
    }

    /// Sets the bit of one block of this slab, whose first byte is at `start`. The caller then sets
    /// the count ([`Slab::set_free`]).
    ///
    /// # Errors
    /// The reason if the block is invalid; then no bit has changed.
    pub(super) fn put_one(&self, start: usize, address: usize) -> Result<(), BadBlock> {
        let block = self.block_at(address.wrapping_sub(start))?;
        let word = &self.words()[to_usize(block / u64::BITS)];
        let (free, bit) = (word.load(Ordering::Relaxed), 1 << (block % u64::BITS));
        if free & bit != 0 {
            return Err(BadBlock::AlreadyFree);
        }
        word.store(free | bit, Ordering::Relaxed);
        Ok(())
    }

    /// Returns the holes of the slab, one bit for each page: dirty groups of `system_page` pages in
    /// which every block is free. A hint without the lock of the slab's bin.
    pub(super) fn holes(&self, system_page: u32) -> u128 {
        let size = to_u32(self.class.block_bytes());
        let mut holes = 0;
        for page in (0..self.class.slab_pages().get()).step_by(to_usize(system_page)) {
            if bits::count(&self.header.dirty, page, system_page) == 0 {
                continue;
            }
            let (start, end) = (page * PAGE_SIZE, (page + system_page) * PAGE_SIZE);
            let first = start / size;
            let past = end.div_ceil(size).min(self.class.capacity());
            if first < past && bits::count(self.bits(), first, past - first) == past - first {
                holes |= ((1 << system_page) - 1) << page;
            }
        }
        holes
    }

    /// Moves the blocks that overlap the slab's holes from the bitmap to `claimed`. Returns the
    /// holes, one bit for each page; 0 if they have fewer than `least` pages, which is not 0.
    ///
    /// The caller has taken the slab out of its bin's order.
    pub(super) fn claim_holes(
        &self,
        system_page: u32,
        least: u32,
        claimed: &mut [u64; BITMAP_WORDS],
    ) -> u128 {
        let (bits, holes) = (self.bits(), self.holes(system_page));
        if holes.count_ones() < least {
            return 0;
        }
        let mut taken = 0;
        for block in 0..self.class.capacity() {
            let first = page_of(self.class, block);
            let last = page_of_end(self.class, block);
            // The hole of a block of three pages or more may lie between its first and its last
            // page.
            let pages = ((1 << (last - first + 1)) - 1) << first;
            if holes & pages != 0 {
                let (word, bit) = (to_usize(block / u64::BITS), 1 << (block % u64::BITS));
                let free = bits[word].load(Ordering::Relaxed);
                claimed[word] |= free & bit;
                bits[word].store(free & !bit, Ordering::Relaxed);
                taken += u32::from(free & bit != 0);
            }
        }
        self.header.set_free(self.header.free() - taken);
        holes
    }

    /// Puts claimed blocks back, and marks the `purged` pages as clean.
    pub(super) fn release_holes(&self, claimed: &[u64; BITMAP_WORDS], purged: u128) {
        let mut count = 0;
        for (word, &claim) in self.bits().iter().zip(claimed) {
            if claim != 0 {
                word.store(word.load(Ordering::Relaxed) | claim, Ordering::Relaxed);
                count += claim.count_ones();
            }
        }
        self.header.set_free(self.header.free() + count);
        for (index, word) in self.header.dirty.iter().enumerate() {
            #[expect(clippy::cast_possible_truncation, reason = "one half of the mask at a time")]
            let clean = (purged >> (index * 64)) as u64;
            word.store(word.load(Ordering::Relaxed) & !clean, Ordering::Relaxed);
        }
    }

    /// Checks I-6 of this slab; panics on a breach.
    #[cfg(any(test, feature = "check"))]
    pub(crate) fn validate(&self) {
        let set: u32 =
            self.bits().iter().map(|word| word.load(Ordering::Relaxed).count_ones()).sum();
        assert_eq!(set, self.header.free(), "I-6: free bits and count");
        assert!(set <= self.class.capacity(), "I-6: more free blocks than blocks");
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{
        BITMAP_WORDS, BadBlock, Blocks, Ordering, PAGE_BYTES, Slab, Slot, to_u32, to_usize,
    };
    use crate::base::size_class::SizeClass;
    use crate::base::units::Run;
    use crate::os::fake::Fake;
    use crate::segment::pages::Fit;
    use crate::segment::{Segments, fake_segments};
    use std::vec::Vec;

    /// Only slabs of many blocks touch pages of the table of bitmaps.
    #[test]
    fn slabs_of_few_blocks_do_not_touch_the_table_of_bitmaps() {
        let segments = fake_segments(16);
        let tables = segments.tables();
        for class in SizeClass::all().step_by(if cfg!(miri) { 17 } else { 1 }) {
            let run = segments.take(class.slab_pages(), Fit::Chunks).expect("room");
            let first = Blocks::carve(tables, run, class, 0);
            Blocks::of(tables, first, class).validate();
            let is_used = tables.bitmap(first).iter().any(|word| word.load(Ordering::Relaxed) != 0);
            assert_eq!(is_used, class.block_bytes() < 256, "{class:?}");
        }
    }

    /// A single free block whose first and last page it shares with blocks in use.
    #[test]
    fn a_claim_takes_every_block_that_overlaps_a_hole() {
        let segments = fake_segments(16);
        let tables = segments.tables();
        let classes = SizeClass::all().filter(|class| class.block_bytes() >= PAGE_BYTES);
        for class in classes.step_by(if cfg!(miri) { 11 } else { 1 }) {
            let run = segments.take(class.slab_pages(), Fit::Chunks).expect("room");
            let blocks = Blocks::of(tables, Blocks::carve(tables, run, class, 0), class);
            let out: Vec<Slot> = (0..to_usize(class.capacity())).map(|_| Slot::default()).collect();
            blocks.take(segments.arena().page_address(run.start), &out);
            for block in 0..class.capacity() {
                let mut lone = [0; BITMAP_WORDS];
                lone[to_usize(block / u64::BITS)] = 1 << (block % u64::BITS);
                blocks.release_holes(&lone, 0);
                let mut claimed = [0; BITMAP_WORDS];
                let holes = blocks.claim_holes(1, 1, &mut claimed);
                assert_eq!(claimed == lone, holes != 0, "{class:?}, block {block}");
                assert_eq!(blocks.header.free(), u32::from(holes == 0), "{class:?}, block {block}");
                if holes == 0 {
                    blocks.take(segments.arena().page_address(run.start), &out[..1]);
                }
            }
        }
    }

    /// Makes a slab with every block taken. Returns it, its blocks from the lowest on, and its
    /// start.
    fn taken(segments: &Segments<Fake>, class: SizeClass) -> (Blocks<'_>, Vec<Slot>, usize) {
        let tables = segments.tables();
        let run = segments.take(class.slab_pages(), Fit::Chunks).expect("room");
        let blocks = Blocks::of(tables, Blocks::carve(tables, run, class, 0), class);
        let start = segments.arena().page_address(run.start);
        let mut out: Vec<Slot> = (0..class.capacity()).map(|_| Slot::default()).collect();
        assert_eq!(blocks.take(start, &out), out.len());
        out.reverse();
        (blocks, out, start.addr().get())
    }

    /// Puts back rising and falling sequences and single blocks, and takes the same blocks again.
    #[test]
    fn blocks_can_be_put_back_in_any_order() {
        let segments = fake_segments(32);
        let sizes = [32768, 1500, 24, 16];
        for &size in &sizes[..if cfg!(miri) { 2 } else { 4 }] {
            let class = SizeClass::of_size(size);
            for stride in [1, 2, 5] {
                for order in 0..4 {
                    let (blocks, all, start) = taken(&segments, class);
                    let mut some: Vec<usize> = all.iter().step_by(stride).map(address).collect();
                    match order {
                        0 => (),
                        1 => some.reverse(),
                        2 => some.rotate_left(all.len() / stride / 3),
                        _ => some = some.chunks(7).rev().flatten().copied().collect(),
                    }
                    let batch: Vec<Slot> = some.iter().map(|&at| slot(at)).collect();
                    let count = to_u32(batch.len());
                    assert_eq!(blocks.put(start, &batch), Ok(count));
                    blocks.header.set_free(count);
                    blocks.validate();
                    let out: Vec<Slot> = (0..all.len()).map(|_| Slot::default()).collect();
                    let first = core::ptr::NonNull::new(all[0].load(Ordering::Relaxed)).unwrap();
                    assert_eq!(blocks.take(first, &out), batch.len());
                    some.sort_unstable();
                    assert!(out.iter().rev().take(batch.len()).map(address).eq(some));
                }
            }
        }
    }

    #[test]
    fn a_put_stops_at_the_end_of_the_slab_and_finds_a_double_free() {
        let segments = fake_segments(8);
        let class = SizeClass::of_size(64);
        let (blocks, all, start) = taken(&segments, class);
        let behind = slot(start + all.len() * 64);
        let last: Vec<Slot> =
            all[all.len() - 3..].iter().chain([&behind]).map(|at| slot(address(at))).collect();
        assert_eq!(blocks.put(start, &last), Ok(3));
        let before = slot(start.wrapping_sub(64));
        let first: Vec<Slot> =
            all[..3].iter().rev().chain([&before]).map(|at| slot(address(at))).collect();
        assert_eq!(blocks.put(start, &first), Ok(3));
        let twice = (BadBlock::AlreadyFree, address(&all[2]));
        assert_eq!(blocks.put(start, &all[2..9]), Err(twice));
        let falling: Vec<Slot> = all[2..9].iter().rev().map(|at| slot(address(at))).collect();
        assert_eq!(blocks.put(start, &falling), Err(twice));
    }

    fn slot(address: usize) -> Slot {
        Slot::new(core::ptr::without_provenance_mut(address))
    }

    fn address(slot: &Slot) -> usize {
        slot.load(Ordering::Relaxed).addr()
    }

    #[test]
    fn a_new_slab_has_no_dirty_page_of_the_slab_before_it() {
        let segments = fake_segments(8);
        let tables = segments.tables();
        let of_chunks = |chunks| SizeClass::all().find(|class| class.slab_chunks() == chunks);
        let (long, short) = (of_chunks(8).expect("a class"), of_chunks(1).expect("a class"));
        let run = segments.take(long.slab_pages(), Fit::Chunks).expect("room");
        let first = Blocks::carve(tables, run, long, 0);
        let slab = Slab::of(tables, first);
        let out: Vec<Slot> = (0..to_usize(long.capacity())).map(|_| Slot::default()).collect();
        Blocks::of(tables, first, long).take(segments.arena().page_address(run.start), &out);
        assert!(slab.may_have_holes());
        let (run, _) = Slab::dissolve(tables, first, long);
        Blocks::carve(tables, Run::new(run.start, short.slab_pages()), short, 0);
        assert!(!slab.may_have_holes());
    }
}
