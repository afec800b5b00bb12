//! Bins: the slabs of one class in one shard, and the lock that protects them.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::blocks::{BadBlock, Blocks};
use super::slab::{ByFullness, Slab};
use super::visits::{Visit, Visits};
use crate::base::size_class::SizeClass;
use crate::base::sync::Slot;
use crate::base::treap::Treap;
use crate::base::units::{ChunkIndex, to_u32, to_usize};
use crate::os::lock::Lock;
use crate::os::rank;
use crate::segment::tables::{BITMAP_WORDS, Tables};

/// The most slabs that one choice of the current slab may move in the order.
const MAX_MOVES_PER_CHOICE: u32 = 16;

/// A bin, in a cache line of its own. All zero bytes are an empty bin.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Bin {
    pub(crate) state: Lock<BinState, { rank::BIN }>,
    /// Number of slabs with free blocks. Written under the lock; a hint without it.
    available: AtomicU32,
    /// Free blocks of all slabs of the bin. Written under the lock; a hint without it.
    free_blocks: AtomicU64,
}

/// The state that a bin's lock protects, besides the headers and bitmaps of its slabs.
#[derive(Debug)]
pub(crate) struct BinState {
    /// The first chunk of the slab that serves now; 0 for none. It serves until it has no free
    /// block, or until it is empty and another slab has free blocks. It is not in the order, so it
    /// need not move when blocks are taken or put back.
    current: u32,
    /// The other slabs with free blocks, fullest first, then lowest; see [`BinView::fullest`].
    order: Treap,
    /// Number of empty slabs. The bin keeps one against thrashing, until `retire` takes it.
    empty: u32,
    /// Number of slabs of the bin, those without free blocks included.
    slabs: u32,
}

/// The first chunk of an empty slab that has left its bin. Its run goes back to the segments.
#[must_use = "the slab's run must be given back"]
#[derive(Debug)]
pub(crate) struct Retired(pub(crate) ChunkIndex);

/// The result of [`BinView::put`].
#[must_use = "a retired slab's run must be given back"]
#[derive(Debug)]
pub(crate) struct Put {
    /// How many blocks were put back; 0 only if the first one lies outside the slab.
    pub(crate) count: usize,
    /// The empty slab that left the bin, if the bin then had two.
    pub(crate) retired: Option<Retired>,
}

/// A locked bin and the tables that it needs.
pub(crate) struct BinView<'a> {
    pub(crate) bin: &'a Bin,
    pub(crate) state: &'a mut BinState,
    pub(crate) tables: &'a Tables,
    pub(crate) class: SizeClass,
}

impl Bin {
    /// Returns whether the bin has free blocks; a hint without the lock.
    pub(crate) fn has_blocks(&self) -> bool {
        self.available.load(Ordering::Relaxed) > 0
    }

    /// Returns the free blocks of all slabs of the bin; a hint without the lock.
    pub(crate) fn free_blocks(&self) -> u64 {
        self.free_blocks.load(Ordering::Relaxed)
    }

    fn add_free_blocks(&self, change: i64) {
        let now = self.free_blocks().wrapping_add_signed(change);
        self.free_blocks.store(now, Ordering::Relaxed);
    }

    fn add_available(&self, change: i32) {
        let now = self.available.load(Ordering::Relaxed).wrapping_add_signed(change);
        self.available.store(now, Ordering::Relaxed);
    }
}

impl BinState {
    pub(crate) fn slabs(&self) -> u32 {
        self.slabs
    }

    /// Returns the number of empty slabs of the bin.
    #[cfg(any(test, feature = "check"))]
    pub(super) fn empty(&self) -> u32 {
        self.empty
    }
}

impl BinView<'_> {
    fn nodes(&self) -> ByFullness<'_> {
        ByFullness { tables: self.tables }
    }

    fn link(&mut self, slab: ChunkIndex) {
        Slab::of(self.tables, slab).set_level(self.class);
        self.state.order.insert(&ByFullness { tables: self.tables }, slab.get());
        self.bin.add_available(1);
    }

    fn unlink(&mut self, slab: ChunkIndex) {
        self.state.order.remove(&ByFullness { tables: self.tables }, slab.get());
        self.bin.add_available(-1);
    }

    fn blocks(&self, first: ChunkIndex) -> Blocks<'_> {
        Blocks::of(self.tables, first, self.class)
    }

    fn is_empty(&self, slab: &Slab) -> bool {
        slab.free() == self.class.capacity()
    }

    /// Returns the slab that serves; `None` if no slab has free blocks.
    ///
    /// Chooses another one if there is none, or if it is empty and another slab has free blocks,
    /// because a slab that stays empty can leave the bin.
    fn current(&mut self) -> Option<ChunkIndex> {
        let present = ChunkIndex::new(self.state.current);
        if self.state.current == 0 {
            let first = self.fullest()?;
            self.unlink(first);
            self.set_current(Some(first));
        } else if self.is_empty(Slab::of(self.tables, present))
            && let Some(first) = self.fullest()
        {
            self.unlink(first);
            self.set_current(Some(first));
            self.link(present);
        }
        Some(ChunkIndex::new(self.state.current))
    }

    /// Returns the first slab of the order.
    ///
    /// Slabs in the order only become emptier, so a demoted slab is moved when it comes first. At
    /// most [`MAX_MOVES_PER_CHOICE`] are moved, because the lock is held meanwhile.
    fn fullest(&mut self) -> Option<ChunkIndex> {
        let mut first = ChunkIndex::new(self.state.order.first(&self.nodes())?);
        for _ in 0..MAX_MOVES_PER_CHOICE {
            if !Slab::of(self.tables, first).was_demoted(self.class) {
                break;
            }
            self.unlink(first);
            self.link(first);
            first = ChunkIndex::new(self.state.order.first(&self.nodes())?);
        }
        Some(first)
    }

    fn set_current(&mut self, slab: Option<ChunkIndex>) {
        let had = self.state.current != 0;
        self.state.current = slab.map_or(0, ChunkIndex::get);
        self.bin.add_available(i32::from(slab.is_some()) - i32::from(had));
    }

    /// Adds a slab that is in no bin.
    pub(crate) fn enter(&mut self, first: ChunkIndex) {
        let slab = Slab::of(self.tables, first);
        self.state.slabs += 1;
        self.state.empty += u32::from(self.is_empty(slab));
        self.bin.add_free_blocks(i64::from(slab.free()));
        self.link(first);
    }

    /// Takes a slab with free blocks out of the bin.
    fn leave(&mut self, first: ChunkIndex) {
        let slab = Slab::of(self.tables, first);
        if first.get() == self.state.current {
            self.set_current(None);
        } else {
            self.unlink(first);
        }
        self.state.slabs -= 1;
        self.state.empty -= u32::from(self.is_empty(slab));
        self.bin.add_free_blocks(-i64::from(slab.free()));
    }

    /// Takes the slab that would serve next out of the bin, for another shard.
    pub(crate) fn take_for_adoption(&mut self) -> Option<ChunkIndex> {
        let first = self.current()?;
        self.leave(first);
        Some(first)
    }

    /// Takes blocks into `out`, from its last slot towards the first. Returns how many. `start_of`
    /// returns the address of a slab's first byte.
    pub(crate) fn take(
        &mut self,
        out: &[Slot],
        start_of: impl Fn(ChunkIndex) -> NonNull<u8>,
    ) -> usize {
        let mut room = out.len();
        while room > 0 {
            let Some(first) = self.current() else { break };
            let slab = Slab::of(self.tables, first);
            self.tables.note_traffic(first);
            self.state.empty -= u32::from(self.is_empty(slab));
            room -= self.blocks(first).take(start_of(first), &out[..room]);
            if slab.free() == 0 {
                self.set_current(None);
            }
        }
        let taken = out.len() - room;
        self.bin.add_free_blocks(-i64::from(to_u32(taken)));
        taken
    }

    /// Puts the leading blocks of `batch` back that lie in the slab at `first`, whose first byte is
    /// at `start`. If the slab is then empty and the bin has another empty one, one of the two
    /// leaves the bin.
    ///
    /// # Errors
    /// As [`Blocks::put`].
    pub(crate) fn put(
        &mut self,
        first: ChunkIndex,
        start: NonNull<u8>,
        batch: &[Slot],
    ) -> Result<Put, (BadBlock, usize)> {
        let slab = Slab::of(self.tables, first);
        let count = self.blocks(first).put(start.addr().get(), batch)?;
        let before = slab.free();
        slab.set_free(before + count);
        Ok(Put { count: to_usize(count), retired: self.settle(first, before) })
    }

    /// Puts one block back into the slab at `first`, whose first byte is at `start`. The slab is
    /// added to `visits` unless it is there already; [`BinView::settle`] does the rest.
    ///
    /// # Errors
    /// As [`Blocks::put_one`].
    pub(super) fn put_one(
        &self,
        visits: &mut Visits,
        first: ChunkIndex,
        start: NonNull<u8>,
        block: usize,
    ) -> Result<(), BadBlock> {
        let slab = Slab::of(self.tables, first);
        self.blocks(first).put_one(start.addr().get(), block)?;
        let before = slab.free();
        if !slab.is_unsettled() {
            slab.set_unsettled(true);
            visits.add(first, before);
        }
        slab.set_free(before + 1);
        Ok(())
    }

    /// Does what is left to do for a slab of [`Visits`]. Returns a slab that leaves the bin.
    pub(super) fn settle_visit(&mut self, visit: Visit) -> Option<Retired> {
        Slab::of(self.tables, visit.slab).set_unsettled(false);
        self.settle(visit.slab, visit.before)
    }

    /// Updates the bin after blocks have come back to the slab at `first`, which had `before` free
    /// blocks. If the slab is now empty and the bin has another empty one, one of the two leaves
    /// the bin.
    fn settle(&mut self, first: ChunkIndex, before: u32) -> Option<Retired> {
        let slab = Slab::of(self.tables, first);
        self.tables.note_traffic(first);
        self.tables.note_holes(first);
        if first.get() != self.state.current {
            if before == 0 {
                self.link(first);
            } else if self.is_empty(slab) && self.state.empty == 0 {
                // Moves it to the end of the order, where `other_empty` looks for it.
                self.unlink(first);
                self.link(first);
            }
        }
        self.bin.add_free_blocks(i64::from(slab.free() - before));
        if !self.is_empty(slab) {
            return None;
        }
        self.state.empty += 1;
        (self.state.empty > 1).then(|| self.evict_empty(first))
    }

    /// Claims the blocks of a slab's holes; see [`Blocks::claim_holes`].
    pub(super) fn claim_holes(
        &mut self,
        first: ChunkIndex,
        system_page: u32,
        least: u32,
        claimed: &mut [u64; BITMAP_WORDS],
    ) -> u128 {
        let slab = Slab::of(self.tables, first);
        if slab.free() == 0 {
            return 0;
        }
        self.suspend(first, slab);
        let holes = self.blocks(first).claim_holes(system_page, least, claimed);
        self.resume(first, slab);
        holes
    }

    /// Puts claimed blocks back; see [`Blocks::release_holes`]. Returns a slab if the bin then has
    /// two empty ones.
    pub(super) fn release_holes(
        &mut self,
        first: ChunkIndex,
        claimed: &[u64; BITMAP_WORDS],
        purged: u128,
    ) -> Option<Retired> {
        let slab = Slab::of(self.tables, first);
        if slab.free() > 0 {
            self.suspend(first, slab);
        }
        self.blocks(first).release_holes(claimed, purged);
        self.resume(first, slab);
        (self.state.empty > 1 && self.is_empty(slab)).then(|| self.evict_empty(first))
    }

    /// Takes one of two empty slabs out of the bin: the one with more clean pages, or else the
    /// upper one. The other one can serve without touching new pages.
    fn evict_empty(&mut self, first: ChunkIndex) -> Retired {
        let other = self.other_empty(first);
        let cost_of =
            |slab: ChunkIndex| (Slab::of(self.tables, slab).clean_pages(self.class), slab.get());
        if cost_of(other) < cost_of(first) {
            self.leave(first);
            return Retired(first);
        }
        self.leave(other);
        if first.get() != self.state.current {
            // Moves it to the end of the order, where `other_empty` looks for it.
            self.unlink(first);
            self.link(first);
        }
        Retired(other)
    }

    /// Returns the empty slab of the bin that is not `beside`. There must be one.
    fn other_empty(&self, beside: ChunkIndex) -> ChunkIndex {
        let emptiest = ByFullness::emptiest_key();
        let at_least = |key| self.state.order.at_least(&self.nodes(), key);
        let in_order = match at_least(emptiest) {
            Some(first) if first == beside.get() => at_least(emptiest + u64::from(first) + 1),
            first => first,
        };
        // An empty slab that is not in the order is the current one.
        ChunkIndex::new(in_order.unwrap_or(self.state.current))
    }

    /// Takes a slab with free blocks out of the order and the counts, so that its blocks may
    /// change.
    fn suspend(&mut self, first: ChunkIndex, slab: &Slab) {
        self.state.empty -= u32::from(self.is_empty(slab));
        self.bin.add_free_blocks(-i64::from(slab.free()));
        if first.get() == self.state.current {
            self.set_current(None);
        } else {
            self.unlink(first);
        }
    }

    /// Undoes [`BinView::suspend`] with the slab's present number of free blocks.
    fn resume(&mut self, first: ChunkIndex, slab: &Slab) {
        self.state.empty += u32::from(self.is_empty(slab));
        self.bin.add_free_blocks(i64::from(slab.free()));
        if slab.free() > 0 {
            self.link(first);
        }
    }

    /// Takes an empty slab out of the bin; `None` if it has none.
    pub(crate) fn retire(&mut self) -> Option<Retired> {
        if self.state.empty == 0 {
            return None;
        }
        let first = self.other_empty(ChunkIndex::new(0));
        self.leave(first);
        Some(Retired(first))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Bin, BinView, Blocks, MAX_MOVES_PER_CHOICE, Ordering, Slab, Slot};
    use crate::base::size_class::SizeClass;
    use crate::base::units::{ChunkIndex, to_u32, to_usize};
    use crate::os::fake::Fake;
    use crate::segment::pages::Fit;
    use crate::segment::{Segments, fake_segments};
    use core::mem::MaybeUninit;
    use std::vec::Vec;

    /// The lock is held while demoted slabs move, so one choice moves only some of them.
    #[test]
    fn one_choice_moves_a_bounded_number_of_slabs() {
        let segments = fake_segments(16);
        let (tables, class) = (segments.tables(), SizeClass::of_size(4096));
        // SAFETY: all zero bytes are an empty bin.
        let bin: Bin = unsafe { MaybeUninit::zeroed().assume_init() };
        let mut state = bin.state.lock();
        let mut view = BinView { bin: &bin, state: &mut state, tables, class };
        let start_of = |first: ChunkIndex| segments.arena().page_address(first.first_page());
        for _ in 0..3 * MAX_MOVES_PER_CHOICE {
            let run = segments.take(class.slab_pages(), Fit::Chunks).expect("room");
            view.enter(Blocks::carve(tables, run, class, 0));
        }
        // Takes all blocks, slab by slab: `take` empties one slab before it begins another.
        let slots = |count| -> Vec<Slot> { (0..count).map(|_| Slot::default()).collect() };
        let mut slabs = Vec::new();
        while view.bin.has_blocks() {
            let blocks = slots(to_usize(class.capacity()));
            assert_eq!(view.take(&blocks, start_of), blocks.len());
            let address = blocks[0].load(Ordering::Relaxed).addr();
            let offset = segments.arena().offset_of(address).expect("a block of the arena");
            slabs.push((Slab::first_chunk(tables, ChunkIndex::of_offset(offset)), blocks));
        }
        // One block comes back to each slab, so that it enters the order in front. Then all but one
        // come back, which does not move the slab.
        for (slab, blocks) in &slabs {
            for part in [&blocks[..1], &blocks[1..blocks.len() - 1]] {
                let put = view.put(*slab, start_of(*slab), part).expect("blocks of the slab");
                assert!(put.count == part.len() && put.retired.is_none());
            }
        }
        let was_demoted = |slab: &ChunkIndex| Slab::of(tables, *slab).was_demoted(class);
        let demoted = || slabs.iter().filter(|(slab, _)| was_demoted(slab)).count();
        assert_eq!(demoted(), slabs.len());
        assert_eq!(view.take(&slots(1), start_of), 1);
        assert_eq!(to_u32(slabs.len() - demoted()), MAX_MOVES_PER_CHOICE);
    }

    /// Makes a bin of two slabs of eight blocks and takes all blocks of the lower slab and one of
    /// the upper slab, which serves. Passes the view, the slabs and the taken blocks to `test`.
    fn with_two_slabs(
        test: impl Fn(&mut BinView<'_>, [ChunkIndex; 2], [&[Slot]; 2], &Segments<Fake>),
    ) {
        let segments = fake_segments(16);
        let (tables, class) = (segments.tables(), SizeClass::of_size(32768));
        // SAFETY: all zero bytes are an empty bin.
        let bin: Bin = unsafe { MaybeUninit::zeroed().assume_init() };
        let mut state = bin.state.lock();
        let mut view = BinView { bin: &bin, state: &mut state, tables, class };
        let slabs = [(); 2].map(|()| {
            let run = segments.take(class.slab_pages(), Fit::Chunks).expect("room");
            Blocks::carve(tables, run, class, 0)
        });
        let lower: Vec<Slot> = (0..class.capacity()).map(|_| Slot::default()).collect();
        let upper = [Slot::default()];
        for (slab, blocks) in slabs.into_iter().zip([&lower[..], &upper]) {
            view.enter(slab);
            assert_eq!(view.take(blocks, start_of(&segments)), blocks.len());
        }
        test(&mut view, slabs, [&lower, &upper], &segments);
    }

    fn start_of(segments: &Segments<Fake>) -> impl Fn(ChunkIndex) -> core::ptr::NonNull<u8> {
        |first| segments.arena().page_address(first.first_page())
    }

    #[test]
    fn an_empty_slab_serves_only_if_no_other_slab_has_free_blocks() {
        with_two_slabs(|view, slabs, [lower, upper], segments| {
            let start_of = start_of(segments);
            for (slab, blocks) in [(slabs[0], &lower[..2]), (slabs[1], upper)] {
                assert!(view.put(slab, start_of(slab), blocks).unwrap().retired.is_none());
            }
            for served in [0, 0, 1] {
                assert_eq!(view.take(&upper[..1], &start_of), 1);
                let offset = segments.arena().offset_of(upper[0].load(Ordering::Relaxed).addr());
                let slab = Slab::first_chunk(view.tables, ChunkIndex::of_offset(offset.unwrap()));
                assert_eq!(slab, slabs[served]);
            }
        });
    }

    #[test]
    fn of_two_empty_slabs_the_one_with_more_clean_pages_leaves() {
        for lower_first in [false, true] {
            with_two_slabs(|view, [lower, upper], [of_lower, of_upper], segments| {
                let start_of = start_of(segments);
                let mut puts = [(lower, of_lower), (upper, of_upper)];
                if !lower_first {
                    puts.reverse();
                }
                let retired = puts.map(|(slab, blocks)| {
                    view.put(slab, start_of(slab), blocks).unwrap().retired.map(|left| left.0)
                });
                assert_eq!(retired, [None, Some(upper)]);
                assert_eq!(view.retire().map(|left| left.0), Some(lower));
                assert!(view.retire().is_none());
            });
        }
    }
}
