//! The limits of the experiments.

use super::Within;

/// Limits of the experimental policies, which run in epochs; `None` means the policy's own value.
///
/// Each limit belongs to one step of an epoch. A policy without that step ignores it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Slow paths of one thread per epoch (`HZ3_EPOCH_INTERVAL`); 0 means by time only.
    pub epoch_interval: Option<Within<0, 1_000_000>>,
    /// Epochs that a queued range waits (`HZ3_PURGE_DELAY`).
    pub purge_delay: Option<Within<0, 1_000_000>>,
    /// The shortest wait of a queued range, in milliseconds (`HZ3_PURGE_DELAY_MS`).
    pub purge_delay_ms: Option<Within<0, 3_600_000>>,
    /// The most pages that one epoch purges (`HZ3_PURGE_PAGES`).
    pub purge_pages: Option<Within<1, { u32::MAX }>>,
    /// The most calls of madvise in one epoch (`HZ3_PURGE_CALLS`).
    pub purge_calls: Option<Within<1, { u32::MAX }>>,
    /// The most entries in the queue (`HZ3_PURGE_QUEUE`).
    pub purge_queue: Option<Within<1, 256>>,
    /// Pages of the shortest range that a scan purges (`HZ3_MIN_RANGE`).
    pub min_range: Option<Within<1, 1024>>,
    /// Epochs without use after which a scan examines a segment (`HZ3_DECAY_EPOCHS`).
    pub decay_epochs: Option<Within<0, 1_000_000>>,
    /// Epochs of surplus before a cache's capacity falls (`HZ3_CACHE_OVERAGES`).
    pub cache_overages: Option<Within<1, 1000>>,
    /// The most blocks that decay returns in one epoch (`HZ3_RECLAIM_BUDGET`).
    pub reclaim_budget: Option<Within<1, { u32::MAX }>>,
    /// The most pages queued in one epoch (`HZ3_RETIRE_BUDGET`).
    pub retire_budget: Option<Within<1, { u32::MAX }>>,
    /// The most blocks that a dump returns in one epoch (`HZ3_DUMP_BUDGET`).
    pub dump_budget: Option<Within<1, { u32::MAX }>>,
}

impl Limits {
    /// Creates limits that leave each policy its own values.
    pub const fn new() -> Limits {
        Limits {
            epoch_interval: None,
            purge_delay: None,
            purge_delay_ms: None,
            purge_pages: None,
            purge_calls: None,
            purge_queue: None,
            min_range: None,
            decay_epochs: None,
            cache_overages: None,
            reclaim_budget: None,
            retire_budget: None,
            dump_budget: None,
        }
    }
}
