//! How long free memory is kept before it is purged.
//!
//! Free pages have two generations: young until the next ageing, old after it; what is still old
//! at the ageing after that is purged. The holes of slabs settle at the same pace.
//!
//! While threads are at work the pace is the slowest, for what they freed they are likely to take
//! again: a short program ends before anything is purged. As soon as nobody is at work an ageing
//! happens every tick. When pages are taken again so soon after they were purged that the slowest
//! pace would have kept them, the purge was a mistake, and the time between two ageings becomes a
//! tick longer for the next pauses too; when a long time passes without a mistake, a tick shorter. It
//! never gets so long that what was freed is still there a second later.

/// Ticks between two ageings at most, and while threads are at work. The blocks of a cache are stolen
/// in the second tick after they were freed at the latest; the ageing that finds their pages young
/// comes in the fourth then, and the one that finds them old in the seventh.
const LONGEST: u32 = 3;
/// Milliseconds without a mistake after which the program counts as calm again.
const CALM_MS: u64 = 12_800;

/// The pace of ageing.
#[derive(Debug)]
pub(crate) struct Aging {
    /// Milliseconds between two ticks while there is work.
    tick_ms: u64,
    /// Ticks between two ageings while nobody is at work.
    period: u32,
    /// The same at this tick.
    present: u32,
    /// Ticks since the last one.
    since: u32,
    now_ms: u64,
    /// The time of the last purge, its pages that have not been accounted for, and the ticks between
    /// two ageings at that time.
    purged_at: u64,
    purged_pages: u64,
    purged_by: u32,
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
            present: 1,
            since: 0,
            now_ms: 0,
            purged_at: 0,
            purged_pages: 0,
            purged_by: 1,
            refaulted: 0,
            disturbed_at: 0,
        }
    }

    /// Begins a tick at a time. `refaulted`: purged pages taken again so far. `busy`: threads were at
    /// work since the last tick. Returns whether an ageing is due.
    pub(crate) fn tick(&mut self, now_ms: u64, refaulted: u64, busy: bool) -> bool {
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
        self.present = if busy { LONGEST } else { self.period };
        self.since += 1;
        let due = self.since >= self.present;
        if due {
            self.since = 0;
        }
        due
    }

    /// Milliseconds from a purge in which taking its pages again shows it to be a mistake. Pages are
    /// kept for up to two periods, so the longest period keeps them by so much longer; and a tick later
    /// at most it is noticed. Time, and not ticks: there are none while the reclaimer rests.
    fn soon_ms(&self) -> u64 {
        let longer = 2 * (LONGEST - self.purged_by);
        u64::from(longer + 1) * self.tick_ms
    }

    /// Notes that this tick purged pages.
    pub(crate) fn purged(&mut self, pages: u64) {
        if pages > 0 {
            self.purged_at = self.now_ms;
            self.purged_pages = pages;
            self.purged_by = self.present;
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
            assert!(aging.tick(tick * TICK_MS, 0, false));
            aging.purged(100);
        }
    }

    #[test]
    fn pages_taken_again_soon_lengthen_the_period_and_calm_shortens_it() {
        let mut aging = Aging::new(TICK_MS);
        for tick in 0..20 {
            aging.tick(tick * TICK_MS, tick * 100, false);
            aging.purged(100);
        }
        assert_eq!(aging.period(), LONGEST);
        for calm in 1..=3 {
            aging.tick(20 * TICK_MS + calm * CALM_MS, 2000, false);
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
                aging.tick(burst * ticks * TICK_MS, burst * 100, false);
                aging.purged(100);
            }
            aging.period()
        };
        assert_eq!(period_after(6), 1);
        assert_eq!(period_after(5), 2, "the next period makes it by two ticks");
        assert_eq!(period_after(3), LONGEST);
    }

    #[test]
    fn while_threads_are_at_work_every_third_tick_ages_and_the_first_after_it_does() {
        let mut aging = Aging::new(TICK_MS);
        let busy = [true, true, true, true, true, true, true, false, false];
        let due = [false, false, true, false, false, true, false, true, true];
        for (tick, (busy, due)) in (0..).zip(busy.into_iter().zip(due)) {
            assert_eq!(aging.tick(tick * TICK_MS, 0, busy), due, "tick {tick}");
        }
    }

    #[test]
    fn what_the_slowest_pace_purged_no_pace_would_have_kept() {
        let taken_after = |busy: bool, ticks: u64| {
            let mut aging = Aging::new(TICK_MS);
            for tick in 0..2 {
                aging.tick(tick * TICK_MS, 0, busy);
            }
            assert!(aging.tick(2 * TICK_MS, 0, busy));
            aging.purged(100);
            aging.tick((2 + ticks) * TICK_MS, 100, busy);
            aging.period()
        };
        assert_eq!((taken_after(false, 2), taken_after(true, 2)), (2, 1));
    }

    #[test]
    fn few_pages_taken_again_change_nothing() {
        let mut aging = Aging::new(TICK_MS);
        for tick in 0..50 {
            aging.tick(tick * TICK_MS, tick * 10, false);
            aging.purged(100);
        }
        assert_eq!(aging.period(), 1);
    }
}
