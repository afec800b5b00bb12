//! Page runs: slabs and large blocks take their pages here, and give them back here.
//!
//! [`Segments::take`] asks the page heap for the best fit, and grows the arena if no free run fits.
//! A freed run is reused without a system call. `reclaim::purge` gives its memory back to the
//! system.
//!
//! | functions | file | for |
//! |---|---|---|
//! | `take`, `give`, `prefault` | here, `prefault` | slabs |
//! | `allocate_large`, `claim_large`, `resize_large` | `large` | blocks that are runs |
//! | `allocate_huge`, `free_huge`, `resize_huge`, `huge_at` | `huge` | blocks that are mappings |
//! | `withdraw_dirty`, `put_back`, `mark_clean`, `age`, `age_slabs` | `purgeable` | reclaim |
//! | `limit`, `held_bytes` | here, `limit` | reclaim |
//! | `account`, `page_counts`, `class_at`, `class_map` | here, `account` | hints and statistics |
//! | `tables`: records of each chunk | `tables` | the slab headers of central |
//! | `acquire_all`, `release_all` | here | fork |
//!
//! Locks: growth, then pages. No system call is made while the lock of the page heap is held.
//!
//! **I-3.** A run that is off the free map has one owner: a slab, the holder of a large block, or
//! the call that took it. Only the owner reads, writes, purges or gives it back. The pages of
//! claimed holes of a slab are the purge's.

pub(crate) mod account;
mod advice;
pub(crate) mod arena;
mod bitmaps;
#[cfg(feature = "experiments")]
mod experiments;
mod huge;
pub(crate) mod huge_units;
pub(crate) mod large;
pub(crate) mod length_bin;
mod limit;
mod list_layout;
mod lists;
mod mappings;
pub(crate) mod meta;
pub(crate) mod pages;
mod prefault;
mod purgeable;
pub(crate) mod tables;
#[cfg(test)]
mod tests;

use core::ptr::NonNull;
use core::sync::atomic::AtomicBool;

use crate::base::size_class::SizeClass;
use crate::base::units::{
    CHUNK_PAGES, ChunkIndex, PAGE_BYTES, Pages, Run, SEGMENT_PAGES, to_u64, to_usize,
};
use crate::options::Config;
use crate::os::lock::Lock;
use crate::os::{Os, rank};
use account::Account;
use arena::{Arena, Growth, PAGE_COST};
use limit::MemoryLimit;
use mappings::Mappings;
use pages::{Fit, PageHeap};
use tables::{ClassEntry, Tables};

/// The arena, its free pages, and the huge blocks outside it.
#[derive(Debug)]
pub(crate) struct Segments<O> {
    arena: Arena<O>,
    growth: Lock<Growth, { rank::GROWTH }>,
    pages: Lock<PageHeap, { rank::PAGES }>,
    huge: Lock<Mappings, { rank::HUGE }>,
    account: Account,
    /// Whether units are advised: the option is on and the system has not refused so far.
    huge_pages: AtomicBool,
    /// Whether runs are prefaulted: the option is on and the system has not refused so far.
    prefaults: AtomicBool,
    limit: MemoryLimit,
}

/// Counts of the layer, in pages unless the name says bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageCounts {
    pub(crate) committed: u64,
    /// Free pages, including those that are being purged.
    pub(crate) free: u64,
    /// Free pages that may hold memory, including those that are being purged.
    pub(crate) dirty: u64,
    pub(crate) old: u64,
    pub(crate) reserved_bytes: u64,
    pub(crate) table_bytes: u64,
    pub(crate) huge_bytes: u64,
    pub(crate) peak_active_bytes: u64,
    /// How often a thread found one of the layer's locks held.
    pub(crate) contended: u64,
}

impl<O: Os> Segments<O> {
    /// Reserves the arena; see [`Arena::reserve`].
    ///
    /// # Errors
    /// Returns `os` to the caller if the system refuses.
    pub(crate) fn reserve(os: O, config: &Config) -> Result<Segments<O>, O> {
        // A huge page is as long as a unit only if the system's pages are as long as hz3's.
        let huge_pages = config.huge_pages && os.page_size() == PAGE_BYTES;
        // If the system's pages are longer, each fault already brings several of hz3's, and a run
        // may begin or end inside one.
        let prefaults = config.prefault && os.page_size() == PAGE_BYTES;
        Ok(Segments {
            arena: Arena::reserve(os, config.arena_bytes)?,
            growth: Lock::new(Growth::default()),
            pages: Lock::new(PageHeap::new()),
            huge: Lock::new(Mappings::new()),
            account: Account::new(),
            huge_pages: AtomicBool::new(huge_pages),
            prefaults: AtomicBool::new(prefaults),
            limit: MemoryLimit::new(config),
        })
    }

    /// Returns the class of the slab at an offset of the arena, which must lie below the frontier.
    /// Returns [`SizeClass::NONE`] if no slab covers the offset.
    pub(crate) fn class_at(&self, offset: usize) -> SizeClass {
        self.tables().class(ChunkIndex::of_offset(offset))
    }

    /// Returns the class map, for the fast path of free.
    pub(crate) fn class_map(&self) -> NonNull<ClassEntry> {
        self.tables().class_map()
    }

    pub(crate) fn arena(&self) -> &Arena<O> {
        &self.arena
    }

    pub(crate) fn tables(&self) -> &Tables {
        self.arena.tables()
    }

    pub(crate) fn os(&self) -> &O {
        self.arena.os()
    }

    /// Takes a run of `pages` pages. Returns `None` if neither the free pages nor the system can
    /// serve it, or if the memory limit would be exceeded.
    pub(crate) fn take(&self, pages: Pages, fit: Fit) -> Option<Run> {
        let free = self.take_free(&mut self.pages.lock(), pages, fit);
        free.or_else(|| self.take_growing(pages, fit))
    }

    /// Takes a run out of the free pages, without growing the arena.
    fn take_free(&self, heap: &mut PageHeap, pages: Pages, fit: Fit) -> Option<Run> {
        let run = heap.take(self.tables(), pages, fit)?;
        self.admit(heap, run).then_some(run)
    }

    /// Keeps a run that was just taken, or gives it back if the memory limit does not allow it.
    /// Returns whether the run was kept.
    fn admit(&self, heap: &mut PageHeap, run: Run) -> bool {
        let admitted = self.limit.admits(self.held(heap));
        if admitted {
            self.note(heap);
        } else {
            heap.give(self.tables(), run, Pages::ZERO, self.arena.frontier());
        }
        admitted
    }

    /// Updates the account, which other threads read without the lock. Call it after pages were
    /// taken or given back, and after a huge block was registered.
    fn note(&self, heap: &PageHeap) {
        let dirty = heap.dirty_pages() * to_u64(PAGE_BYTES);
        self.account.note(self.active_bytes(heap), dirty, heap.refaulted_pages());
    }

    /// Returns the amounts that can be read without a lock, as hints.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// Returns the bytes in slabs, large blocks and huge blocks.
    fn active_bytes(&self, heap: &PageHeap) -> u64 {
        heap.used_pages() * to_u64(PAGE_BYTES) + self.account.huge_bytes()
    }

    pub(crate) fn limit(&self) -> &MemoryLimit {
        &self.limit
    }

    /// Returns the bytes that count towards the memory limit; see [`limit`].
    fn held(&self, heap: &PageHeap) -> u64 {
        let pages = heap.used_pages() + heap.dirty_pages() + heap.withdrawn_pages();
        pages * to_u64(PAGE_COST) + self.account.huge_bytes()
    }

    /// As [`Segments::held`], for callers that do not hold the lock of the page heap.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held(&self.pages.lock())
    }

    /// Returns whether the memory limit allows `bytes` more than are held.
    fn admits_more(&self, bytes: usize) -> bool {
        self.limit.bytes().is_none()
            || self.limit.admits(self.held_bytes().saturating_add(to_u64(bytes)))
    }

    #[cold]
    fn take_growing(&self, pages: Pages, fit: Fit) -> Option<Run> {
        // One thread grows the arena. A thread that waited for the lock tries the new pages first.
        let mut growth = self.growth.lock();
        if let Some(run) = self.take_free(&mut self.pages.lock(), pages, fit) {
            return Some(run);
        }
        // A request that the limit refuses must not move the frontier.
        if !self.admits_more(to_usize(pages.get()) * PAGE_COST) {
            return None;
        }
        let slack = match fit {
            Fit::Any => Pages::ZERO,
            Fit::Chunks => Pages::new(CHUNK_PAGES),
            Fit::Aligned(align) => align.pages,
        };
        let tail = self.tail();
        let needed = (pages + slack).get().saturating_sub(tail.get()).max(1);
        let new = self.grow(&mut growth, Pages::new(needed))?;
        let mut heap = self.pages.lock();
        // Another thread may have taken the tail meanwhile; then this thread grows a second time.
        heap.add(self.tables(), new, self.arena.frontier());
        if let Some(run) = self.take_free(&mut heap, pages, fit) {
            return Some(run);
        }
        drop(heap);
        let more = self.grow(&mut growth, pages + slack)?;
        let mut heap = self.pages.lock();
        heap.add(self.tables(), more, self.arena.frontier());
        self.take_free(&mut heap, pages, fit)
    }

    /// Returns the number of free pages right below the frontier. The caller holds the lock
    /// `growth`, so the frontier stays.
    fn tail(&self) -> Pages {
        let _pages = self.pages.lock();
        PageHeap::tail(self.tables(), self.arena.frontier(), Arena::<O>::first_page())
    }

    /// Commits at least `pages` more pages. The new run is clean and belongs to the caller, which
    /// adds it to the page heap.
    fn grow(&self, growth: &mut Growth, pages: Pages) -> Option<Run> {
        let new = self.arena.grow(growth, pages).ok()?;
        self.advise_units(new);
        Some(new)
    }

    /// Gives a run back. Its first `touched` pages were written since it was taken.
    pub(crate) fn give(&self, run: Run, touched: Pages) {
        let frontier = self.arena.frontier();
        let mut heap = self.pages.lock();
        heap.give(self.tables(), run, touched, frontier);
        self.note(&heap);
        self.account.note_return();
    }

    /// Returns the number of segments of which at least a part is committed.
    pub(crate) fn segment_count(&self) -> usize {
        let frontier = self.arena.frontier();
        if frontier == Arena::<O>::first_page() {
            return 0;
        }
        to_usize(frontier.get().div_ceil(SEGMENT_PAGES))
    }

    /// Returns how many of the pages taken so far had been purged before.
    pub(crate) fn refaulted_pages(&self) -> u64 {
        self.pages.lock().refaulted_pages()
    }

    /// Returns how many bytes of the arena's tables are resident; asks the system about each page.
    pub(crate) fn resident_table_bytes(&self) -> u64 {
        to_u64(self.arena.resident_table_bytes(&self.growth.lock()))
    }

    pub(crate) fn page_counts(&self) -> PageCounts {
        let table_bytes = self.arena.table_bytes(&self.growth.lock());
        let pages = self.pages.lock();
        let withdrawn = pages.withdrawn_pages();
        PageCounts {
            committed: pages.committed_pages(),
            free: pages.free_pages() + withdrawn,
            dirty: pages.dirty_pages() + withdrawn,
            old: pages.old_pages(),
            reserved_bytes: to_u64(self.arena.bytes()),
            table_bytes: to_u64(table_bytes),
            huge_bytes: self.account.huge_bytes(),
            peak_active_bytes: self.account.peak_active_bytes(),
            contended: self.growth.contended() + self.huge.contended() + self.pages.contended(),
        }
    }

    /// Takes all locks of the layer, before a fork.
    pub(crate) fn acquire_all(&self) {
        self.growth.acquire();
        self.huge.acquire();
        self.pages.acquire();
    }

    /// Releases the locks that [`Segments::acquire_all`] took; also runs in the forked child.
    pub(crate) fn release_all(&self) {
        self.pages.release();
        self.huge.release();
        self.growth.release();
    }

    /// Checks the invariants of the layer and panics if one is broken.
    #[cfg(any(test, feature = "check"))]
    pub(crate) fn validate(&self) {
        let heap = self.pages.lock();
        heap.validate(self.tables(), Arena::<O>::first_page(), self.arena.frontier());
    }
}

/// Makes an arena of `segments` segments over a fake system, for the tests of the layers above.
#[cfg(test)]
pub(crate) fn fake_segments(segments: usize) -> Segments<crate::os::fake::Fake> {
    let config = Config::new().arena_bytes(segments * crate::base::units::SEGMENT_BYTES);
    Segments::reserve(crate::os::fake::Fake::new(PAGE_BYTES, 1, 1 << 30), &config)
        .expect("an arena")
}
