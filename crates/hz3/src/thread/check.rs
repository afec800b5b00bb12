//! Validates the heap after slow paths, in a build that checks itself (feature `check`).

use core::sync::atomic::{AtomicU32, Ordering};

use super::{shut, tls};
use crate::heap::Heap;
use crate::options::Config;
use crate::os::held;
use crate::os::linux::Linux;

/// Slow paths of the process from one validation to the next; 0: there is none.
static INTERVAL: AtomicU32 = AtomicU32::new(0);
/// Slow paths so far.
static SLOW_PATHS: AtomicU32 = AtomicU32::new(0);

/// Takes the configuration over; before the first allocation is served.
pub(super) fn configure(config: &Config) {
    INTERVAL.store(config.validate.get(), Ordering::Relaxed);
}

/// After a slow path, with no lock held: validates the heap if it is time. Not in a signal handler
/// or hook that came on top of an operation, whose locks would be waited for.
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
