//! The policies by name, and the limits of those that are made of epochs.

use core::fmt::{self, Write};

use super::Within;

/// When memory goes back to the system by itself.
///
/// All but the first two are experiments to compare with: `docs/experiments/README.md` describes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Never: the reference for speed. [`crate::collect`] still works.
    Off,
    /// What stays free goes back within a second, from every thread state.
    Default,
    /// Segment scan: ranges of free pages at every epoch.
    S57b2,
    /// Decay of thread caches; nothing goes back to the system.
    S58,
    /// S58, and what became free is purged in the same epoch, as far as the budget goes.
    S60,
    /// Hard purge at a thread's end.
    S61,
    /// Retire and purge at a thread's end.
    S62,
    /// Cache dump, retire, and a queue that delays the purge.
    S64,
    /// S64, and a range joins the entry that it follows.
    S64P1a,
    /// P1a, and what is still free of an entry is purged, not all or nothing.
    S64P1b,
    /// P1b with a delay of 8 epochs.
    S64P1c,
}

/// The policies by their names in `HZ3_POLICY`.
const POLICIES: [(&str, Policy); 11] = [
    ("off", Policy::Off),
    ("default", Policy::Default),
    ("s57b2", Policy::S57b2),
    ("s58", Policy::S58),
    ("s60", Policy::S60),
    ("s61", Policy::S61),
    ("s62", Policy::S62),
    ("s64", Policy::S64),
    ("s64-p1a", Policy::S64P1a),
    ("s64-p1b", Policy::S64P1b),
    ("s64-p1c", Policy::S64P1c),
];

impl Policy {
    /// The policy of that name.
    pub(super) fn named(text: &[u8]) -> Option<Policy> {
        let named = POLICIES.iter().find(|(name, _)| name.as_bytes() == text);
        named.map(|(_, policy)| *policy)
    }

    /// Writes all names, for a message.
    pub(super) fn write_names(out: &mut dyn Write) -> fmt::Result {
        for (index, (name, _)) in POLICIES.iter().enumerate() {
            let before = match index {
                0 => "",
                _ if index + 1 == POLICIES.len() => " or ",
                _ => ", ",
            };
            write!(out, "{before}{name}")?;
        }
        Ok(())
    }

    /// Returns its name in `HZ3_POLICY`.
    pub fn name(self) -> &'static str {
        POLICIES.iter().find(|(_, policy)| *policy == self).map_or("", |(name, _)| name)
    }
}

/// Limits of the policies that are made of epochs; `None`: the policy's own. Each has a step that
/// it belongs to, and says nothing to a policy without that step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Slow paths of one thread between two epochs (`HZ3_EPOCH_INTERVAL`); 0: by time only.
    pub epoch_interval: Option<Within<0, 1_000_000>>,
    /// Epochs that a queued range waits (`HZ3_PURGE_DELAY`).
    pub purge_delay: Option<Within<0, 1_000_000>>,
    /// Milliseconds that it waits at least (`HZ3_PURGE_DELAY_MS`).
    pub purge_delay_ms: Option<Within<0, 3_600_000>>,
    /// Pages purged in one epoch at most (`HZ3_PURGE_PAGES`).
    pub purge_pages: Option<Within<1, { u32::MAX }>>,
    /// Calls of madvise in one epoch at most (`HZ3_PURGE_CALLS`).
    pub purge_calls: Option<Within<1, { u32::MAX }>>,
    /// Entries of the queue (`HZ3_PURGE_QUEUE`).
    pub purge_queue: Option<Within<1, 256>>,
    /// Pages of the shortest range that a scan purges (`HZ3_MIN_RANGE`).
    pub min_range: Option<Within<1, 1024>>,
    /// Epochs that a segment must have been left alone for a scan (`HZ3_DECAY_EPOCHS`).
    pub decay_epochs: Option<Within<0, 1_000_000>>,
    /// Epochs of surplus before a cache's capacity falls (`HZ3_CACHE_OVERAGES`).
    pub cache_overages: Option<Within<1, 1000>>,
    /// Blocks that decay puts back in one epoch at most (`HZ3_RECLAIM_BUDGET`).
    pub reclaim_budget: Option<Within<1, { u32::MAX }>>,
    /// Pages queued in one epoch at most (`HZ3_RETIRE_BUDGET`).
    pub retire_budget: Option<Within<1, { u32::MAX }>>,
    /// Blocks that a dump puts back in one epoch at most (`HZ3_DUMP_BUDGET`).
    pub dump_budget: Option<Within<1, { u32::MAX }>>,
}

impl Limits {
    /// The policies' own.
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
