//! The policies by name.

use core::fmt::{self, Write};

/// When memory goes back to the system by itself.
///
/// All but the first two are experiments to compare with, and need the feature of that name:
/// `docs/experiments/README.md` describes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Never: the reference for speed. [`crate::collect`] still works.
    Off,
    /// What stays free goes back within a second, from every thread state.
    Default,
    /// Segment scan: ranges of free pages at every epoch.
    #[cfg(feature = "experiments")]
    S57b2,
    /// Decay of thread caches; nothing goes back to the system.
    #[cfg(feature = "experiments")]
    S58,
    /// S58, and what became free is purged in the same epoch, as far as the budget goes.
    #[cfg(feature = "experiments")]
    S60,
    /// Hard purge at a thread's end.
    #[cfg(feature = "experiments")]
    S61,
    /// Retire and purge at a thread's end.
    #[cfg(feature = "experiments")]
    S62,
    /// Cache dump, retire, and a queue that delays the purge.
    #[cfg(feature = "experiments")]
    S64,
    /// S64, and a range joins the entry that it follows.
    #[cfg(feature = "experiments")]
    S64P1a,
    /// P1a, and what is still free of an entry is purged, not all or nothing.
    #[cfg(feature = "experiments")]
    S64P1b,
    /// P1b with a delay of 8 epochs.
    #[cfg(feature = "experiments")]
    S64P1c,
}

/// The policies by their names in `HZ3_POLICY`.
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
