//! The pace of ageing: how long free memory is kept before it is purged.
//!
//! Free pages have two generations: young until the next ageing, old after it. Pages that are still
//! old at the following ageing are purged. The holes of slabs age at the same pace.
//!
//! While threads are active, ageings are as rare as possible, because a busy thread usually reuses
//! the memory that it has just freed. A short program therefore ends before anything is purged.
//! When no thread is active, every tick is an ageing.
//!
//! A purge is *premature* if its pages are taken again so soon that the slowest pace would have
//! kept them. Then the time between two ageings becomes a tick longer, also for later pauses. After
//! a long time without a premature purge it becomes a tick shorter. Even at the slowest pace, freed
//! memory is given back within a second.

/// The longest period, which also counts while threads are active. At the latest, the second tick
/// after a free steals the block from its cache. Then the fourth tick is the ageing that finds its
/// page young, and the seventh the one that finds it old.
const MAX_PERIOD: u32 = 3;
/// The period becomes a tick shorter after so many milliseconds without a premature purge.
const QUIET_MS: u64 = 12_800;

/// The pace of ageing.
#[derive(Debug)]
pub(crate) struct Ageing {
    /// Milliseconds between two ticks while there is work.
    tick_ms: u64,
    /// The period, in ticks between two ageings, while no thread is active.
    period: u32,
    /// The period that counts at this tick.
    present: u32,
    /// Ticks since the last ageing.
    since: u32,
    now_ms: u64,
    /// When the last purge ran, in milliseconds.
    purged_at: u64,
    /// The pages of the last purge; 0 once it counted as premature.
    purged_pages: u64,
    /// The period that counted at the last purge.
    purge_period: u32,
    /// The number of purged pages taken again, at the last tick.
    refaulted: u64,
    /// When the period last changed, in milliseconds.
    changed_at: u64,
}

impl Ageing {
    /// For ticks that come every `tick_ms` milliseconds while there is work.
    pub(crate) const fn new(tick_ms: u64) -> Ageing {
        Ageing {
            tick_ms,
            period: 1,
            present: 1,
            since: 0,
            now_ms: 0,
            purged_at: 0,
            purged_pages: 0,
            purge_period: 1,
            refaulted: 0,
            changed_at: 0,
        }
    }

    /// Takes the milliseconds between two ticks, which may change in a running process.
    pub(crate) fn set_tick_ms(&mut self, tick_ms: u64) {
        self.tick_ms = tick_ms;
    }

    /// Begins a tick. Returns whether an ageing is due. `refaulted` is the number of purged pages
    /// taken again so far. `busy` says whether threads were active since the last tick.
    pub(crate) fn tick(&mut self, now_ms: u64, refaulted: u64, busy: bool) -> bool {
        self.now_ms = now_ms;
        let taken_again = refaulted - self.refaulted;
        self.refaulted = refaulted;
        let soon = now_ms.saturating_sub(self.purged_at) <= self.premature_ms();
        if soon && self.purged_pages > 0 && taken_again >= self.purged_pages.div_ceil(4) {
            self.period = (self.period + 1).min(MAX_PERIOD);
            // One purge counts once.
            self.purged_pages = 0;
            self.changed_at = now_ms;
        } else if now_ms.saturating_sub(self.changed_at) >= QUIET_MS {
            self.period = (self.period - 1).max(1);
            self.changed_at = now_ms;
        }
        self.present = if busy { MAX_PERIOD } else { self.period };
        self.since += 1;
        let due = self.since >= self.present;
        if due {
            self.since = 0;
        }
        due
    }

    /// Returns how many milliseconds a purge can still become premature. Pages are kept for up to
    /// two periods, so the longest period would have kept them two times the difference longer. A
    /// tick notices it at most one tick later. The limit is a time because a resting reclaimer has
    /// no ticks.
    fn premature_ms(&self) -> u64 {
        let longer = 2 * (MAX_PERIOD - self.purge_period);
        u64::from(longer + 1) * self.tick_ms
    }

    /// Notes that this tick purged `pages` pages.
    pub(crate) fn note_purge(&mut self, pages: u64) {
        if pages > 0 {
            self.purged_at = self.now_ms;
            self.purged_pages = pages;
            self.purge_period = self.present;
        }
    }

    #[cfg(test)]
    pub(crate) fn period(&self) -> u32 {
        self.period
    }
}

#[cfg(test)]
mod tests {
    use super::{Ageing, MAX_PERIOD, QUIET_MS};

    const TICK_MS: u64 = 125;

    #[test]
    fn every_tick_ages_while_no_thread_is_active() {
        let mut ageing = Ageing::new(TICK_MS);
        for tick in 0..1000 {
            assert!(ageing.tick(tick * TICK_MS, 0, false));
            ageing.note_purge(100);
        }
    }

    #[test]
    fn premature_purges_lengthen_the_period_and_quiet_time_shortens_it() {
        let mut ageing = Ageing::new(TICK_MS);
        for tick in 0..20 {
            ageing.tick(tick * TICK_MS, tick * 100, false);
            ageing.note_purge(100);
        }
        assert_eq!(ageing.period(), MAX_PERIOD);
        for quiet in 1..=3 {
            ageing.tick(20 * TICK_MS + quiet * QUIET_MS, 2000, false);
        }
        assert_eq!(ageing.period(), 1);
    }

    #[test]
    fn a_burst_that_comes_too_late_for_every_pace_changes_nothing() {
        // Purged by the third tick after the free, and taken again so many ticks after the purge;
        // there are none meanwhile, as everything is back.
        let period_after = |ticks: u64| {
            let mut ageing = Ageing::new(TICK_MS);
            for burst in 0..20 {
                ageing.tick(burst * ticks * TICK_MS, burst * 100, false);
                ageing.note_purge(100);
            }
            ageing.period()
        };
        assert_eq!(period_after(6), 1);
        assert_eq!(period_after(5), 2, "the next period makes it by two ticks");
        assert_eq!(period_after(3), MAX_PERIOD);
    }

    #[test]
    fn while_threads_are_active_every_third_tick_ages_and_then_every_tick() {
        let mut ageing = Ageing::new(TICK_MS);
        let busy = [true, true, true, true, true, true, true, false, false];
        let due = [false, false, true, false, false, true, false, true, true];
        for (tick, (busy, due)) in (0..).zip(busy.into_iter().zip(due)) {
            assert_eq!(ageing.tick(tick * TICK_MS, 0, busy), due, "tick {tick}");
        }
    }

    #[test]
    fn a_purge_at_the_slowest_pace_is_never_premature() {
        let taken_after = |busy: bool, ticks: u64| {
            let mut ageing = Ageing::new(TICK_MS);
            for tick in 0..2 {
                ageing.tick(tick * TICK_MS, 0, busy);
            }
            assert!(ageing.tick(2 * TICK_MS, 0, busy));
            ageing.note_purge(100);
            ageing.tick((2 + ticks) * TICK_MS, 100, busy);
            ageing.period()
        };
        assert_eq!((taken_after(false, 2), taken_after(true, 2)), (2, 1));
    }

    #[test]
    fn few_pages_taken_again_change_nothing() {
        let mut ageing = Ageing::new(TICK_MS);
        for tick in 0..50 {
            ageing.tick(tick * TICK_MS, tick * 10, false);
            ageing.note_purge(100);
        }
        assert_eq!(ageing.period(), 1);
    }
}
