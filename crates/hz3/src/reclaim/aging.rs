//! How long free memory is kept before it is purged.
//!
//! Free pages have two generations: young until the next ageing, old after it; what is still old
//! at the ageing after that is purged. An ageing happens every tick while the program is calm.
//! When pages are taken again soon after they were purged, the purge was a mistake, and the time
//! between two ageings becomes a tick longer; when a long time passes without that, a tick shorter.
//! It never gets so long that what was freed is still there a second later.

/// Ticks between two ageings at most. The blocks of a cache are stolen in the second tick after
/// they were freed at the latest; the ageing that finds their pages young comes in the fourth then, and
/// the one that finds them old in the seventh.
const LONGEST: u32 = 3;
/// Taking purged pages again within this many milliseconds of the purge is "soon". Time, and not
/// ticks: there are none while everything is back and the reclaimer rests.
const SOON_MS: u64 = 1000;
/// Milliseconds without a mistake after which the program counts as calm again.
const CALM_MS: u64 = 12_800;

/// The pace of ageing.
#[derive(Debug)]
pub(crate) struct Aging {
    /// Ticks between two ageings.
    period: u32,
    /// Ticks since the last one.
    since: u32,
    now_ms: u64,
    /// The time of the last purge, and its pages that have not been accounted for.
    purged_at: u64,
    purged_pages: u64,
    /// The counter of pages taken again, at the last tick.
    refaulted: u64,
    /// The time of the last mistake, or of the last relaxation.
    disturbed_at: u64,
}

impl Aging {
    pub(crate) const fn new() -> Aging {
        Aging {
            period: 1,
            since: 0,
            now_ms: 0,
            purged_at: 0,
            purged_pages: 0,
            refaulted: 0,
            disturbed_at: 0,
        }
    }

    /// Begins a tick at a time. `refaulted`: purged pages taken again so far. Returns whether an
    /// ageing is due.
    pub(crate) fn tick(&mut self, now_ms: u64, refaulted: u64) -> bool {
        self.now_ms = now_ms;
        let again = refaulted - self.refaulted;
        self.refaulted = refaulted;
        let soon = now_ms.saturating_sub(self.purged_at) <= SOON_MS;
        if soon && self.purged_pages > 0 && again >= self.purged_pages.div_ceil(4) {
            self.period = (self.period + 1).min(LONGEST);
            // One purge is one mistake.
            self.purged_pages = 0;
            self.disturbed_at = now_ms;
        } else if now_ms.saturating_sub(self.disturbed_at) >= CALM_MS {
            self.period = (self.period - 1).max(1);
            self.disturbed_at = now_ms;
        }
        self.since += 1;
        let due = self.since >= self.period;
        if due {
            self.since = 0;
        }
        due
    }

    /// Notes that this tick purged pages.
    pub(crate) fn purged(&mut self, pages: u64) {
        if pages > 0 {
            self.purged_at = self.now_ms;
            self.purged_pages = pages;
        }
    }

    /// Ticks between two ageings.
    #[cfg(test)]
    pub(crate) fn period(&self) -> u32 {
        self.period
    }
}

#[cfg(test)]
mod tests {
    use super::{Aging, CALM_MS, LONGEST, SOON_MS};

    const TICK_MS: u64 = 200;

    #[test]
    fn every_tick_ages_while_the_program_is_calm() {
        let mut aging = Aging::new();
        for tick in 0..1000 {
            assert!(aging.tick(tick * TICK_MS, 0));
            aging.purged(100);
        }
    }

    #[test]
    fn pages_taken_again_soon_lengthen_the_period_and_calm_shortens_it() {
        let mut aging = Aging::new();
        for tick in 0..20 {
            aging.tick(tick * TICK_MS, tick * 100);
            aging.purged(100);
        }
        assert_eq!(aging.period(), LONGEST);
        for calm in 1..=3 {
            aging.tick(20 * TICK_MS + calm * CALM_MS, 2000);
        }
        assert_eq!(aging.period(), 1);
    }

    #[test]
    fn a_burst_after_a_rest_is_no_mistake() {
        let mut aging = Aging::new();
        for burst in 0..20 {
            // No ticks while everything is back.
            aging.tick(burst * 2 * SOON_MS, burst * 100);
            aging.purged(100);
        }
        assert_eq!(aging.period(), 1);
    }

    #[test]
    fn few_pages_taken_again_change_nothing() {
        let mut aging = Aging::new();
        for tick in 0..50 {
            aging.tick(tick * TICK_MS, tick * 10);
            aging.purged(100);
        }
        assert_eq!(aging.period(), 1);
    }
}
