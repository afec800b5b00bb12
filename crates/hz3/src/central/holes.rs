//! Holes: whole OS pages inside part-used slabs whose blocks are all free.
//!
//! To purge a hole its blocks are claimed first: taken out of the slab's bitmap, so that nobody
//! can be handed one while the page is given back. No lock is held meanwhile. The slab cannot be
//! dissolved either, for claimed blocks count as used.

use super::Central;
use super::bin::{BinView, Retired};
use super::blocks::Blocks;
use super::slab::Slab;
use crate::base::size_class::SizeClass;
use crate::base::units::{ChunkIndex, Pages, Run, wide};
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
    /// One bit a page of the slab.
    pages: u128,
}

impl Holes {
    /// The maximal ranges of pages, lowest first.
    pub(crate) fn runs(&self) -> impl Iterator<Item = Run> + use<> {
        let start = self.first.first_page();
        let mut pages = self.pages;
        core::iter::from_fn(move || {
            if pages == 0 {
                return None;
            }
            let low = pages.trailing_zeros();
            let count = (pages >> low).trailing_ones();
            // Two shifts, as one by 128 is not defined.
            pages &= (u128::MAX << low << (count - 1)) << 1;
            Some(Run::new(start + Pages::new(low), Pages::new(count)))
        })
    }
}

/// What slabs hold besides blocks in use, page by page, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FreePages {
    /// In holes: a purge would give them back.
    pub(crate) holes: u64,
    /// In pages that are known to hold no memory.
    pub(crate) clean: u64,
}

impl Central {
    /// Looks at every page of every slab, without a lock: exact when nobody allocates meanwhile.
    pub(crate) fn free_pages<O: Os>(segments: &Segments<O>, grain: Pages) -> FreePages {
        let tables = segments.tables();
        let mut found = FreePages::default();
        let end = segments.arena().frontier().chunk().get();
        for chunk in (1..end).map(ChunkIndex::new) {
            let (class, slab) = (tables.published_class(chunk), Slab::of(tables, chunk));
            if class != SizeClass::NONE && slab.starts_here() {
                let holes = Blocks::of(tables, chunk, class).holes(grain.get()).count_ones();
                found.holes += wide(Pages::new(holes).bytes());
                found.clean += wide(Pages::new(slab.clean_pages(class)).bytes());
            }
        }
        found
    }

    /// Bytes of the holes of the slab that starts at `first`, if one does and they are at least this
    /// part of it; else 0. Without a lock: exact when nobody allocates meanwhile.
    pub(crate) fn holes_from<O: Os>(
        segments: &Segments<O>,
        first: ChunkIndex,
        grain: Pages,
        part: u32,
    ) -> u64 {
        let tables = segments.tables();
        let (class, slab) = (tables.class(first), Slab::of(tables, first));
        if class == SizeClass::NONE || !may_have_part(slab, class, Some(part)) {
            return 0;
        }
        let holes = Blocks::of(tables, first, class).holes(grain.get()).count_ones();
        if holes >= pages_of_part(class, part) { wide(Pages::new(holes).bytes()) } else { 0 }
    }

    /// Claims the holes of the slab that starts at `first`, if one does and they are at least this part
    /// of it; any if no part is given. Holes are made of groups of `grain` pages, the pages of the
    /// system.
    pub(crate) fn claim_holes<O: Os>(
        &self,
        segments: &Segments<O>,
        first: ChunkIndex,
        grain: Pages,
        part: Option<u32>,
    ) -> Option<Holes> {
        let tables = segments.tables();
        let class = tables.published_class(first);
        let slab = Slab::of(tables, first);
        if class == SizeClass::NONE || !may_have_part(slab, class, part) {
            return None;
        }
        let shard = slab.shard();
        let bin = self.bin(shard, class);
        let mut state = bin.state.lock();
        // Before the lock was taken, the slab may have been dissolved and another one created. One
        // that has not entered its bin yet has no dirty page, and having read its class the thread
        // sees that.
        if tables.published_class(first) != class || slab.shard() != shard || !slab.may_have_holes()
        {
            return None;
        }
        let mut view = BinView { bin, state: &mut state, tables, class };
        let mut claimed = [0; BITMAP_WORDS];
        let least = part.map_or(1, |part| pages_of_part(class, part));
        let pages = view.claim_holes(first, grain.get(), least, &mut claimed);
        (pages != 0).then_some(Holes { first, class, claimed, pages })
    }

    /// Puts claimed blocks back; their pages are clean if `purged`.
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
                self.give_back(segments, class, retired);
            }
            return;
        }
    }
}

/// Whether the slab may have holes that are this part of it; told by its count of free blocks.
fn may_have_part(slab: &Slab, class: SizeClass, part: Option<u32>) -> bool {
    let least = Pages::new(part.map_or(0, |part| pages_of_part(class, part)));
    slab.may_have_holes()
        && u64::from(slab.free()) * wide(class.block_bytes()) >= wide(least.bytes())
}

/// Pages of a part of a slab; at least one.
fn pages_of_part(class: SizeClass, part: u32) -> u32 {
    (class.slab_pages().get() / part).max(1)
}
