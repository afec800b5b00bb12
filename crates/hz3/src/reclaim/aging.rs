//! How long free memory is kept before it is purged.
//!
//! Free pages have two generations: young until the next ageing, old after it; what is still old
//! at the ageing after that is purged. An ageing happens every tick while the program is calm.
//! When pages are taken again soon after they were purged, the purge was a mistake, and the time
//! between two ageings doubles; when a long time passes without that, it halves.

/// Ticks between two ageings at most.
const LONGEST: u32 = 8;
/// Taking purged pages again within this many ticks of the purge is "soon".
const SOON_TICKS: u64 = 5;
/// Ticks without a mistake after which the program counts as calm again.
const CALM_TICKS: u64 = 64;

/// The pace of ageing.
#[derive(Debug)]
pub(crate) struct Aging {
    /// Ticks between two ageings.
    period: u32,
    /// Ticks since the last one.
    since: u32,
    ticks: u64,
    /// The tick of the last purge, and its pages that have not been accounted for.
    purged_at: u64,
    purged_pages: u64,
    /// The counter of pages taken again, at the last tick.
    refaulted: u64,
    /// The tick of the last mistake, or of the last relaxation.
    disturbed_at: u64,
}

impl Aging {
    pub(crate) const fn new() -> Aging {
        Aging {
            period: 1,
            since: 0,
            ticks: 0,
            purged_at: 0,
            purged_pages: 0,
            refaulted: 0,
            disturbed_at: 0,
        }
    }

    /// Begins a tick. `refaulted`: purged pages taken again so far. Returns whether an ageing is
    /// due.
    pub(crate) fn tick(&mut self, refaulted: u64) -> bool {
        self.ticks += 1;
        let again = refaulted - self.refaulted;
        self.refaulted = refaulted;
        let soon = self.ticks - self.purged_at <= SOON_TICKS;
        if soon && self.purged_pages > 0 && again >= self.purged_pages.div_ceil(4) {
            self.period = (self.period * 2).min(LONGEST);
            // One purge is one mistake.
            self.purged_pages = 0;
            self.disturbed_at = self.ticks;
        } else if self.ticks - self.disturbed_at >= CALM_TICKS {
            self.period = (self.period / 2).max(1);
            self.disturbed_at = self.ticks;
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
            self.purged_at = self.ticks;
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
    use super::{Aging, CALM_TICKS, LONGEST};

    #[test]
    fn every_tick_ages_while_the_program_is_calm() {
        let mut aging = Aging::new();
        for _ in 0..1000 {
            assert!(aging.tick(0));
            aging.purged(100);
        }
    }

    #[test]
    fn pages_taken_again_soon_lengthen_the_period_and_calm_shortens_it() {
        let mut aging = Aging::new();
        let mut refaulted = 0;
        for _ in 0..20 {
            aging.tick(refaulted);
            aging.purged(100);
            refaulted += 100;
        }
        assert_eq!(aging.period(), LONGEST);
        for _ in 0..CALM_TICKS * 8 {
            aging.tick(refaulted);
        }
        assert_eq!(aging.period(), 1);
    }

    #[test]
    fn few_pages_taken_again_change_nothing() {
        let mut aging = Aging::new();
        let mut refaulted = 0;
        for _ in 0..50 {
            aging.tick(refaulted);
            aging.purged(100);
            refaulted += 10;
        }
        assert_eq!(aging.period(), 1);
    }
}
