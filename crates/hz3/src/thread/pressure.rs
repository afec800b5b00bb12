//! Follows the limits of the control group and the pressure on memory while the process runs.
//!
//! The reclaimer reads them every two seconds at most. Slow paths do not, because that takes more
//! of the stack than a signal handler may have. A limit that was configured relative to the group's
//! changes with it. If tasks waited for memory for a tenth of the time, everything that is free
//! goes back at once, before the kernel reclaims pages in use or ends a process.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::cgroup::Group;
use super::file::Unread;
use super::{GLOBAL, present_front, process, shut};
use crate::heap::Heap;
use crate::options::{Config, Limit};
use crate::os::Os;
use crate::os::linux::Linux;

/// Milliseconds between two readings.
const PERIOD_MS: u64 = 2000;
/// Memory is short if tasks waited for it for a tenth of the time.
const STALLED_DIVISOR: u64 = 10;

/// When the next reading is due, in milliseconds of the monotonic clock.
static NEXT_MS: AtomicU64 = AtomicU64::new(0);
/// Held while a thread reads. No thread waits for it.
///
/// There may be two such threads: a reclaimer that was silent for seconds, perhaps stopped in the
/// middle of a reading, is replaced by another one and goes on beside it until its next turn.
static READING: AtomicBool = AtomicBool::new(false);
/// The last reading. Only the thread that holds [`READING`] uses it.
static LAST: Last = Last { at_ms: AtomicU64::new(0), stalled_us: AtomicU64::new(0) };

/// Reads the limits and the pressure if it is time. The caller holds no lock of the heap.
pub(super) fn follow(heap: &'static Heap<Linux>) {
    let now_ms = Linux.now_ms();
    if now_ms < NEXT_MS.load(Ordering::Relaxed) || shut::is_shut() || !process::is_own() {
        return;
    }
    let Some(config) = *GLOBAL.config.lock() else { return };
    let follows_limit = matches!(config.limit, Limit::Cgroup { .. });
    // Acquire pairs with the release store below: one thread reads after the other.
    if !(follows_limit || config.pressure) || READING.swap(true, Ordering::Acquire) {
        return;
    }
    NEXT_MS.store(now_ms + PERIOD_MS, Ordering::Relaxed);
    let is_short = match Group::read() {
        Ok(group) => {
            apply(heap, &group);
            group.stalled_us.is_some_and(|stalled_us| LAST.is_short(now_ms, stalled_us))
        }
        // The limit of the last reading stays in force.
        Err(Unread) => false,
    };
    // Release pairs with the acquire swap above.
    READING.store(false, Ordering::Release);
    if is_short && config.pressure {
        heap.release_for_system(present_front());
    }
}

/// Applies the limits of a reading, unless the configured limit is not relative to them any more.
fn apply(heap: &Heap<Linux>, group: &Group) {
    // The program may have set another limit during the reading. One that it sets from now on is
    // applied after this one, because that takes the lock too.
    let config = GLOBAL.config.lock();
    if let Some(Config { limit: limit @ Limit::Cgroup { .. }, .. }) = *config {
        let (limit, soft) = group.limits(limit);
        heap.set_limit(limit, soft);
    }
}

/// In a forked child: forgets the thread that may have been reading.
pub(super) fn forget_other_threads() {
    if READING.load(Ordering::Relaxed) {
        READING.store(false, Ordering::Relaxed);
    }
}

/// A reading of the time that tasks waited for memory.
struct Last {
    /// 0 before the first reading.
    at_ms: AtomicU64,
    stalled_us: AtomicU64,
}

impl Last {
    /// Returns whether memory was short since the last reading, and notes this one.
    fn is_short(&self, now_ms: u64, stalled_us: u64) -> bool {
        let before = self.at_ms.swap(now_ms, Ordering::Relaxed);
        let stalled =
            stalled_us.saturating_sub(self.stalled_us.swap(stalled_us, Ordering::Relaxed));
        let passed_us = now_ms.saturating_sub(before) * 1000;
        before > 0 && stalled > 0 && stalled >= passed_us / STALLED_DIVISOR
    }
}

#[cfg(test)]
mod tests {
    use super::Last;
    use core::sync::atomic::AtomicU64;

    #[test]
    fn memory_is_short_while_tasks_wait_for_a_tenth_of_the_time() {
        let last = Last { at_ms: AtomicU64::new(0), stalled_us: AtomicU64::new(0) };
        assert!(!last.is_short(5000, 9_000_000), "nothing to compare with");
        assert!(!last.is_short(7000, 9_199_999));
        assert!(last.is_short(9000, 9_399_999));
        assert!(!last.is_short(11_000, 9_399_999));
        assert!(last.is_short(111_000, 19_399_999), "after a rest the mean counts");
        assert!(!last.is_short(111_000, 19_399_999), "no time, no wait");
        assert!(!last.is_short(113_000, 0), "another group");
    }
}
