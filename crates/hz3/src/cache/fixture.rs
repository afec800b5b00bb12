//! The layers below the heap over a fake system, for their own tests and for those of reclaim.

use core::ptr::NonNull;
use std::vec::Vec;

use super::OwnCache;
use super::below::Below;
use super::refill::AlreadyCached;
use super::registry::Registry;
use crate::base::size_class::SizeClass;
use crate::base::units::{PAGE_BYTES, Pages, SEGMENT_BYTES, SEGMENT_PAGES};
use crate::central::Central;
use crate::options::{Config, Within};
use crate::os::fake::Fake;
use crate::segment::Segments;
use crate::segment::pages::Fit;
use crate::transfer::Transfers;

/// Size of the blocks that [`Fixture::use_cache`] takes, in bytes.
pub(crate) const SIZE: usize = 1024;
const SEGMENTS: usize = 16;

pub(crate) struct Fixture {
    pub(crate) segments: Segments<Fake>,
    pub(crate) transfers: Transfers,
    pub(crate) central: Central,
    pub(crate) registry: Registry,
}

impl Fixture {
    pub(crate) fn new(config: &Config) -> Fixture {
        let config =
            config.arena_bytes(SEGMENTS * SEGMENT_BYTES).shards(Within::new(1).expect("in range"));
        let os = Fake::new(PAGE_BYTES, 1, 1 << 30);
        let central = Central::create(&os, &config).expect("bins");
        let transfers = Transfers::create(&os, central.shards()).expect("transfer caches");
        let segments = Segments::reserve(os, &config).expect("an arena");
        Fixture { segments, transfers, central, registry: Registry::new(&config) }
    }

    pub(crate) fn below(&self) -> Below<'_, Fake> {
        let granted = self.registry.granted();
        Below {
            transfers: &self.transfers,
            central: &self.central,
            segments: &self.segments,
            granted,
        }
    }

    pub(crate) fn cache(&self) -> OwnCache<'_> {
        self.registry.attach(self.below()).expect("a cache")
    }

    /// Takes and frees the pages of `count` segments, which are dirty afterwards.
    pub(crate) fn dirty_segments(&self, count: u32) {
        let run = self.segments.take(Pages::new(count * SEGMENT_PAGES), Fit::Any).expect("room");
        self.segments.give(run, run.pages);
    }

    pub(crate) fn dirty(&self) -> u64 {
        self.segments.dirty_pages()
    }

    /// Takes a block of `class` through the caller's cache, as `malloc` does.
    pub(crate) fn take(&self, cache: OwnCache<'_>, class: SizeClass) -> NonNull<u8> {
        let popped = pop_sealed(cache, class);
        let block = popped.or_else(|| self.refill(cache, class)).expect("room");
        NonNull::new(block).expect("a block")
    }

    /// Frees a block into the caller's cache, as `free` does.
    pub(crate) fn free(&self, cache: OwnCache<'_>, class: SizeClass, block: NonNull<u8>) {
        if !push(cache, class, block.as_ptr()) {
            assert_eq!(self.overflow(cache, class, block.as_ptr()), Ok(()));
        }
    }

    /// Serves a pop of `class` that has just failed.
    pub(crate) fn refill(&self, cache: OwnCache<'_>, class: SizeClass) -> Option<*mut u8> {
        // SAFETY: a test calls this after its pop.
        unsafe { cache.refill(self.below(), class) }
    }

    /// Frees a block for which the cache has no room.
    pub(crate) fn overflow(
        &self,
        cache: OwnCache<'_>,
        class: SizeClass,
        block: *mut u8,
    ) -> Result<(), AlreadyCached> {
        // SAFETY: a test frees a block of this class.
        unsafe { cache.overflow(self.below(), class, block) }
    }

    /// Ends the thread that owns the cache.
    pub(crate) fn end(&self, cache: OwnCache<'_>) {
        // SAFETY: a test uses the cache of an ended thread no more.
        unsafe { self.registry.detach(cache, self.below()) };
    }

    /// Takes `count` blocks through a cache and frees them into it. Returns the bytes that it then
    /// holds.
    pub(crate) fn use_cache(&self, cache: OwnCache<'_>, count: usize) -> u64 {
        let class = SizeClass::of_size(SIZE);
        let blocks: Vec<NonNull<u8>> = (0..count).map(|_| self.take(cache, class)).collect();
        for block in blocks {
            self.free(cache, class, block);
        }
        assert!(cache.cached_bytes() > 0);
        cache.cached_bytes()
    }

    /// Checks the invariants of all layers. No other thread may use them.
    pub(crate) fn validate(&self) {
        self.segments.validate();
        self.central.validate(&self.segments);
        self.registry.validate(None);
    }
}

/// Takes a block from the cache alone, as the fast path does.
pub(crate) fn pop(cache: OwnCache<'_>, class: SizeClass) -> Option<*mut u8> {
    // SAFETY: an `OwnCache` is this thread's.
    unsafe { cache.stack(class).pop() }
}

/// Takes a block from the cache alone, also from a sealed one.
pub(crate) fn pop_sealed(cache: OwnCache<'_>, class: SizeClass) -> Option<*mut u8> {
    // SAFETY: an `OwnCache` is this thread's.
    unsafe { cache.stack(class).pop_sealed() }
}

/// Finishes a [`pop`] that failed on a sealed cache.
pub(crate) fn finish_sealed_pop(cache: OwnCache<'_>, class: SizeClass) -> Option<*mut u8> {
    // SAFETY: an `OwnCache` is this thread's, and a test calls this after its pop.
    unsafe { cache.stack(class).finish_sealed_pop() }
}

/// Frees a block into the cache alone; returns false if there is no room.
pub(crate) fn push(cache: OwnCache<'_>, class: SizeClass, block: *mut u8) -> bool {
    // SAFETY: an `OwnCache` is this thread's, and a test frees a block of this class.
    unsafe { cache.stack(class).push(block) }
}
