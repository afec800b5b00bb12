//! The steps of an epoch that concern pages: retire, choose, purge, in that order.

use super::counters::Counters;
use super::plan::{Plan, QueueRules, ScanRules};
use super::queue::{Entry, Queue, Queued};
use super::ranges::Budget;
use crate::base::units::{PageIndex, Pages, Run, SEGMENT_PAGES, to_u32, to_u64};
use crate::cache::below::Below;
use crate::os::Os;
use crate::reclaim::purge::{Purged, Purger};
use crate::segment::meta::Age;

/// The state that the epochs of a process keep.
#[derive(Debug)]
pub(crate) struct Epochs {
    /// Epochs so far.
    pub(crate) number: u64,
    pub(crate) queue: Queue,
    /// Free dirty pages that the last epoch left. Only others justify another epoch, because a
    /// policy may leave pages for ever.
    pub(crate) left_dirty: u64,
}

/// One epoch while it runs.
pub(crate) struct Step<'a, O> {
    pub(crate) below: Below<'a, O>,
    pub(crate) purger: &'a Purger,
    pub(crate) counters: &'a Counters,
}

impl Epochs {
    pub(crate) const fn new() -> Epochs {
        Epochs { number: 0, queue: Queue::new(), left_dirty: 0 }
    }
}

impl<O: Os> Step<'_, O> {
    /// Gives the runs of empty slabs back, chooses ranges and purges what is due. Returns what was
    /// purged.
    pub(crate) fn run(&self, plan: &Plan, epochs: &mut Epochs) -> Purged {
        let retired = self.below.central.retire(self.below.segments);
        self.counters.retired_pages.add(u64::from(retired.get()));
        let mut done = Purged::default();
        if let Some(rules) = &plan.scan {
            done.add(self.scan(rules));
        }
        if let Some(rules) = &plan.queue {
            self.enqueue(rules, epochs);
            done.add(self.drain(rules, epochs));
        }
        done
    }

    /// S57-B2: walks the segments and purges ranges of free pages.
    fn scan(&self, rules: &ScanRules) -> Purged {
        let segments = self.below.segments;
        let mut done = Purged::default();
        for segment in 0..segments.segment_count() {
            let untouched = segments.count_epoch(segment);
            if done.pages >= rules.budget.pages || done.calls >= rules.budget.calls {
                // The others grow older all the same.
                self.counters.budget_stops.add(1);
                continue;
            }
            self.counters.scanned_segments.add(1);
            if untouched < rules.decay_epochs {
                self.counters.skipped_hot.add(1);
                continue;
            }
            let start = PageIndex::new(to_u32(segment) * SEGMENT_PAGES);
            let whole = Run::new(start, Pages::new(SEGMENT_PAGES));
            let purged = self.purge_ranges(whole, rules.min_range, rules.budget.less(done));
            if purged.calls > 0 {
                segments.set_untouched(segment, untouched.saturating_add(1));
            }
            done.add(purged);
        }
        done
    }

    /// Purges the ranges of free pages in `within` that have at least `shortest` pages.
    fn purge_ranges(&self, within: Run, shortest: u32, budget: Budget) -> Purged {
        let segments = self.below.segments;
        let mut done = Purged::default();
        let mut from = within.start;
        while done.pages < budget.pages && done.calls < budget.calls {
            let ahead = Run::new(from, within.end() - from);
            let Some(range) = segments.next_dirty(ahead, Age::Any) else { break };
            from = range.end();
            if range.pages.get() < shortest {
                self.counters.skipped_small.add(1);
                continue;
            }
            let purged = self.purger.range(segments, range, Age::Any, budget.less(done));
            // The pages from the range's start, unless the system refused or another thread took
            // some meanwhile.
            let pages = Pages::new(u32::try_from(purged.pages).unwrap_or(u32::MAX));
            done.add(Purged { segments: whole_segments(Run::new(range.start, pages)), ..purged });
        }
        done
    }

    /// Queues the ranges that became free since the last epoch.
    fn enqueue(&self, rules: &QueueRules, epochs: &mut Epochs) {
        let segments = self.below.segments;
        let at_ms = segments.os().now_ms();
        let mut left = rules.retire_pages;
        let mut from = PageIndex::new(0);
        while left > 0 {
            let limit = Pages::new(u32::try_from(left).unwrap_or(u32::MAX).min(SEGMENT_PAGES));
            let Some(run) = segments.claim_young(from, limit) else { return };
            from = run.end();
            let pages = u64::from(run.pages.get());
            left -= pages;
            self.counters.queued.add(1);
            self.counters.queued_pages.add(pages);
            match epochs.queue.push(rules, Entry { run, epoch: epochs.number, at_ms }) {
                Queued::Entered => self.counters.peak_queue.raise(to_u64(epochs.queue.len())),
                Queued::Coalesced => self.counters.coalesced.add(1),
                Queued::Full => {
                    // The next epoch finds it again, and what lies behind it.
                    self.drop_entry(Entry { run, epoch: epochs.number, at_ms });
                    return;
                }
            }
        }
        self.counters.budget_stops.add(1);
    }

    fn drop_entry(&self, entry: Entry) {
        self.counters.dropped.add(1);
        self.counters.dropped_pages.add(u64::from(entry.run.pages.get()));
        self.below.segments.make_young(entry.run);
    }

    /// Purges the entries that are due, oldest first.
    fn drain(&self, rules: &QueueRules, epochs: &mut Epochs) -> Purged {
        let now = self.below.segments.os().now_ms();
        let mut done = Purged::default();
        while let Some(entry) = epochs.queue.first() {
            if done.pages >= rules.budget.pages || done.calls >= rules.budget.calls {
                self.counters.budget_stops.add(1);
                break;
            }
            if !entry.is_due(rules, epochs.number, now) {
                self.counters.delay_stops.add(1);
                break;
            }
            epochs.queue.pop();
            done.add(self.purge_entry(rules, entry));
        }
        if rules.discard {
            while let Some(entry) = epochs.queue.pop() {
                self.drop_entry(entry);
            }
        }
        done
    }

    /// Purges the pages of an entry that are still free; none unless all are, or `check_free` is
    /// set. Pages that became free after this epoch's choice are young and wait for the next epoch.
    fn purge_entry(&self, rules: &QueueRules, entry: Entry) -> Purged {
        let segments = self.below.segments;
        if !rules.check_free && segments.next_dirty(entry.run, Age::Old) != Some(entry.run) {
            self.counters.cancelled.add(1);
            self.counters.cancelled_pages.add(u64::from(entry.run.pages.get()));
            // Its free parts are queued anew.
            segments.make_young(entry.run);
            return Purged::default();
        }
        let done = self.purger.range(segments, entry.run, Age::Old, Budget::ALL);
        let taken = u64::from(entry.run.pages.get()).saturating_sub(done.pages);
        if rules.check_free && taken > 0 {
            self.counters.cancelled_pages.add(taken);
        }
        done
    }

    /// S61, S62: a thread has ended and its blocks are back.
    pub(crate) fn exit(&self, budget: Budget) -> Purged {
        let Below { transfers, central, segments, .. } = self.below;
        transfers.drain_all(central, segments);
        let retired = central.retire(segments);
        self.counters.retired_pages.add(u64::from(retired.get()));
        self.counters.exits.add(1);
        let all = Run::new(
            PageIndex::new(0),
            Pages::new(to_u32(segments.segment_count()) * SEGMENT_PAGES),
        );
        let done = self.purge_ranges(all, 1, budget);
        self.counters.exit_pages.add(done.pages);
        self.counters.exit_segments.add(done.segments);
        done
    }
}

/// Returns how many whole segments lie in a run.
fn whole_segments(run: Run) -> u64 {
    let first = run.start.get().div_ceil(SEGMENT_PAGES);
    u64::from((run.end().get() / SEGMENT_PAGES).saturating_sub(first))
}
