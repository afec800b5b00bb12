//! The reclaim policies and their names.

use core::fmt::{self, Write};

/// When hz3 gives memory back to the system on its own.
///
/// All policies except the first two need the feature `experiments` and are for comparison;
/// `docs/experiments/README.md` describes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Never: the reference for speed. [`crate::collect`] still works.
    Off,
    /// Within about a second after memory became free, whatever state its thread is in.
    Default,
    /// Every epoch scans the segments and purges ranges of free pages.
    #[cfg(feature = "experiments")]
    S57b2,
    /// Thread caches decay; no memory goes back to the system.
    #[cfg(feature = "experiments")]
    S58,
    /// As S58; memory that became free is purged in the same epoch, within a budget.
    #[cfg(feature = "experiments")]
    S60,
    /// Every ending thread purges all free pages.
    #[cfg(feature = "experiments")]
    S61,
    /// Every ending thread retires empty slabs and purges their pages.
    #[cfg(feature = "experiments")]
    S62,
    /// Threads dump their caches, empty slabs retire, and a queue delays the purge.
    #[cfg(feature = "experiments")]
    S64,
    /// As S64; a range is merged into the entry that it follows.
    #[cfg(feature = "experiments")]
    S64P1a,
    /// As S64-P1a; the still free part of an entry is purged, instead of all or nothing.
    #[cfg(feature = "experiments")]
    S64P1b,
    /// As S64-P1b, with a delay of 8 epochs.
    #[cfg(feature = "experiments")]
    S64P1c,
}

/// The policies and their names in `HZ3_POLICY`.
const POLICIES: &[(&str, Policy)] = &[
    ("off", Policy::Off),
    ("default", Policy::Default),
    #[cfg(feature = "experiments")]
    ("s57b2", Policy::S57b2),
    #[cfg(feature = "experiments")]
    ("s58", Policy::S58),
    #[cfg(feature = "experiments")]
    ("s60", Policy::S60),
    #[cfg(feature = "experiments")]
    ("s61", Policy::S61),
    #[cfg(feature = "experiments")]
    ("s62", Policy::S62),
    #[cfg(feature = "experiments")]
    ("s64", Policy::S64),
    #[cfg(feature = "experiments")]
    ("s64-p1a", Policy::S64P1a),
    #[cfg(feature = "experiments")]
    ("s64-p1b", Policy::S64P1b),
    #[cfg(feature = "experiments")]
    ("s64-p1c", Policy::S64P1c),
];

impl Policy {
    /// Returns the policy with the name `text`.
    pub(super) fn named(text: &[u8]) -> Option<Policy> {
        let named = POLICIES.iter().find(|(name, _)| name.as_bytes() == text);
        named.map(|(_, policy)| *policy)
    }

    /// Writes the names of all policies, for a message.
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

    /// Returns the policy's name in `HZ3_POLICY`.
    pub fn name(self) -> &'static str {
        POLICIES.iter().find(|(_, policy)| *policy == self).map_or("", |(name, _)| name)
    }
}
