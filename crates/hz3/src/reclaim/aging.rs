//! How long free memory is kept before it is purged.
//!
//! Free pages have two generations: young until the next ageing, old after it; what is still old
//! at the ageing after that is purged. An ageing happens every tick while the program is calm.
//! When pages are taken again so soon after they were purged that the longest time between two
//! ageings would have kept them, the purge was a mistake, and that time becomes a tick longer; when
//! a long time passes without a mistake, a tick shorter. It never gets so long that what was freed
//! is still there a second later, and what is used again only then goes at the calm pace.

/// Ticks between two ageings at most. The blocks of a cache are stolen in the second tick after
/// they were freed at the latest; the ageing that finds their pages young comes in the fourth then, and
/// the one that finds them old in the seventh.
const LONGEST: u32 = 3;
/// Milliseconds without a mistake after which the program counts as calm again.
const CALM_MS: u64 = 12_800;

/// The pace of ageing.
#[derive(Debug)]
pub(crate) struct Aging {
    /// Milliseconds between two ticks while there is work.
    tick_ms: u64,
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
    /// For ticks that come every `tick_ms` milliseconds while there is work.
    pub(crate) const fn new(tick_ms: u64) -> Aging {
        Aging {
            tick_ms,
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
        let soon = now_ms.saturating_sub(self.purged_at) <= self.soon_ms();
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

    /// Milliseconds from a purge in which taking its pages again shows it to be a mistake. Pages are
    /// kept for up to two periods, so the longest period keeps them by so much longer; and a tick later
    /// at most it is noticed. Time, and not ticks: there are none while the reclaimer rests.
    fn soon_ms(&self) -> u64 {
        let longer = 2 * (LONGEST - self.period);
        u64::from(longer + 1) * self.tick_ms
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
    use super::{Aging, CALM_MS, LONGEST};

    const TICK_MS: u64 = 125;

    #[test]
    fn every_tick_ages_while_the_program_is_calm() {
        let mut aging = Aging::new(TICK_MS);
        for tick in 0..1000 {
            assert!(aging.tick(tick * TICK_MS, 0));
            aging.purged(100);
        }
    }

    #[test]
    fn pages_taken_again_soon_lengthen_the_period_and_calm_shortens_it() {
        let mut aging = Aging::new(TICK_MS);
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
    fn a_burst_that_no_pace_would_have_kept_its_pages_for_is_no_mistake() {
        // Purged by the third tick after the free, and taken again so many ticks after the purge;
        // there are none meanwhile, as everything is back.
        let period_after = |ticks: u64| {
            let mut aging = Aging::new(TICK_MS);
            for burst in 0..20 {
                aging.tick(burst * ticks * TICK_MS, burst * 100);
                aging.purged(100);
            }
            aging.period()
        };
        assert_eq!(period_after(6), 1);
        assert_eq!(period_after(5), 2, "the next period makes it by two ticks");
        assert_eq!(period_after(3), LONGEST);
    }

    #[test]
    fn few_pages_taken_again_change_nothing() {
        let mut aging = Aging::new(TICK_MS);
        for tick in 0..50 {
            aging.tick(tick * TICK_MS, tick * 10);
            aging.purged(100);
        }
        assert_eq!(aging.period(), 1);
    }
}
