//! The queue of ranges that wait for their purge (S60, S64, S64-P1).
//!
//! An entry is a hint: when it is due, the purge checks whether its pages are still free, under the
//! lock that could hand them out. So no policy can purge a page in use.

use super::plan::QueueRules;
use crate::base::units::{Run, SEGMENT_PAGES};

/// The capacity of the queue, in entries.
pub(crate) const MAX_ENTRIES: usize = 256;

/// A range of pages that became free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) run: Run,
    /// When it was queued: the epoch, and the time.
    pub(crate) epoch: u64,
    pub(crate) at_ms: u64,
}

/// The result of queueing a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    /// It is an entry of its own.
    Entered,
    /// It joined the newest entry.
    Coalesced,
    /// There was no room.
    Full,
}

/// A ring. Its counters only rise, so that they never wrap in a process's life.
#[derive(Debug)]
pub(crate) struct Queue {
    entries: [Option<Entry>; MAX_ENTRIES],
    /// Entries taken out and put in so far.
    taken: usize,
    put: usize,
}

impl Queue {
    pub(crate) const fn new() -> Queue {
        Queue { entries: [None; MAX_ENTRIES], taken: 0, put: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.put - self.taken
    }

    /// Queues a range.
    pub(crate) fn push(&mut self, rules: &QueueRules, new: Entry) -> Queued {
        if rules.coalesce && self.coalesce(new) {
            return Queued::Coalesced;
        }
        let most = usize::try_from(rules.entries).unwrap_or(MAX_ENTRIES).clamp(1, MAX_ENTRIES);
        if self.len() >= most {
            return Queued::Full;
        }
        self.entries[self.put % MAX_ENTRIES] = Some(new);
        self.put += 1;
        Queued::Entered
    }

    /// Lets the newest entry grow by a range that directly follows it in its segment; it then
    /// waits as long as the new one.
    fn coalesce(&mut self, new: Entry) -> bool {
        if self.len() == 0 {
            return false;
        }
        let Some(last) = &mut self.entries[(self.put - 1) % MAX_ENTRIES] else { return false };
        let follows = last.run.end() == new.run.start
            && last.run.start.get() / SEGMENT_PAGES == new.run.last().get() / SEGMENT_PAGES;
        if follows {
            let pages = last.run.pages + new.run.pages;
            *last = Entry { run: Run::new(last.run.start, pages), ..new };
        }
        follows
    }

    /// Returns the oldest entry.
    pub(crate) fn first(&self) -> Option<Entry> {
        if self.len() == 0 { None } else { self.entries[self.taken % MAX_ENTRIES] }
    }

    /// Takes the oldest entry out.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let first = self.first()?;
        self.taken += 1;
        Some(first)
    }
}

impl Entry {
    /// Returns whether it has waited long enough.
    pub(crate) fn is_due(&self, rules: &QueueRules, epoch: u64, now_ms: u64) -> bool {
        epoch - self.epoch >= u64::from(rules.delay_epochs)
            && now_ms.saturating_sub(self.at_ms) >= u64::from(rules.delay_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::Plan;
    use super::{Entry, Queue, QueueRules, Queued};
    use crate::base::units::{PageIndex, Pages, Run, SEGMENT_PAGES};
    use crate::options::{Limits, Policy, Within};

    fn rules(policy: Policy, limits: &Limits) -> QueueRules {
        Plan::of(policy, limits).unwrap().queue.unwrap()
    }

    fn entry(start: u32, pages: u32, epoch: u64) -> Entry {
        Entry { run: Run::new(PageIndex::new(start), Pages::new(pages)), epoch, at_ms: epoch * 10 }
    }

    #[test]
    fn a_range_joins_only_what_it_directly_follows_in_one_segment() {
        let rules = rules(Policy::S64P1a, &Limits::default());
        let mut queue = Queue::new();
        assert_eq!(queue.push(&rules, entry(100, 4, 1)), Queued::Entered);
        assert_eq!(queue.push(&rules, entry(104, 6, 2)), Queued::Coalesced);
        assert_eq!(queue.first(), Some(entry(100, 10, 2)));
        // A gap; before it; beyond the segment's end.
        assert_eq!(queue.push(&rules, entry(111, 1, 2)), Queued::Entered);
        assert_eq!(queue.push(&rules, entry(110, 1, 2)), Queued::Entered);
        assert_eq!(queue.push(&rules, entry(SEGMENT_PAGES - 2, 2, 2)), Queued::Entered);
        assert_eq!(queue.push(&rules, entry(SEGMENT_PAGES, 2, 2)), Queued::Entered);
        assert_eq!(queue.len(), 5);
    }

    #[test]
    fn without_coalescing_neighbours_stay_apart() {
        let rules = rules(Policy::S64, &Limits::default());
        let mut queue = Queue::new();
        queue.push(&rules, entry(100, 4, 1));
        assert_eq!(queue.push(&rules, entry(104, 6, 1)), Queued::Entered);
    }

    #[test]
    fn a_full_queue_refuses_an_entry() {
        let limits = Limits { purge_queue: Within::new(3), ..Limits::default() };
        let rules = rules(Policy::S64, &limits);
        let mut queue = Queue::new();
        for start in 0..3 {
            assert_eq!(queue.push(&rules, entry(start * 10, 1, 1)), Queued::Entered);
        }
        assert_eq!(queue.push(&rules, entry(90, 1, 1)), Queued::Full);
        assert_eq!(queue.pop(), Some(entry(0, 1, 1)));
        assert_eq!(queue.push(&rules, entry(90, 1, 1)), Queued::Entered);
    }

    #[test]
    fn an_entry_waits_for_its_epochs_and_its_milliseconds() {
        let limits = Limits {
            purge_delay: Within::new(2),
            purge_delay_ms: Within::new(15),
            ..Limits::default()
        };
        let rules = rules(Policy::S64, &limits);
        let entry = entry(0, 1, 5);
        assert!(!entry.is_due(&rules, 6, 1000));
        assert!(!entry.is_due(&rules, 9, 64));
        assert!(entry.is_due(&rules, 7, 65));
    }
}
