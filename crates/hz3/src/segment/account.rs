//! How much memory the layer holds, and the most that it ever held, as atomics that are read
//! without a lock.

use core::sync::atomic::{AtomicU64, Ordering};

/// The counts that the page heap does not keep.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Bytes in huge blocks.
    huge: AtomicU64,
    active: AtomicU64,
    peak_active: AtomicU64,
    dirty: AtomicU64,
    /// Purged pages that were taken again, at the last update.
    refaulted: AtomicU64,
    /// Bytes of clean pages that were prefaulted.
    prefaulted: AtomicU64,
    /// Bytes of large blocks that were given back to the system at once, and the number of calls.
    dropped: AtomicU64,
    drops: AtomicU64,
    /// How often a run or a mapping was freed.
    returns: AtomicU64,
}

impl Account {
    pub(super) const fn new() -> Account {
        Account {
            huge: AtomicU64::new(0),
            active: AtomicU64::new(0),
            peak_active: AtomicU64::new(0),
            dirty: AtomicU64::new(0),
            refaulted: AtomicU64::new(0),
            prefaulted: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            drops: AtomicU64::new(0),
            returns: AtomicU64::new(0),
        }
    }

    /// Returns the bytes in huge blocks.
    pub(super) fn huge_bytes(&self) -> u64 {
        self.huge.load(Ordering::Relaxed)
    }

    /// Adds the length of a new huge block, in bytes, or what one has grown by.
    pub(super) fn add_huge(&self, bytes: u64) {
        self.huge.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Subtracts the length of a freed huge block, in bytes, or what one has shrunk by.
    pub(super) fn remove_huge(&self, bytes: u64) {
        self.huge.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts `bytes` of clean pages that were prefaulted.
    pub(super) fn note_prefaulted(&self, bytes: u64) {
        self.prefaulted.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns the bytes of clean pages that were prefaulted so far.
    pub(crate) fn prefaulted_bytes(&self) -> u64 {
        self.prefaulted.load(Ordering::Relaxed)
    }

    /// Counts that a run or a mapping was freed.
    pub(super) fn note_return(&self) {
        // Two threads may count as one. The reader only asks whether the count has changed.
        let returns = self.returns.load(Ordering::Relaxed);
        self.returns.store(returns.wrapping_add(1), Ordering::Relaxed);
    }

    /// Returns how often a run or a mapping was freed, as a hint.
    pub(crate) fn returns(&self) -> u64 {
        self.returns.load(Ordering::Relaxed)
    }

    /// Counts one call that gave `bytes` of a large block back to the system, because the block
    /// must read as zero.
    pub(super) fn note_dropped(&self, bytes: u64) {
        self.dropped.fetch_add(bytes, Ordering::Relaxed);
        self.drops.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the bytes of large blocks that were given back at once, and the number of calls.
    pub(crate) fn dropped(&self) -> (u64, u64) {
        (self.dropped.load(Ordering::Relaxed), self.drops.load(Ordering::Relaxed))
    }

    /// Returns the bytes in slabs, large blocks and huge blocks when pages were last taken or given
    /// back.
    pub(crate) fn active_bytes(&self) -> u64 {
        self.active.load(Ordering::Relaxed)
    }

    /// Returns the bytes in slabs and large blocks: the part that the free pages could serve again.
    pub(crate) fn arena_active_bytes(&self) -> u64 {
        self.active_bytes().saturating_sub(self.huge_bytes())
    }

    /// Returns the highest value of [`Account::active_bytes`] so far.
    pub(crate) fn peak_active_bytes(&self) -> u64 {
        self.peak_active.load(Ordering::Relaxed)
    }

    /// Returns the bytes of free dirty pages when pages were last taken or given back.
    pub(crate) fn dirty_bytes(&self) -> u64 {
        self.dirty.load(Ordering::Relaxed)
    }

    /// Returns how many purged pages had been taken again when pages were last taken or given back.
    pub(crate) fn refaulted_pages(&self) -> u64 {
        self.refaulted.load(Ordering::Relaxed)
    }

    /// Stores the bytes in slabs, large and huge blocks, the bytes of free dirty pages, and the
    /// number of purged pages taken again so far.
    pub(super) fn note(&self, active: u64, dirty: u64, refaulted: u64) {
        self.refaulted.store(refaulted, Ordering::Relaxed);
        self.active.store(active, Ordering::Relaxed);
        self.dirty.store(dirty, Ordering::Relaxed);
        // The peak is usually higher; then this call writes nothing.
        if active > self.peak_active_bytes() {
            self.peak_active.fetch_max(active, Ordering::Relaxed);
        }
    }
}
