//! The statistics of the last epoch.

use hz3::Stats;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The number of readings so far, and the last one.
static LAST: Mutex<(u64, Option<Stats>)> = Mutex::new((0, None));

fn last() -> MutexGuard<'static, (u64, Option<Stats>)> {
    // A panic cannot leave half a reading behind.
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the statistics; returns the number of this reading.
pub(crate) fn advance() -> u64 {
    let stats = hz3::stats();
    let mut last = last();
    *last = (last.0 + 1, Some(stats));
    last.0
}

/// Returns the number of the last reading.
pub(crate) fn number() -> u64 {
    last().0
}

/// Returns a figure of the last reading; makes the first one if there is none.
pub(crate) fn figure(figure: impl Fn(&Stats) -> u64) -> usize {
    let mut last = last();
    let stats = last.1.get_or_insert_with(hz3::stats);
    usize::try_from(figure(stats)).unwrap_or(usize::MAX)
}
