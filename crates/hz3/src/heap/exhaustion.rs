//! Exhaustion: one attempt to make room, and no further one until memory came back or time passed.
//!
//! Emptying the caches of all threads costs each of them its next refills. A program that keeps
//! asking for memory that it cannot get must not slow its other threads down. So after an attempt
//! that made no room, only the caller's own cache is emptied, until pages came back or some time
//! has passed.

use core::sync::atomic::{AtomicU64, Ordering};

/// Milliseconds after which other threads' caches may again hold enough blocks.
const RETRY_MS: u64 = 100;

/// The last attempt that made no room. The fields are hints: several threads may write them at
/// once.
#[derive(Debug)]
pub(super) struct Exhaustion {
    /// The time of that attempt in milliseconds; `u64::MAX` if none failed since the last success.
    failed_at_ms: AtomicU64,
    /// How often pages had come back by then.
    returns: AtomicU64,
}

impl Exhaustion {
    pub(super) const fn new() -> Exhaustion {
        Exhaustion { failed_at_ms: AtomicU64::new(u64::MAX), returns: AtomicU64::new(0) }
    }

    /// Returns whether emptying all caches may make room.
    pub(super) fn may_help(&self, now_ms: u64, returns: u64) -> bool {
        let failed_at = self.failed_at_ms.load(Ordering::Relaxed);
        failed_at == u64::MAX
            || self.returns.load(Ordering::Relaxed) != returns
            || now_ms.saturating_sub(failed_at) >= RETRY_MS
    }

    pub(super) fn note(&self, failed_at_ms: u64, returns: u64) {
        self.returns.store(returns, Ordering::Relaxed);
        self.failed_at_ms.store(failed_at_ms, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{Exhaustion, RETRY_MS};

    #[test]
    fn after_a_failure_only_returned_pages_or_time_allow_another_attempt() {
        let exhaustion = Exhaustion::new();
        assert!(exhaustion.may_help(5, 0));
        exhaustion.note(5, 7);
        assert!(!exhaustion.may_help(5, 7) && !exhaustion.may_help(4 + RETRY_MS, 7));
        assert!(exhaustion.may_help(5, 8), "pages came back");
        assert!(exhaustion.may_help(5 + RETRY_MS, 7), "time has passed");
        exhaustion.note(u64::MAX, 9);
        assert!(exhaustion.may_help(6, 9), "it succeeded");
    }
}
