//! The steps of an epoch: the policies as data.
//!
//! A policy is a list of steps with their budgets, chosen once at start. The steps are implemented
//! in their own files; this file says which of them run, and how far they go.

use super::ranges::Budget;
use crate::options::{Limits, Policy, Within};

/// S58: when a cache gives capacity up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DecayRules {
    /// Epochs in a row with unused blocks before the capacity falls.
    pub(crate) overages: u32,
    /// The most blocks that go back to their slabs.
    pub(crate) blocks: u32,
}

/// S57-B2: which ranges of free pages a scan of the segments purges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScanRules {
    /// Epochs that a segment must have been left alone; 0 for none.
    pub(crate) decay_epochs: u32,
    /// Pages of the shortest range worth a call.
    pub(crate) min_range: u32,
    pub(crate) budget: Budget,
}

/// S60 and S64: ranges wait in a queue before they are purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueRules {
    /// The most entries. If the queue is full, the next epoch finds the range again.
    pub(crate) entries: u32,
    /// Pages queued in one epoch at most.
    pub(crate) retire_pages: u64,
    /// Epochs and milliseconds that an entry waits.
    pub(crate) delay_epochs: u32,
    pub(crate) delay_ms: u32,
    /// P1a: a range that continues the newest entry in its segment joins it.
    pub(crate) coalesce: bool,
    /// P1b: of an entry of which pages were taken meanwhile, the others are purged; else none.
    pub(crate) check_free: bool,
    /// S60: what the budget leaves is discarded, not carried over.
    pub(crate) discard: bool,
    pub(crate) budget: Budget,
}

/// The steps of an epoch, in their order, and the one at a thread's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Slow paths of one thread between two epochs; 0: only by time and on request.
    pub(crate) interval: u32,
    pub(crate) decay: Option<DecayRules>,
    /// Blocks of the caller's cache that go to their slabs at most.
    pub(crate) dump_blocks: u32,
    pub(crate) scan: Option<ScanRules>,
    pub(crate) queue: Option<QueueRules>,
    /// S61, S62: what a thread's end purges.
    pub(crate) exit: Option<Budget>,
}

const NOTHING: Plan =
    Plan { interval: 1024, decay: None, dump_blocks: 0, scan: None, queue: None, exit: None };
const DECAY: DecayRules = DecayRules { overages: 3, blocks: 64 };
const S64: QueueRules = QueueRules {
    entries: 256,
    retire_pages: 512,
    delay_epochs: 4,
    delay_ms: 5,
    coalesce: false,
    check_free: false,
    discard: false,
    budget: Budget { pages: 64, calls: 16 },
};

impl Plan {
    /// Returns the plan of a policy of the C hz3's experiments, with the user's limits. Returns
    /// `None` if the policy is not made of epochs.
    pub(crate) fn of(policy: Policy, limits: &Limits) -> Option<Plan> {
        let mut plan = Plan::preset(policy)?;
        plan.limit(limits);
        Some(plan)
    }

    fn preset(policy: Policy) -> Option<Plan> {
        let p1a = QueueRules { coalesce: true, ..S64 };
        let p1b = QueueRules { check_free: true, ..p1a };
        let p1c = QueueRules { delay_epochs: 8, ..p1b };
        let delayed = |queue| Plan { dump_blocks: 1024, queue: Some(queue), ..NOTHING };
        Some(match policy {
            Policy::Off | Policy::Default => return None,
            Policy::S57b2 => {
                let budget = Budget { pages: 4096, calls: u64::MAX };
                let scan = ScanRules { decay_epochs: 0, min_range: 1, budget };
                Plan { scan: Some(scan), ..NOTHING }
            }
            Policy::S58 => Plan { decay: Some(DECAY), ..NOTHING },
            Policy::S60 => {
                let budget = Budget { pages: 512, calls: 32 };
                let now = QueueRules { delay_epochs: 0, delay_ms: 0, check_free: true, ..S64 };
                let queue = QueueRules { discard: true, budget, ..now };
                Plan { decay: Some(DECAY), queue: Some(queue), ..NOTHING }
            }
            Policy::S61 => Plan { exit: Some(Budget { pages: 65_536, calls: 256 }), ..NOTHING },
            Policy::S62 => Plan { exit: Some(Budget { pages: u64::MAX, calls: 256 }), ..NOTHING },
            Policy::S64 => delayed(S64),
            Policy::S64P1a => delayed(p1a),
            Policy::S64P1b => delayed(p1b),
            Policy::S64P1c => delayed(p1c),
        })
    }

    /// Puts the user's limits in place of the preset's, where the policy has the step.
    fn limit(&mut self, limits: &Limits) {
        set(&mut self.interval, limits.epoch_interval);
        if let Some(decay) = &mut self.decay {
            set(&mut decay.overages, limits.cache_overages);
            set(&mut decay.blocks, limits.reclaim_budget);
        }
        if self.dump_blocks > 0 {
            set(&mut self.dump_blocks, limits.dump_budget);
        }
        if let Some(scan) = &mut self.scan {
            set(&mut scan.decay_epochs, limits.decay_epochs);
            set(&mut scan.min_range, limits.min_range);
            limit_budget(&mut scan.budget, limits);
        }
        if let Some(queue) = &mut self.queue {
            set(&mut queue.entries, limits.purge_queue);
            set(&mut queue.retire_pages, limits.retire_budget);
            set(&mut queue.delay_epochs, limits.purge_delay);
            set(&mut queue.delay_ms, limits.purge_delay_ms);
            limit_budget(&mut queue.budget, limits);
        }
        if let Some(exit) = &mut self.exit {
            limit_budget(exit, limits);
        }
    }
}

/// Puts the user's limits in place of a budget's own.
fn limit_budget(budget: &mut Budget, limits: &Limits) {
    set(&mut budget.pages, limits.purge_pages);
    set(&mut budget.calls, limits.purge_calls);
}

fn set<T: From<u32>, const MIN: u32, const MAX: u32>(
    place: &mut T,
    wanted: Option<Within<MIN, MAX>>,
) {
    if let Some(wanted) = wanted {
        *place = T::from(wanted.get());
    }
}

#[cfg(test)]
mod tests {
    use super::{Limits, Plan, Policy, Within};

    #[test]
    fn presets_differ_in_what_their_names_say() {
        let queue = |policy| Plan::preset(policy).unwrap().queue.unwrap();
        let (s64, p1a) = (queue(Policy::S64), queue(Policy::S64P1a));
        let (p1b, p1c) = (queue(Policy::S64P1b), queue(Policy::S64P1c));
        assert!(!s64.coalesce && p1a.coalesce && p1b.coalesce && p1c.coalesce);
        assert!(!p1a.check_free && p1b.check_free && p1c.check_free);
        assert_eq!((p1b.delay_epochs, p1c.delay_epochs), (4, 8));
        assert!(Plan::preset(Policy::Off).is_none() && Plan::preset(Policy::Default).is_none());
    }

    #[test]
    fn limits_reach_every_step_that_the_policy_has() {
        let limits = Limits {
            epoch_interval: Within::new(7),
            purge_pages: Within::new(8),
            purge_calls: Within::new(9),
            min_range: Within::new(3),
            ..Limits::default()
        };
        let scan = Plan::of(Policy::S57b2, &limits).unwrap();
        assert_eq!(scan.interval, 7);
        let rules = scan.scan.unwrap();
        assert_eq!((rules.budget.pages, rules.budget.calls, rules.min_range), (8, 9, 3));
        assert_eq!(Plan::of(Policy::S61, &limits).unwrap().exit.unwrap().calls, 9);
        assert!(Plan::of(Policy::S61, &limits).unwrap().scan.is_none());
    }
}
