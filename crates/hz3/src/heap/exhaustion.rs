//! Exhaustion: one attempt to make room, and no further one until memory came back or time passed.
//!
//! Emptying the caches of all threads costs each of them its next refills. A program that keeps
//! asking for memory that it cannot get must not slow its other threads down. So after an attempt
//! that made no room, only the caller's own cache is emptied, until pages came back or some time
//! has passed.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use super::Heap;
use crate::base::size_class::SizeClass;
use crate::cache::Front;
use crate::os::Os;

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
    fn may_help(&self, now_ms: u64, returns: u64) -> bool {
        let failed_at = self.failed_at_ms.load(Ordering::Relaxed);
        failed_at == u64::MAX
            || self.returns.load(Ordering::Relaxed) != returns
            || now_ms.saturating_sub(failed_at) >= RETRY_MS
    }

    fn note(&self, failed_at_ms: u64, returns: u64) {
        self.returns.store(returns, Ordering::Relaxed);
        self.failed_at_ms.store(failed_at_ms, Ordering::Relaxed);
    }
}

impl<O: Os> Heap<O> {
    /// Makes room after an attempt to get memory failed, and tries once more.
    #[cold]
    pub(super) fn retry<T>(
        &self,
        front: Front<'_>,
        attempt: impl FnOnce() -> Option<T>,
    ) -> Option<T> {
        let now_ms = self.os().now_ms();
        if self.exhaustion.may_help(now_ms, self.segments.account().returns()) {
            self.reclaim.make_room(self.layers(front));
        } else {
            self.reclaim.make_own_room(self.layers(front));
        }
        let result = attempt();
        let failed_at_ms = if result.is_some() { u64::MAX } else { now_ms };
        self.exhaustion.note(failed_at_ms, self.segments.account().returns());
        self.central.end_if_faulty();
        result
    }

    /// Returns how many requests for memory the memory limit refused so far.
    #[inline]
    pub(crate) fn refusals(&self) -> u64 {
        self.segments.limit().refusals()
    }

    /// Returns true once after a refusal, and again only after the limit was not near meanwhile.
    pub(crate) fn take_first_refusal(&self) -> bool {
        self.segments.limit().take_first_refusal()
    }

    /// Returns whether the program may make room now: it did so at its last call, or pages came
    /// back or some time has passed since that call.
    pub(crate) fn may_ask(&self) -> bool {
        self.asked.may_help(self.os().now_ms(), self.segments.account().returns())
    }

    /// Notes whether an allocation succeeded after the program was asked to make room.
    pub(crate) fn note_asked(&self, has_helped: bool) {
        let failed_at_ms = if has_helped { u64::MAX } else { self.os().now_ms() };
        self.asked.note(failed_at_ms, self.segments.account().returns());
    }

    /// Gives a small block a run or a mapping of its own, if no slab of its class can be made.
    #[cold]
    pub(super) fn allocate_without_slab(&self, class: SizeClass) -> Option<NonNull<u8>> {
        // An aligned request comes with a class whose blocks all have the alignment.
        let bytes = class.block_bytes();
        let align = 1 << bytes.trailing_zeros();
        self.try_large(bytes, align).map(|(block, _)| block)
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
