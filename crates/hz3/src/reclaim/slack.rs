//! How much free memory may stay resident in a process without a reclaimer.
//!
//! There only slow paths give memory back, and the program may run none for ever. So what is free
//! and may be resident must stay below a bound at any time, beside what the caches hold: 4 MiB and a
//! quarter of the live bytes in the arena; 1 MiB and a 64th while the program only frees, for it will
//! hardly take the memory again soon. A slow path that finds more purges down to half of the bound.
//! Blocks in mappings of their own don't raise the bound: free pages of the arena never serve them.
//!
//! A program whose working set swings by more than the bound would pay for a purge and for as many
//! faults with each swing. It pays for one or two: when a quarter of what was purged is taken again
//! within a second in which the program waits, the purge was a mistake, and the bound doubles, or rises to what was taken
//! again. It halves after every five seconds without a mistake.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::base::units::{PAGE_BYTES, to_u64};
use crate::central::FreeBytes;

/// The bound for a program without live blocks, in bytes.
const LEAST: u64 = 4 * 1024 * 1024;
/// The part of the live bytes that may be free as well.
const LIVE_PART: u64 = 4;
/// The same for a program that only frees.
const LEAST_FREEING: u64 = 1024 * 1024;
const LIVE_PART_FREEING: u64 = 64;
/// The part of a slab that holes must be to be purged; at the end of a phase of frees, as good as
/// nothing.
const HOLE_PART: u32 = 4;
const HOLE_PART_AT_END: u32 = 128;
/// The part of the bytes in use in slabs whose free is worth a look at holes, in a program that only
/// frees; else it is [`LIVE_PART`].
const USED_PART_FREEING: u64 = 8;
/// Fewer bytes that became free in slabs are not worth a look at their holes.
const LEAST_LOOK: u64 = 1024 * 1024;
/// A purge whose pages are taken again so soon was a mistake, in milliseconds that the process did not
/// run on a CPU: one at work takes longer to come back to a large swing, and waits for nothing.
const SOON_MS: u64 = 1000;
/// The part of the purged pages that must be taken again for that, and how many at least.
const MISTAKE_PART: u64 = 4;
const LEAST_MISTAKE: u64 = 256;
/// The bound doubles so often at most: beyond all memory.
const MOST: u32 = 24;
/// The bound halves after so many milliseconds without a mistake.
const CALM_MS: u64 = 5000;

/// When something happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Time {
    pub(crate) now_ms: u64,
    /// How long the process has run on CPUs; 0 where that is not known of one thread alone.
    pub(crate) cpu_ms: u64,
}

impl Time {
    /// Milliseconds since `before` in which the process did not run, as far as that is known.
    fn waited_since(self, before: Time) -> u64 {
        let passed = self.now_ms.saturating_sub(before.now_ms);
        if self.cpu_ms == 0 || before.cpu_ms == 0 {
            return passed;
        }
        passed.saturating_sub(self.cpu_ms.saturating_sub(before.cpu_ms))
    }
}

/// The bound, read by every slow path without a lock. What changes it holds the lock of the pace.
#[derive(Debug)]
pub(crate) struct Slack {
    /// How often the bound is doubled.
    level: AtomicU32,
    /// The count of pages taken again at which the last purges were a mistake.
    watched: AtomicU64,
    /// Bytes of free pages that the last purge left against its will, or fewer since: the system
    /// refused them, or they are parts of larger pages of its.
    stuck: AtomicU64,
    /// Free bytes in slabs, and in those that were dissolved, when holes were last looked at; or fewer
    /// since.
    known_in_slabs: AtomicU64,
    /// Free bytes in slabs at the last look.
    free_in_slabs: AtomicU64,
    /// Pages purged since the last calm second or the last judgement, how many had been taken again
    /// when the last were purged, and when that was.
    purged_pages: AtomicU64,
    retaken_before: AtomicU64,
    purged_at: AtomicU64,
    purged_cpu: AtomicU64,
    handed_over_at: AtomicU64,
    /// The number of purges, and what it was at the last mistake.
    purges: AtomicU64,
    judged: AtomicU64,
    /// When the level last changed, in milliseconds.
    changed_at: AtomicU64,
    /// The caller's count of allocations that the caches did not serve, at the last estimate.
    takes: AtomicU64,
    /// It has not changed between the last two estimates.
    only_frees: AtomicBool,
    /// Three quarters of the slabs' bytes were free at the last look.
    is_sparse: AtomicBool,
}

impl Slack {
    pub(crate) const fn new() -> Slack {
        Slack {
            level: AtomicU32::new(0),
            watched: AtomicU64::new(u64::MAX),
            stuck: AtomicU64::new(0),
            known_in_slabs: AtomicU64::new(0),
            free_in_slabs: AtomicU64::new(0),
            purged_pages: AtomicU64::new(0),
            retaken_before: AtomicU64::new(0),
            purged_at: AtomicU64::new(0),
            purged_cpu: AtomicU64::new(0),
            handed_over_at: AtomicU64::new(0),
            purges: AtomicU64::new(0),
            judged: AtomicU64::new(0),
            changed_at: AtomicU64::new(0),
            takes: AtomicU64::new(0),
            only_frees: AtomicBool::new(false),
            is_sparse: AtomicBool::new(false),
        }
    }

    /// Whether the last hand-over is long enough ago for another one; it happens now.
    pub(crate) fn may_hand_over(&self, now_ms: u64) -> bool {
        let last = self.handed_over_at.load(Ordering::Relaxed);
        let may = last == 0 || now_ms.saturating_sub(last) > SOON_MS;
        if may {
            self.handed_over_at.store(now_ms, Ordering::Relaxed);
        }
        may
    }

    /// The bound without live blocks, and the part of the live bytes that comes to it. A program whose
    /// memory was wanted again soon is not at its end when it only frees.
    fn terms(&self) -> (u64, u64) {
        let is_calm = self.level.load(Ordering::Relaxed) == 0;
        if is_calm && self.only_frees() {
            (LEAST_FREEING, LIVE_PART_FREEING)
        } else {
            (LEAST, LIVE_PART)
        }
    }

    /// No bound is lower, in bytes.
    pub(crate) fn least(&self) -> u64 {
        self.terms().0
    }

    /// Bytes that may be free and resident, while slabs and large blocks have `active` bytes.
    pub(crate) fn bound(&self, active: u64) -> u64 {
        let live = active.saturating_sub(self.free_in_slabs.load(Ordering::Relaxed));
        let (least, part) = self.terms();
        (least + live / part) << self.level.load(Ordering::Relaxed)
    }

    /// Of so many bytes of free pages that may be resident, those that a purge could bring back.
    pub(crate) fn purgeable(&self, dirty: u64) -> u64 {
        let stuck = self.stuck.load(Ordering::Relaxed);
        if dirty < stuck {
            self.stuck.store(dirty, Ordering::Relaxed);
        }
        dirty.saturating_sub(stuck)
    }

    /// Notes how many bytes of free pages a purge left that was to leave `kept`.
    pub(crate) fn left(&self, dirty: u64, kept: u64) {
        self.stuck.store(dirty.saturating_sub(kept), Ordering::Relaxed);
    }

    /// Notes what is free in slabs. Returns how many bytes became free there since holes were last
    /// looked at, if that is worth another look: a part of what is still in use.
    /// The less is in use, the more pages the next frees make free.
    pub(crate) fn note_slabs(&self, slabs: FreeBytes, bound: u64) -> u64 {
        self.free_in_slabs.store(slabs.free, Ordering::Relaxed);
        self.is_sparse.store(slabs.used <= slabs.free / 3, Ordering::Relaxed);
        let freed = slabs.free + slabs.dissolved;
        let known = self.known_in_slabs.load(Ordering::Relaxed);
        if freed < known {
            self.known_in_slabs.store(freed, Ordering::Relaxed);
        }
        let new = freed.saturating_sub(known);
        let part = if self.only_frees() { USED_PART_FREEING } else { LIVE_PART };
        let worth = (slabs.used / part).max(LEAST_LOOK);
        if slabs.free > bound && new >= worth { new } else { 0 }
    }

    /// Notes how many allocations of the calling thread its cache could not serve so far.
    pub(crate) fn note_takes(&self, takes: u64) {
        let only_frees = self.takes.swap(takes, Ordering::Relaxed) == takes;
        self.only_frees.store(only_frees, Ordering::Relaxed);
    }

    /// Whether the program has freed, and taken next to nothing, between the last two estimates.
    pub(crate) fn only_frees(&self) -> bool {
        self.only_frees.load(Ordering::Relaxed)
    }

    /// The part of a slab that its holes must be for a purge. Small ones cost a call for a page or
    /// two: they go when the program only frees and hardly anything is left, for what is left stays.
    pub(crate) fn hole_part(&self) -> u32 {
        let all = self.only_frees() && self.is_sparse.load(Ordering::Relaxed);
        if all { HOLE_PART_AT_END } else { HOLE_PART }
    }

    /// Notes that holes were looked at.
    pub(crate) fn looked_at_slabs(&self, slabs: FreeBytes) {
        self.free_in_slabs.store(slabs.free, Ordering::Relaxed);
        self.known_in_slabs.store(slabs.free + slabs.dissolved, Ordering::Relaxed);
    }

    /// Notes that pages were purged when so many had been taken again so far.
    pub(crate) fn purged(&self, time: Time, pages: u64, retaken: u64) {
        if pages == 0 {
            return;
        }
        let is_new = time.waited_since(self.last_purge()) > SOON_MS
            || self.watched.load(Ordering::Relaxed) == u64::MAX;
        let before = if is_new { 0 } else { self.purged_pages.load(Ordering::Relaxed) };
        self.purged_pages.store(before + pages, Ordering::Relaxed);
        self.retaken_before.store(retaken, Ordering::Relaxed);
        self.purged_at.store(time.now_ms, Ordering::Relaxed);
        self.purged_cpu.store(time.cpu_ms, Ordering::Relaxed);
        self.purges.fetch_add(1, Ordering::Relaxed);
        let mistake = ((before + pages) / MISTAKE_PART).max(LEAST_MISTAKE);
        let watched = retaken + mistake;
        self.watched.store(watched, Ordering::Relaxed);
    }

    fn last_purge(&self) -> Time {
        let now_ms = self.purged_at.load(Ordering::Relaxed);
        Time { now_ms, cpu_ms: self.purged_cpu.load(Ordering::Relaxed) }
    }

    /// Whether so many pages were taken again that [`Slack::judge`] must look at the time.
    #[inline]
    pub(crate) fn is_suspicious(&self, retaken: u64) -> bool {
        retaken >= self.watched.load(Ordering::Relaxed)
    }

    /// Judges the last purges, of whose pages a part is in use again: `retaken` pages so far.
    pub(crate) fn judge(&self, time: Time, retaken: u64) {
        if time.waited_since(self.last_purge()) > SOON_MS {
            self.watched.store(u64::MAX, Ordering::Relaxed);
            return;
        }
        let purged = self.purged_pages.load(Ordering::Relaxed);
        let pages = (retaken - self.retaken_before.load(Ordering::Relaxed)).min(purged);
        let least = to_u64(PAGE_BYTES) * pages / LEAST;
        // A swing is one mistake, however often it is looked at.
        let purges = self.purges.load(Ordering::Relaxed);
        let is_first = self.judged.swap(purges, Ordering::Relaxed) != purges;
        let level = self.level.load(Ordering::Relaxed) + u32::from(is_first);
        let level = level.max(u64::BITS - least.leading_zeros()).min(MOST);
        self.level.store(level, Ordering::Relaxed);
        self.changed_at.store(time.now_ms, Ordering::Relaxed);
        // As much again is another mistake; beyond what was purged, nothing is.
        let next = if pages < purged { retaken.saturating_add(pages) } else { u64::MAX };
        self.watched.store(next, Ordering::Relaxed);
    }

    /// Lowers the bound when a long time has passed without a mistake.
    pub(crate) fn relax(&self, now_ms: u64) {
        let level = self.level.load(Ordering::Relaxed);
        let calm = now_ms.saturating_sub(self.changed_at.load(Ordering::Relaxed));
        if level > 0 && calm >= CALM_MS {
            self.level.store(level - 1, Ordering::Relaxed);
            self.changed_at.store(now_ms, Ordering::Relaxed);
        }
    }
}

/// Half of the bound, in pages: what a purge leaves.
pub(crate) fn kept_bytes(bound: u64) -> usize {
    let pages = bound / 2 / to_u64(PAGE_BYTES);
    usize::try_from(pages).map_or(usize::MAX, |pages| pages.saturating_mul(PAGE_BYTES))
}

#[cfg(test)]
mod tests {
    use super::{CALM_MS, FreeBytes, LEAST, LEAST_FREEING, SOON_MS, Slack, Time};

    /// In a process that has not run.
    fn at(now_ms: u64) -> Time {
        Time { now_ms, cpu_ms: 0 }
    }

    #[test]
    fn the_bound_follows_the_live_bytes() {
        let slack = Slack::new();
        assert_eq!(slack.bound(0), LEAST);
        assert_eq!(slack.bound(400), LEAST + 100);
        slack.note_slabs(FreeBytes { free: 300, ..FreeBytes::default() }, LEAST);
        assert_eq!(slack.bound(400), LEAST + 25, "what is free in slabs is not live");
    }

    #[test]
    fn a_program_that_only_frees_may_keep_less() {
        let slack = Slack::new();
        slack.note_takes(7);
        assert_eq!(slack.bound(6400), LEAST + 1600);
        slack.note_takes(7);
        assert_eq!(slack.bound(6400), LEAST_FREEING + 100);
        slack.purged(at(1000), 4000, 0);
        slack.judge(at(1001), 1000);
        assert_eq!(slack.bound(6400), (LEAST + 1600) << 1, "it wants its memory again");
        slack.note_takes(8);
        assert_eq!(slack.bound(6400), (LEAST + 1600) << 1);
    }

    #[test]
    fn what_the_system_refuses_is_not_tried_again_and_again() {
        let slack = Slack::new();
        assert_eq!(slack.purgeable(900), 900);
        slack.left(900, 100);
        assert_eq!(slack.purgeable(950), 150);
        assert_eq!(slack.purgeable(300), 0, "some of it was taken");
        assert_eq!(slack.purgeable(950), 650);
    }

    #[test]
    fn what_was_free_when_holes_were_looked_at_is_not_new() {
        const MIB: u64 = 1 << 20;
        let slack = Slack::new();
        let slabs = |free, used, dissolved| FreeBytes {
            free: free * MIB,
            used: used * MIB,
            dissolved: dissolved * MIB,
        };
        let new = |slack: &Slack, slabs| slack.note_slabs(slabs, 4 * MIB) / MIB;
        assert_eq!(new(&slack, slabs(100, 100, 0)), 100);
        slack.looked_at_slabs(slabs(100, 100, 0));
        assert_eq!(new(&slack, slabs(130, 70, 0)), 30);
        assert_eq!(new(&slack, slabs(60, 140, 0)), 0, "taken again");
        assert_eq!(new(&slack, slabs(130, 70, 0)), 70);
        slack.looked_at_slabs(slabs(130, 70, 0));
        assert_eq!(new(&slack, slabs(90, 46, 64)), 24, "a slab of 64 MiB has gone");
        assert_eq!(new(&slack, slabs(131, 70, 0)), 0, "1 MiB of 70 is not worth it");
        assert_eq!(new(&slack, slabs(131, 3, 0)), 1, "1 MiB of 3 is");
        slack.looked_at_slabs(slabs(0, 70, 0));
        assert_eq!(new(&slack, slabs(3, 1, 0)), 0, "within the bound");
    }

    #[test]
    fn a_purge_whose_pages_are_taken_again_soon_raises_the_bound_and_calm_lowers_it() {
        let slack = Slack::new();
        slack.purged(at(1000), 3000, 50);
        slack.purged(at(1100), 1000, 50);
        assert!(!slack.is_suspicious(1049));
        assert!(slack.is_suspicious(1050), "a quarter of 4000 above 50");
        slack.judge(at(1200), 1050);
        assert_eq!(slack.bound(0), LEAST << 1);
        slack.relax(1200 + CALM_MS - 1);
        assert_eq!(slack.bound(0), LEAST << 1);
        slack.relax(1200 + CALM_MS);
        assert_eq!(slack.bound(0), LEAST);
    }

    #[test]
    fn time_at_work_is_no_pause() {
        let slack = Slack::new();
        slack.purged(Time { now_ms: 1000, cpu_ms: 100 }, 4000, 0);
        slack.judge(Time { now_ms: 6000, cpu_ms: 4900 }, 1000);
        assert_eq!(slack.bound(0), LEAST << 1);
    }

    #[test]
    fn a_large_swing_is_learnt_at_once() {
        let slack = Slack::new();
        let (page, all) = (4096, 1 << 18);
        slack.purged(at(1000), all, 0);
        let mut retaken = 0;
        while retaken < all {
            retaken += 1000;
            if slack.is_suspicious(retaken) {
                slack.judge(at(1000 + SOON_MS), retaken);
            }
        }
        assert!(slack.bound(0) > all * page / 2);
        assert!(slack.bound(0) <= 2 * all * page);
    }

    #[test]
    fn pages_taken_again_after_a_pause_are_no_mistake() {
        let slack = Slack::new();
        slack.purged(at(1000), 4000, 0);
        assert!(slack.is_suspicious(1000));
        slack.judge(at(1001 + SOON_MS), 1000);
        assert_eq!(slack.bound(0), LEAST);
    }

    #[test]
    fn pages_purged_long_ago_are_not_the_mistake_of_a_late_purge() {
        let slack = Slack::new();
        slack.purged(at(1000), 100_000, 0);
        slack.purged(at(3000), 1000, 0);
        for retaken in (250..100_000).step_by(250) {
            if slack.is_suspicious(retaken) {
                slack.judge(at(3100), retaken);
            }
        }
        assert_eq!(slack.bound(0), LEAST << 1);
    }

    #[test]
    fn a_few_pages_taken_again_are_no_mistake() {
        let slack = Slack::new();
        slack.purged(at(1000), 10, 0);
        assert!(!slack.is_suspicious(10));
    }

    #[test]
    fn the_bound_never_overflows() {
        let slack = Slack::new();
        for now_ms in 0..100 {
            slack.purged(at(now_ms), 1, 0);
            slack.judge(at(now_ms), 1);
        }
        assert!(slack.bound(1 << 37) >= 1 << 50);
    }
}
