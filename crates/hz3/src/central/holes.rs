//! Holes: whole pages of the system inside part-used slabs whose blocks are all free.
//!
//! Before a hole is purged its blocks are claimed: taken out of the slab's bitmap. So no thread
//! gets one of them during the purge, which holds no lock. Nor can the slab be dissolved meanwhile,
//! because claimed blocks count as used.

use super::Central;
use super::bin::{BinView, Retired};
use super::blocks::Blocks;
use super::slab::Slab;
use crate::base::size_class::SizeClass;
use crate::base::units::{ChunkIndex, Pages, Run, to_u64};
use crate::os::Os;
use crate::segment::Segments;
use crate::segment::tables::BITMAP_WORDS;

/// The claimed holes of one slab.
#[must_use = "claimed blocks must be released"]
#[derive(Debug)]
pub(crate) struct Holes {
    first: ChunkIndex,
    class: SizeClass,
    claimed: [u64; BITMAP_WORDS],
    /// One bit for each page of the slab.
    pages: u128,
}

/// The slab went to another shard meanwhile, or another slab took its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replaced;

impl Holes {
    /// Iterates over the contiguous runs of pages, lowest first.
    pub(crate) fn runs(&self) -> impl Iterator<Item = Run> + use<> {
        let start = self.first.first_page();
        let mut pages = self.pages;
        core::iter::from_fn(move || {
            if pages == 0 {
                return None;
            }
            let low = pages.trailing_zeros();
            let count = (pages >> low).trailing_ones();
            // Two shifts, because one by 128 bits would overflow.
            pages &= (u128::MAX << low << (count - 1)) << 1;
            Some(Run::new(start + Pages::new(low), Pages::new(count)))
        })
    }
}

/// Whole pages in slabs without a block in use, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FreePages {
    /// In holes, which a purge would give back.
    pub(crate) holes: u64,
    /// In clean pages, which hold no memory.
    pub(crate) clean: u64,
}

impl Central {
    /// Sums the free pages of all slabs without a lock: exact if no other thread allocates or
    /// frees.
    pub(crate) fn free_pages<O: Os>(segments: &Segments<O>, system_page: Pages) -> FreePages {
        let tables = segments.tables();
        let mut found = FreePages::default();
        let end = segments.arena().frontier().chunk().get();
        for chunk in (1..end).map(ChunkIndex::new) {
            let (class, slab) = (tables.published_class(chunk), Slab::of(tables, chunk));
            if class != SizeClass::NONE && slab.starts_here() {
                let holes = Blocks::of(tables, chunk, class).holes(system_page.get()).count_ones();
                found.holes += to_u64(Pages::new(holes).bytes());
                found.clean += to_u64(Pages::new(slab.clean_pages(class)).bytes());
            }
        }
        found
    }

    /// Returns the bytes of the holes of the slab that starts at `first`; 0 if none starts there,
    /// or if less than one page in `one_in` is in a hole.
    ///
    /// Takes no lock: exact if no other thread allocates or frees.
    pub(crate) fn holes_from<O: Os>(
        segments: &Segments<O>,
        first: ChunkIndex,
        system_page: Pages,
        one_in: u32,
    ) -> u64 {
        let tables = segments.tables();
        let (class, slab) = (tables.class(first), Slab::of(tables, first));
        if class == SizeClass::NONE || !may_have_enough_holes(slab, class, Some(one_in)) {
            return 0;
        }
        let holes = Blocks::of(tables, first, class).holes(system_page.get()).count_ones();
        if holes >= min_hole_pages(class, one_in) { to_u64(Pages::new(holes).bytes()) } else { 0 }
    }

    /// Claims the holes of the slab that starts at `first`.
    ///
    /// Returns `None` if no slab starts there, if it has no hole, or if less than one page in
    /// `one_in` is in a hole. `system_page` is the page size of the system; holes consist of such
    /// pages.
    pub(crate) fn claim_holes<O: Os>(
        &self,
        segments: &Segments<O>,
        first: ChunkIndex,
        system_page: Pages,
        one_in: Option<u32>,
    ) -> Option<Holes> {
        let class = segments.tables().published_class(first);
        let slab = Slab::of(segments.tables(), first);
        if class == SizeClass::NONE || !may_have_enough_holes(slab, class, one_in) {
            return None;
        }
        self.claim(segments, first, class, system_page, one_in).ok().flatten()
    }

    /// Claims all holes of the slab that starts at `first`, if there is one. Always takes the lock
    /// of its bin, so that it finds the blocks of every put that came before.
    ///
    /// # Errors
    /// [`Replaced`]: the slab may have holes.
    pub(crate) fn claim_all_holes<O: Os>(
        &self,
        segments: &Segments<O>,
        first: ChunkIndex,
        system_page: Pages,
    ) -> Result<Option<Holes>, Replaced> {
        match segments.tables().published_class(first) {
            SizeClass::NONE => Ok(None),
            class => self.claim(segments, first, class, system_page, None),
        }
    }

    fn claim<O: Os>(
        &self,
        segments: &Segments<O>,
        first: ChunkIndex,
        class: SizeClass,
        system_page: Pages,
        one_in: Option<u32>,
    ) -> Result<Option<Holes>, Replaced> {
        let tables = segments.tables();
        let slab = Slab::of(tables, first);
        let shard = slab.shard();
        let bin = self.bin(shard, class);
        let mut state = bin.state.lock();
        // Before the lock was taken, the slab may have been dissolved and another one opened. A
        // slab that has not entered its bin yet has no dirty page, and a thread that has read its
        // class sees that.
        if tables.published_class(first) != class || slab.shard() != shard {
            return Err(Replaced);
        }
        if !slab.may_have_holes() {
            return Ok(None);
        }
        let mut view = BinView { bin, state: &mut state, tables, class };
        let mut claimed = [0; BITMAP_WORDS];
        let least = one_in.map_or(1, |one_in| min_hole_pages(class, one_in));
        let pages = view.claim_holes(first, system_page.get(), least, &mut claimed);
        Ok((pages != 0).then_some(Holes { first, class, claimed, pages }))
    }

    /// Puts claimed blocks back into their slab. `purged` says that their pages are clean now.
    pub(crate) fn release_holes<O: Os>(&self, segments: &Segments<O>, holes: Holes, purged: bool) {
        let tables = segments.tables();
        let Holes { first, class, ref claimed, pages } = holes;
        loop {
            let shard = Slab::of(tables, first).shard();
            let bin = self.bin(shard, class);
            let mut state = bin.state.lock();
            if Slab::of(tables, first).shard() != shard {
                continue;
            }
            let mut view = BinView { bin, state: &mut state, tables, class };
            let clean = if purged { pages } else { 0 };
            let retired: Option<Retired> = view.release_holes(first, claimed, clean);
            if let Some(retired) = retired {
                self.dissolve(segments, class, retired);
            }
            return;
        }
    }
}

#[cfg(test)]
impl Central {
    /// Checks that every slab with a hole is noted as one that may have holes. The heap must be at
    /// rest.
    pub(crate) fn validate_notes<O: Os>(segments: &Segments<O>, system_page: Pages) {
        let noted: std::collections::BTreeSet<u32> = (0..segments.segment_count())
            .flat_map(|segment| segments.slabs_with_holes(segment))
            .map(ChunkIndex::get)
            .collect();
        for chunk in 1..segments.arena().frontier().chunk().get() {
            let holes = Self::holes_from(segments, ChunkIndex::new(chunk), system_page, u32::MAX);
            assert!(holes == 0 || noted.contains(&chunk), "chunk {chunk} has holes without a note");
        }
    }
}

/// Returns whether the slab has enough free blocks for holes in at least one page in `one_in`.
fn may_have_enough_holes(slab: &Slab, class: SizeClass, one_in: Option<u32>) -> bool {
    let least = Pages::new(one_in.map_or(0, |one_in| min_hole_pages(class, one_in)));
    slab.may_have_holes()
        && u64::from(slab.free()) * to_u64(class.block_bytes()) >= to_u64(least.bytes())
}

/// Returns how many pages one in `one_in` pages of a slab are; at least one.
fn min_hole_pages(class: SizeClass, one_in: u32) -> u32 {
    (class.slab_pages().get() / one_in).max(1)
}

#[cfg(test)]
mod tests {
    use super::super::Central;
    use super::{ChunkIndex, Pages, SizeClass};
    use crate::base::sync::Slot;
    use crate::base::units::to_usize;
    use crate::options::{Config, Within};
    use crate::os::fake::Fake;
    use crate::segment::{Segments, fake_segments};
    use core::sync::atomic::Ordering;
    use std::vec::Vec;

    const SYSTEM_PAGE: Pages = Pages::new(1);

    /// Returns a class with four blocks per page.
    fn class() -> SizeClass {
        SizeClass::of_size(1024)
    }

    /// Makes a slab with all blocks in use; returns their addresses, lowest first.
    fn full_slab() -> (Segments<Fake>, Central, ChunkIndex, Vec<usize>) {
        let segments = fake_segments(4);
        let one = Within::new(1).expect("in range");
        let central = Central::create(segments.os(), &Config::new().shards(one)).expect("bins");
        let fetch = |_| {
            let slot = [Slot::default()];
            assert_eq!(central.fetch(&segments, 0, class(), &slot), 1);
            slot[0].load(Ordering::Relaxed).addr()
        };
        let mut blocks: Vec<usize> = (0..to_usize(class().capacity())).map(fetch).collect();
        blocks.sort_unstable();
        let first = segments.arena().offset_of(blocks[0]).map(ChunkIndex::of_offset);
        (segments, central, first.expect("a block"), blocks)
    }

    fn free(segments: &Segments<Fake>, central: &Central, addresses: &[usize]) {
        let base = segments.arena().base().as_ptr();
        for &address in addresses {
            central.put(segments, class(), &[Slot::new(base.with_addr(address))]);
        }
    }

    #[test]
    fn claimed_blocks_are_not_handed_out_and_their_pages_are_clean_after_the_purge() {
        let (segments, central, first, blocks) = full_slab();
        free(&segments, &central, &blocks[4..12]);
        let holes = central.claim_holes(&segments, first, SYSTEM_PAGE, None).expect("two pages");
        assert_eq!(holes.runs().map(|run| run.pages.get()).sum::<u32>(), 2);
        let slot = [Slot::default()];
        central.fetch(&segments, 0, class(), &slot);
        assert!(
            !blocks.contains(&slot[0].load(Ordering::Relaxed).addr()),
            "a claimed block was handed out"
        );
        central.release_holes(&segments, holes, true);
        assert!(
            central.claim_holes(&segments, first, SYSTEM_PAGE, None).is_none(),
            "purged pages are no holes"
        );
        assert_eq!(Central::free_pages(&segments, SYSTEM_PAGE).holes, 0);
        central.validate(&segments);
    }

    #[test]
    fn holes_can_be_claimed_again_after_a_refused_purge() {
        let (segments, central, first, blocks) = full_slab();
        free(&segments, &central, &blocks[4..8]);
        let holes = central.claim_holes(&segments, first, SYSTEM_PAGE, None).expect("a page");
        central.release_holes(&segments, holes, false);
        assert!(central.claim_holes(&segments, first, SYSTEM_PAGE, Some(u32::MAX)).is_some());
    }

    #[test]
    fn holes_in_too_few_pages_stay_unclaimed() {
        let (segments, central, first, blocks) = full_slab();
        let quarter = to_usize(class().capacity()) / 4;
        free(&segments, &central, &blocks[..quarter - 1]);
        assert!(central.claim_holes(&segments, first, SYSTEM_PAGE, Some(4)).is_none());
        assert_eq!(Central::holes_from(&segments, first, SYSTEM_PAGE, 4), 0);
        central.validate(&segments);
        free(&segments, &central, &blocks[quarter - 1..quarter]);
        assert!(Central::holes_from(&segments, first, SYSTEM_PAGE, 4) > 0);
        let holes = central.claim_holes(&segments, first, SYSTEM_PAGE, Some(4)).expect("a quarter");
        central.release_holes(&segments, holes, true);
        central.validate(&segments);
    }

    #[test]
    fn free_blocks_that_share_pages_with_used_ones_are_no_holes() {
        let (segments, central, first, blocks) = full_slab();
        let scattered: Vec<usize> = blocks[4..].iter().copied().step_by(2).collect();
        free(&segments, &central, &scattered);
        free(&segments, &central, &blocks[..4]);
        assert!(central.claim_holes(&segments, first, SYSTEM_PAGE, Some(4)).is_none());
        central.validate(&segments);
        let holes = central.claim_holes(&segments, first, SYSTEM_PAGE, None).expect("a page");
        central.release_holes(&segments, holes, true);
        central.validate(&segments);
    }

    #[test]
    fn a_slab_with_claimed_blocks_is_not_retired() {
        let (segments, central, first, blocks) = full_slab();
        free(&segments, &central, &blocks[4..]);
        let holes = central.claim_holes(&segments, first, SYSTEM_PAGE, None).expect("most of it");
        free(&segments, &central, &blocks[..4]);
        assert_eq!(central.retire(&segments), Pages::ZERO, "claimed blocks count as used");
        central.release_holes(&segments, holes, true);
        assert_eq!(central.retire(&segments), class().slab_pages());
        central.validate(&segments);
        segments.validate();
    }
}
