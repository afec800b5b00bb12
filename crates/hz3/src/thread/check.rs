//! Validates the heap after slow paths, in a build with the feature `check`.

use core::sync::atomic::{AtomicU32, Ordering};

use super::{shut, tls};
use crate::heap::Heap;
use crate::options::Config;
use crate::os::held;
use crate::os::linux::Linux;

/// A validation follows every slow path of the process whose number is a multiple of this; 0: none.
static INTERVAL: AtomicU32 = AtomicU32::new(0);
/// The number of slow paths of the process so far.
static SLOW_PATHS: AtomicU32 = AtomicU32::new(0);

/// Stores the interval. Called before the first allocation is served.
pub(super) fn configure(config: &Config) {
    INTERVAL.store(config.validate.get(), Ordering::Relaxed);
}

/// Validates the heap if it is time. Called after a slow path, with no lock held.
///
/// It skips the validation in a signal handler or hook that interrupted an operation, because it
/// would wait for that operation's locks.
pub(super) fn after_slow_path(heap: &'static Heap<Linux>) {
    let interval = INTERVAL.load(Ordering::Relaxed);
    if interval == 0
        || !SLOW_PATHS.fetch_add(1, Ordering::Relaxed).is_multiple_of(interval)
        || shut::is_shut()
        || held::is_purging()
        || held::is_ticking()
    {
        return;
    }
    heap.validate_at_work(tls::own());
}
