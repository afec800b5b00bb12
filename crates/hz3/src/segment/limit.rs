//! The memory limit: what the heap may hold, and when it is under pressure.
//!
//! Held is what the system has to back at most: pages in use and free dirty pages, each with its
//! share of the tables, and huge blocks. Taking pages or a mapping asks this file; a hit never does.
//!
//! ```text
//!   held:   0 ---------------- near (7/8) ------------- limit
//!           nothing happens     pressure, now and again  pressure, and then refusal or not
//! ```
//!
//! One line: taking pages raises the pressure; the driver of reclaim takes it after the slow path, when
//! no lock is held, empties the caches and gives free pages back; the limit notes what is left. This
//! file calls nothing.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::options::{Config, Limit, LimitMode};

/// There is pressure when all but this part of the limit is held.
const NEAR_PART: u64 = 8;
/// There is again when this part of the limit more is held than after the last release.
const GRAIN_PART: u64 = 64;

/// What the heap may hold.
#[derive(Debug)]
pub(crate) struct MemoryLimit {
    /// In bytes; the highest number when there is none.
    limit: u64,
    mode: LimitMode,
    under_pressure: AtomicBool,
    /// Held bytes at which there is pressure next.
    next_pressure: AtomicU64,
    releases: AtomicU64,
}

impl MemoryLimit {
    /// The configured limit. One in terms of the control group must have been resolved.
    pub(crate) fn new(config: &Config) -> MemoryLimit {
        let limit = match config.limit {
            Limit::Bytes(bytes) => bytes.get(),
            Limit::None | Limit::Cgroup { .. } => u64::MAX,
        };
        MemoryLimit {
            limit,
            mode: config.limit_mode,
            under_pressure: AtomicBool::new(false),
            next_pressure: AtomicU64::new(limit - limit / NEAR_PART),
            releases: AtomicU64::new(0),
        }
    }

    /// The limit in bytes, if there is one.
    pub(crate) fn bytes(&self) -> Option<u64> {
        (self.limit < u64::MAX).then_some(self.limit)
    }

    /// Whether so little is left that nothing free should wait.
    pub(crate) fn is_near(&self, held: u64) -> bool {
        self.bytes().is_some_and(|limit| held >= limit - limit / NEAR_PART)
    }

    /// Whether the heap may hold `held` bytes. Notes the pressure.
    pub(crate) fn admits(&self, held: u64) -> bool {
        let Some(limit) = self.bytes() else { return true };
        if held >= self.next_pressure.load(Ordering::Relaxed) {
            self.under_pressure.store(true, Ordering::Relaxed);
        } else if !self.is_near(held) {
            self.set_next_pressure(0);
        }
        held <= limit || self.mode == LimitMode::Reclaim
    }

    /// Whether there is pressure, which the caller is to release then.
    pub(crate) fn take_pressure(&self) -> bool {
        self.under_pressure.load(Ordering::Relaxed)
            && self.under_pressure.swap(false, Ordering::Relaxed)
    }

    /// After a release: `held` bytes are left.
    pub(crate) fn note_release(&self, held: u64) {
        self.releases.fetch_add(1, Ordering::Relaxed);
        self.set_next_pressure(held);
    }

    /// Number of times that caches were emptied and pages given back because of the limit.
    pub(crate) fn releases(&self) -> u64 {
        self.releases.load(Ordering::Relaxed)
    }

    /// The next pressure comes a grain above `held`, and not before the limit is near.
    fn set_next_pressure(&self, held: u64) {
        let near = self.limit - self.limit / NEAR_PART;
        let next = near.max(held.saturating_add(self.limit / GRAIN_PART));
        self.next_pressure.store(next, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryLimit;
    use crate::options::{Config, Limit, LimitMode};
    use core::num::NonZero;

    fn memory_limit(mode: LimitMode) -> MemoryLimit {
        MemoryLimit::new(&Config {
            limit: Limit::Bytes(NonZero::new(6400).unwrap()),
            limit_mode: mode,
            ..Config::new()
        })
    }

    #[test]
    fn without_a_limit_everything_is_admitted() {
        let limit = MemoryLimit::new(&Config::new());
        assert!(limit.admits(u64::MAX) && !limit.take_pressure());
        assert!(!limit.is_near(u64::MAX) && limit.bytes().is_none());
    }

    #[test]
    fn pressure_comes_near_the_limit_and_once_a_grain() {
        let limit = memory_limit(LimitMode::Fail);
        assert!(limit.admits(5599) && !limit.take_pressure());
        assert!(limit.admits(5600) && limit.take_pressure());
        assert!(!limit.take_pressure(), "one takes it");
        limit.note_release(5600);
        assert!(limit.admits(5699) && !limit.take_pressure());
        assert!(limit.admits(5700) && limit.take_pressure());
        limit.note_release(6300);
        // Far from the limit the next approach is as the first one.
        assert!(limit.admits(100) && !limit.take_pressure());
        assert!(limit.admits(5600) && limit.take_pressure());
    }

    #[test]
    fn beyond_the_limit_the_mode_decides() {
        assert!(memory_limit(LimitMode::Fail).admits(6400));
        assert!(!memory_limit(LimitMode::Fail).admits(6401));
        assert!(memory_limit(LimitMode::Reclaim).admits(6401));
    }
}
