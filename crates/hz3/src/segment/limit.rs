//! The memory limit: how much the heap may hold, and when it is under pressure.
//!
//! The *held* bytes are the most that the system has to back: pages in use and free dirty pages,
//! each with its share of the tables, and huge blocks. Every request for pages or for a mapping
//! checks them here. A cache hit does not.
//!
//! ```text
//!   held:   0 ----------------- near (7/8) ----------------- limit -----------------
//!            nothing happens     pressure, once each 64th     the mode refuses or admits
//! ```
//!
//! In order: a request for pages raises the pressure. After the slow path, when no lock is held,
//! reclaim takes the pressure, empties the caches and gives free pages back. Then this file notes
//! how much is still held. It calls no other layer.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::options::{Config, Limit, LimitMode};

/// The heap is near its limit when less than an eighth of the limit is left.
const NEAR_DIVISOR: u64 = 8;
/// After a release, pressure rises again when a 64th of the limit more is held.
const STEP_DIVISOR: u64 = 64;

/// The limit and the state of the pressure.
#[derive(Debug)]
pub(crate) struct MemoryLimit {
    /// In bytes; `u64::MAX` if there is no limit.
    limit: AtomicU64,
    /// The bytes near which there is pressure, at most the limit; `u64::MAX` if there are none.
    soft: AtomicU64,
    /// Whether the mode is [`LimitMode::Reclaim`].
    may_exceed: AtomicBool,
    under_pressure: AtomicBool,
    /// The held bytes at which pressure rises next.
    next_pressure: AtomicU64,
    releases: AtomicU64,
    /// Requests that were refused.
    refusals: AtomicU64,
    /// Whether [`MemoryLimit::take_first_refusal`] returned true since the limit was last not near.
    is_refusal_known: AtomicBool,
}

impl MemoryLimit {
    /// Takes the configured limit. A limit relative to the control group must have been resolved
    /// before.
    pub(crate) fn new(config: &Config) -> MemoryLimit {
        let limit = MemoryLimit {
            limit: AtomicU64::new(u64::MAX),
            soft: AtomicU64::new(u64::MAX),
            may_exceed: AtomicBool::new(false),
            under_pressure: AtomicBool::new(false),
            next_pressure: AtomicU64::new(0),
            releases: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
            is_refusal_known: AtomicBool::new(false),
        };
        limit.reconfigure(config);
        limit
    }

    /// Takes another limit and mode. Requests that run meanwhile check the old or the new ones.
    pub(crate) fn reconfigure(&self, config: &Config) {
        self.may_exceed.store(config.limit_mode == LimitMode::Reclaim, Ordering::Relaxed);
        self.set(config.limit, None);
    }

    /// Takes another limit, and the bytes near which there is pressure without a refusal.
    pub(crate) fn set(&self, limit: Limit, soft: Option<u64>) {
        let limit = match limit {
            Limit::Bytes(bytes) => bytes.get(),
            Limit::None | Limit::Cgroup { .. } => u64::MAX,
        };
        let soft = soft.unwrap_or(limit).min(limit);
        let before = self.limit.swap(limit, Ordering::Relaxed);
        if self.soft.swap(soft, Ordering::Relaxed) != soft || before != limit {
            self.set_next_pressure(0);
        }
    }

    /// Returns the limit in bytes, if there is one.
    pub(crate) fn bytes(&self) -> Option<u64> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|&limit| limit < u64::MAX)
    }

    /// Returns whether `held` bytes are so near the limit that all free memory should go back at
    /// once.
    pub(crate) fn is_near(&self, held: u64) -> bool {
        let soft = self.soft.load(Ordering::Relaxed);
        soft < u64::MAX && held >= soft - soft / NEAR_DIVISOR
    }

    /// Returns whether the heap may hold `held` bytes, and raises the pressure if they are near the
    /// limit.
    pub(crate) fn admits(&self, held: u64) -> bool {
        if self.soft.load(Ordering::Relaxed) == u64::MAX {
            return true;
        }
        if held >= self.next_pressure.load(Ordering::Relaxed) {
            self.under_pressure.store(true, Ordering::Relaxed);
        } else if !self.is_near(held) {
            self.set_next_pressure(0);
            self.is_refusal_known.store(false, Ordering::Relaxed);
        }
        let is_admitted =
            held <= self.limit.load(Ordering::Relaxed) || self.may_exceed.load(Ordering::Relaxed);
        if !is_admitted {
            self.refusals.fetch_add(1, Ordering::Relaxed);
        }
        is_admitted
    }

    /// Returns how many requests were refused. One allocation may make several.
    pub(crate) fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Relaxed)
    }

    /// Returns true once after a refusal, and again only after the limit was not near meanwhile.
    pub(crate) fn take_first_refusal(&self) -> bool {
        !self.is_refusal_known.swap(true, Ordering::Relaxed)
    }

    /// Returns whether there is pressure, and clears it: the caller must release memory then.
    pub(crate) fn take_pressure(&self) -> bool {
        self.under_pressure.load(Ordering::Relaxed)
            && self.under_pressure.swap(false, Ordering::Relaxed)
    }

    /// Notes that memory was released and `held` bytes are left.
    pub(crate) fn note_release(&self, held: u64) {
        self.releases.fetch_add(1, Ordering::Relaxed);
        self.set_next_pressure(held);
    }

    /// Returns how often caches were emptied and pages given back because of the limit.
    pub(crate) fn releases(&self) -> u64 {
        self.releases.load(Ordering::Relaxed)
    }

    /// Sets when pressure rises next: when a step more than `held` is held, and the limit is near.
    fn set_next_pressure(&self, held: u64) {
        let soft = self.soft.load(Ordering::Relaxed);
        let near = soft - soft / NEAR_DIVISOR;
        let next = near.max(held.saturating_add(soft / STEP_DIVISOR));
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
    fn without_a_limit_any_amount_is_admitted() {
        let limit = MemoryLimit::new(&Config::new());
        assert!(limit.admits(u64::MAX) && !limit.take_pressure());
        assert!(!limit.is_near(u64::MAX) && limit.bytes().is_none());
    }

    #[test]
    fn pressure_rises_near_the_limit_and_then_once_a_step() {
        let limit = memory_limit(LimitMode::Fail);
        assert!(limit.admits(5599) && !limit.take_pressure());
        assert!(limit.admits(5600) && limit.take_pressure());
        assert!(!limit.take_pressure(), "taking the pressure clears it");
        limit.note_release(5600);
        assert!(limit.admits(5699) && !limit.take_pressure());
        assert!(limit.admits(5700) && limit.take_pressure());
        limit.note_release(6300);
        // Once far from the limit, the next approach raises pressure like the first one.
        assert!(limit.admits(100) && !limit.take_pressure());
        assert!(limit.admits(5600) && limit.take_pressure());
    }

    #[test]
    fn another_limit_and_mode_apply_at_once() {
        let limit = memory_limit(LimitMode::Fail);
        assert!(limit.admits(6000) && limit.take_pressure());
        let changed = Config::new().limit(Limit::Bytes(NonZero::new(3200).unwrap()));
        limit.reconfigure(&changed);
        assert!(!limit.admits(6000) && limit.is_near(2800) && !limit.is_near(2799));
        limit.reconfigure(&changed.limit_mode(LimitMode::Reclaim));
        assert!(limit.admits(6000));
        limit.reconfigure(&Config::new());
        assert!(limit.admits(u64::MAX) && limit.bytes().is_none());
    }

    #[test]
    fn near_a_soft_limit_there_is_pressure_and_no_refusal() {
        let limit = MemoryLimit::new(&Config::new());
        limit.set(Limit::None, Some(6400));
        assert!(limit.bytes().is_none() && limit.is_near(5600) && !limit.is_near(5599));
        assert!(limit.admits(1 << 40) && limit.take_pressure());
        limit.set(Limit::Bytes(NonZero::new(3200).unwrap()), Some(6400));
        assert!(limit.is_near(2800) && !limit.admits(3201), "the lower one counts");
        limit.note_release(3000);
        assert!(limit.admits(3049) && limit.take_pressure(), "the refused request raised it");
        limit.set(Limit::Bytes(NonZero::new(3200).unwrap()), Some(6400));
        assert!(limit.admits(3049) && !limit.take_pressure(), "the same limit changes nothing");
        limit.set(Limit::None, None);
        assert!(limit.admits(u64::MAX) && !limit.is_near(u64::MAX));
    }

    #[test]
    fn beyond_the_limit_the_mode_decides() {
        assert!(memory_limit(LimitMode::Fail).admits(6400));
        assert!(!memory_limit(LimitMode::Fail).admits(6401));
        assert!(memory_limit(LimitMode::Reclaim).admits(6401));
    }

    #[test]
    fn a_refusal_is_the_first_one_until_the_limit_was_not_near() {
        let limit = memory_limit(LimitMode::Fail);
        assert!(limit.admits(6400) && limit.refusals() == 0);
        assert!(!limit.admits(6401) && limit.refusals() == 1 && limit.take_first_refusal());
        assert!(limit.admits(6000) && !limit.admits(6401) && limit.refusals() == 2);
        assert!(!limit.take_first_refusal(), "it was near all the time");
        assert!(limit.admits(100) && !limit.admits(6401) && limit.take_first_refusal());
        let beyond = memory_limit(LimitMode::Reclaim);
        assert!(beyond.admits(6401) && beyond.refusals() == 0);
    }
}
