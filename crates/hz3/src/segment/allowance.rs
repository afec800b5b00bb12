//! The limit on what the heap holds, and how close it is.
//!
//! Held is what the system has to back at most: pages in use and free dirty pages, each with its
//! share of the tables, and huge blocks. It is looked at where pages and mappings are taken, which is never a hit.
//!
//! ```text
//!   held:   0 ---------------- near (7/8) ------------- limit
//!           nothing happens     relief, now and again    relief, and then refusal or not
//! ```
//!
//! Relief means that caches are emptied and free pages given back; a slow path does it once it
//! holds no lock.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::options::{Config, Limit, LimitMode};

/// Relief begins when all but this part of the limit is held.
const NEAR_PART: u64 = 8;
/// It comes again when this part of the limit more is held than after the last one.
const GRAIN_PART: u64 = 64;

/// What the heap may hold.
#[derive(Debug)]
pub(crate) struct Allowance {
    /// In bytes; the highest number when there is none.
    limit: u64,
    mode: LimitMode,
    /// Whether relief is due.
    pressed: AtomicBool,
    /// Bytes at which relief is due next.
    next_relief: AtomicU64,
    reliefs: AtomicU64,
}

impl Allowance {
    /// The configured limit. One in terms of the control group must have been resolved.
    pub(crate) fn new(config: &Config) -> Allowance {
        let limit = match config.limit {
            Limit::Bytes(bytes) => bytes.get(),
            Limit::None | Limit::Cgroup { .. } => u64::MAX,
        };
        Allowance {
            limit,
            mode: config.limit_mode,
            pressed: AtomicBool::new(false),
            next_relief: AtomicU64::new(limit - limit / NEAR_PART),
            reliefs: AtomicU64::new(0),
        }
    }

    /// The limit in bytes, if there is one.
    pub(crate) fn limit(&self) -> Option<u64> {
        (self.limit < u64::MAX).then_some(self.limit)
    }

    /// Whether so little is left that nothing free should wait.
    pub(crate) fn is_near(&self, held: u64) -> bool {
        self.limit().is_some_and(|limit| held >= limit - limit / NEAR_PART)
    }

    /// Whether the heap may hold `held` bytes. Notes when relief is due.
    pub(crate) fn admits(&self, held: u64) -> bool {
        let Some(limit) = self.limit() else { return true };
        if held >= self.next_relief.load(Ordering::Relaxed) {
            self.pressed.store(true, Ordering::Relaxed);
        } else if !self.is_near(held) {
            self.set_next_relief(0);
        }
        held <= limit || self.mode == LimitMode::Reclaim
    }

    /// Whether relief is due, and it falls to the caller.
    pub(crate) fn take_pressure(&self) -> bool {
        self.pressed.load(Ordering::Relaxed) && self.pressed.swap(false, Ordering::Relaxed)
    }

    /// After relief: `held` bytes are left.
    pub(crate) fn relieved(&self, held: u64) {
        self.reliefs.fetch_add(1, Ordering::Relaxed);
        self.set_next_relief(held);
    }

    /// Number of times that caches were emptied and pages given back because of the limit.
    pub(crate) fn reliefs(&self) -> u64 {
        self.reliefs.load(Ordering::Relaxed)
    }

    /// Relief is due again a grain above `held`, and not before the limit is near.
    fn set_next_relief(&self, held: u64) {
        let near = self.limit - self.limit / NEAR_PART;
        let next = near.max(held.saturating_add(self.limit / GRAIN_PART));
        self.next_relief.store(next, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::Allowance;
    use crate::options::{Config, Limit, LimitMode};
    use core::num::NonZero;

    fn allowance(mode: LimitMode) -> Allowance {
        Allowance::new(&Config {
            limit: Limit::Bytes(NonZero::new(6400).unwrap()),
            limit_mode: mode,
            ..Config::new()
        })
    }

    #[test]
    fn without_a_limit_everything_is_admitted() {
        let allowance = Allowance::new(&Config::new());
        assert!(allowance.admits(u64::MAX) && !allowance.take_pressure());
        assert!(!allowance.is_near(u64::MAX) && allowance.limit().is_none());
    }

    #[test]
    fn relief_comes_near_the_limit_and_once_a_grain() {
        let allowance = allowance(LimitMode::Fail);
        assert!(allowance.admits(5599) && !allowance.take_pressure());
        assert!(allowance.admits(5600) && allowance.take_pressure());
        assert!(!allowance.take_pressure(), "one takes it");
        allowance.relieved(5600);
        assert!(allowance.admits(5699) && !allowance.take_pressure());
        assert!(allowance.admits(5700) && allowance.take_pressure());
        allowance.relieved(6300);
        // Far from the limit the next approach is as the first one.
        assert!(allowance.admits(100) && !allowance.take_pressure());
        assert!(allowance.admits(5600) && allowance.take_pressure());
    }

    #[test]
    fn beyond_the_limit_the_mode_decides() {
        assert!(allowance(LimitMode::Fail).admits(6400));
        assert!(!allowance(LimitMode::Fail).admits(6401));
        assert!(allowance(LimitMode::Reclaim).admits(6401));
    }
}
