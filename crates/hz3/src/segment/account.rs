//! How much memory the layer holds, and how much it held at most.

use core::sync::atomic::{AtomicU64, Ordering};

/// What is counted beside the page heap's own counts.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Bytes of the huge blocks.
    huge: AtomicU64,
    active: AtomicU64,
    peak_active: AtomicU64,
    dirty: AtomicU64,
    /// Pages taken so far that had been purged before.
    retaken: AtomicU64,
    /// Bytes of clean pages that were prefaulted.
    prefaulted: AtomicU64,
    /// Bytes that were given back without a purge, and by how many calls.
    dropped: AtomicU64,
    drops: AtomicU64,
    /// How often pages or mappings came back.
    returns: AtomicU64,
}

impl Account {
    pub(super) const fn new() -> Account {
        Account {
            huge: AtomicU64::new(0),
            active: AtomicU64::new(0),
            peak_active: AtomicU64::new(0),
            dirty: AtomicU64::new(0),
            retaken: AtomicU64::new(0),
            prefaulted: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            drops: AtomicU64::new(0),
            returns: AtomicU64::new(0),
        }
    }

    /// Bytes of the huge blocks.
    pub(super) fn huge_bytes(&self) -> u64 {
        self.huge.load(Ordering::Relaxed)
    }

    /// Counts a huge block of this many bytes.
    pub(super) fn add_huge(&self, bytes: u64) {
        self.huge.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Undoes [`Account::add_huge`].
    pub(super) fn remove_huge(&self, bytes: u64) {
        self.huge.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts bytes of clean pages that were prefaulted.
    pub(super) fn note_prefaulted(&self, bytes: u64) {
        self.prefaulted.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of clean pages that were prefaulted.
    pub(crate) fn prefaulted_bytes(&self) -> u64 {
        self.prefaulted.load(Ordering::Relaxed)
    }

    /// Counts that pages or a mapping came back.
    pub(super) fn note_return(&self) {
        // A lost count is made up for by the next one.
        let returns = self.returns.load(Ordering::Relaxed);
        self.returns.store(returns.wrapping_add(1), Ordering::Relaxed);
    }

    /// How often pages or mappings came back, as a hint.
    pub(crate) fn returns(&self) -> u64 {
        self.returns.load(Ordering::Relaxed)
    }

    /// Counts bytes of a large block that one call gave back, of one that is freed or that must read
    /// as zero.
    pub(super) fn note_dropped(&self, bytes: u64) {
        self.dropped.fetch_add(bytes, Ordering::Relaxed);
        self.drops.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes of large blocks that were given back at once, and by how many calls.
    pub(crate) fn dropped(&self) -> (u64, u64) {
        (self.dropped.load(Ordering::Relaxed), self.drops.load(Ordering::Relaxed))
    }

    /// Bytes in slabs, large and huge blocks when pages were last taken or given back.
    pub(crate) fn active_bytes(&self) -> u64 {
        self.active.load(Ordering::Relaxed)
    }

    /// Bytes in slabs and large blocks of the arena: what free pages can serve again.
    pub(crate) fn arena_active_bytes(&self) -> u64 {
        self.active_bytes().saturating_sub(self.huge_bytes())
    }

    /// The most that they ever were.
    pub(crate) fn peak_active_bytes(&self) -> u64 {
        self.peak_active.load(Ordering::Relaxed)
    }

    /// Bytes of free dirty pages when pages were last taken or given back.
    pub(crate) fn dirty_bytes(&self) -> u64 {
        self.dirty.load(Ordering::Relaxed)
    }

    /// Pages taken again after a purge, when pages were last taken or given back.
    pub(crate) fn retaken_pages(&self) -> u64 {
        self.retaken.load(Ordering::Relaxed)
    }

    /// Notes how many bytes are in slabs, large and huge blocks now, and in free dirty pages, and
    /// how many pages were taken again after a purge so far.
    pub(super) fn note(&self, active: u64, dirty: u64, retaken: u64) {
        self.retaken.store(retaken, Ordering::Relaxed);
        self.active.store(active, Ordering::Relaxed);
        self.dirty.store(dirty, Ordering::Relaxed);
        // Most calls find a peak that is higher; those write nothing.
        if active > self.peak_active_bytes() {
            self.peak_active.fetch_max(active, Ordering::Relaxed);
        }
    }
}
