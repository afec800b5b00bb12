//! How much memory the layer holds, and how much it held at most.

use core::sync::atomic::{AtomicU64, Ordering};

/// What is counted beside the page heap's own counts.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Bytes of the huge blocks.
    huge: AtomicU64,
    peak_active: AtomicU64,
    /// Bytes of clean pages that were populated.
    populated: AtomicU64,
}

impl Account {
    pub(crate) const fn new() -> Account {
        Account {
            huge: AtomicU64::new(0),
            peak_active: AtomicU64::new(0),
            populated: AtomicU64::new(0),
        }
    }

    /// Bytes of the huge blocks.
    pub(crate) fn huge_bytes(&self) -> u64 {
        self.huge.load(Ordering::Relaxed)
    }

    /// Counts a huge block of this many bytes.
    pub(crate) fn add_huge(&self, bytes: u64) {
        self.huge.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Undoes [`Account::add_huge`].
    pub(crate) fn remove_huge(&self, bytes: u64) {
        self.huge.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts bytes of clean pages that were populated.
    pub(crate) fn note_populated(&self, bytes: u64) {
        self.populated.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of clean pages that were populated.
    pub(crate) fn populated_bytes(&self) -> u64 {
        self.populated.load(Ordering::Relaxed)
    }

    /// The most that [`Account::note_active`] was told.
    pub(crate) fn peak_active_bytes(&self) -> u64 {
        self.peak_active.load(Ordering::Relaxed)
    }

    /// Notes how much is in slabs, large and huge blocks now.
    pub(crate) fn note_active(&self, bytes: u64) {
        // Most calls find a peak that is higher; those write nothing.
        if bytes > self.peak_active_bytes() {
            self.peak_active.fetch_max(bytes, Ordering::Relaxed);
        }
    }
}
