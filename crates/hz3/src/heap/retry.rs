//! Requests for which there is no memory: room is made for them, and they are tried once more.

use super::Heap;
use crate::cache::Front;
use crate::os::Os;

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
}
