//! The bound on free memory that may stay resident in a process without a reclaimer.
//!
//! In such a process only slow paths give memory back, and the program may never run another one.
//! So free memory that may be resident must always stay below a bound, besides what the caches
//! hold. The bound is 4 MiB plus a quarter of the live bytes in the arena. While the program only
//! frees, it is 1 MiB plus a 64th, because such a program rarely takes the memory again soon. If a
//! slow path finds more than the bound, it purges until half of the bound is left. Huge blocks do
//! not raise the bound, because free pages of the arena never serve them.
//!
//! If a program's working set swings by more than the bound, each swing costs a purge and as many
//! faults. The bound adapts as in the ski-rental problem: a purge is *premature* if the program
//! takes a quarter of the purged pages again within a second of its waiting time. Then the bound
//! doubles, or rises to what was taken again, so a program pays for one or two swings. The bound
//! halves after every five seconds without a premature purge. A *refault* is a purged page that the
//! program takes again.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::base::units::{PAGE_BYTES, to_u64};
use crate::central::FreeBytes;

/// The bound for a program without live blocks, in bytes.
const MIN_BOUND: u64 = 4 * 1024 * 1024;
/// The bound grows by one byte for so many live bytes.
const LIVE_DIVISOR: u64 = 4;
/// As [`MIN_BOUND`] and [`LIVE_DIVISOR`], for a program that only frees.
const MIN_BOUND_FREEING: u64 = 1024 * 1024;
const LIVE_DIVISOR_FREEING: u64 = 64;
/// A slab's holes are purged if at least one of its pages in so many is in a hole.
const HOLES_ONE_IN: u32 = 4;
/// As [`HOLES_ONE_IN`], at the end of a phase of frees.
const HOLES_ONE_IN_AT_END: u32 = 128;
/// In a program that only frees, holes are scanned once an eighth of the bytes in use in slabs was
/// freed; otherwise once one in [`LIVE_DIVISOR`] was.
const USED_DIVISOR_FREEING: u64 = 8;
/// Holes are not scanned if fewer bytes than this became free in slabs.
const MIN_SCAN_BYTES: u64 = 1024 * 1024;
/// A purge is premature if its pages are taken again within so many milliseconds in which the
/// process did not run. Running time does not count, because a busy program takes longer to come
/// back to a large swing.
const PREMATURE_MS: u64 = 1000;
/// For that, a quarter of the purged pages must be taken again, and at least so many pages.
const PREMATURE_DIVISOR: u64 = 4;
const MIN_PREMATURE_PAGES: u64 = 256;
/// The bound is doubled at most so often; by then it exceeds all memory.
const MAX_LEVEL: u32 = 24;
/// The bound halves after so many milliseconds without a premature purge.
const QUIET_MS: u64 = 5000;

/// A moment in wall-clock time and in CPU time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Time {
    pub(crate) now_ms: u64,
    /// How long the process has run on CPUs, in milliseconds; 0 if it has several threads.
    pub(crate) cpu_ms: u64,
}

impl Time {
    /// Returns the milliseconds since `before` in which the process did not run, as far as known.
    fn waited_since(self, before: Time) -> u64 {
        let passed = self.now_ms.saturating_sub(before.now_ms);
        if self.cpu_ms == 0 || before.cpu_ms == 0 {
            return passed;
        }
        passed.saturating_sub(self.cpu_ms.saturating_sub(before.cpu_ms))
    }
}

/// The bound. Every slow path reads it without a lock; a thread that changes it holds the lock of
/// the pace.
#[derive(Debug)]
pub(crate) struct Slack {
    /// How often the bound is doubled.
    level: AtomicU32,
    /// How many refaults in all make the last purges premature; `u64::MAX` if they cannot be any
    /// more.
    watched: AtomicU64,
    /// Bytes of free pages that the last purge could not give back, and never more than are dirty.
    /// The system refused them, or they are parts of larger system pages.
    stuck: AtomicU64,
    /// Free bytes in slabs, and in dissolved slabs, at the last scan of holes; or fewer since then.
    known_in_slabs: AtomicU64,
    /// Free bytes in slabs at the last estimate.
    free_in_slabs: AtomicU64,
    /// Pages purged by the last series of purges, less than a second apart.
    purged_pages: AtomicU64,
    /// The refaults in all when the last purge ran, and when that was.
    refaulted_before: AtomicU64,
    purged_at: AtomicU64,
    purged_cpu: AtomicU64,
    /// When everything was last given back because slow paths took over from the reclaimer.
    switched_at: AtomicU64,
    /// The number of purges, and its value at the last premature one.
    purges: AtomicU64,
    premature_purge: AtomicU64,
    /// When the level last changed, in milliseconds.
    changed_at: AtomicU64,
    /// The calling thread's count of allocations that its cache did not serve, at the last
    /// estimate.
    takes: AtomicU64,
    /// Whether that count did not change between the last two estimates.
    only_frees: AtomicBool,
    /// Whether three quarters of the slabs' bytes were free at the last estimate.
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
            refaulted_before: AtomicU64::new(0),
            purged_at: AtomicU64::new(0),
            purged_cpu: AtomicU64::new(0),
            switched_at: AtomicU64::new(0),
            purges: AtomicU64::new(0),
            premature_purge: AtomicU64::new(0),
            changed_at: AtomicU64::new(0),
            takes: AtomicU64::new(0),
            only_frees: AtomicBool::new(false),
            is_sparse: AtomicBool::new(false),
        }
    }

    /// Returns whether the last switch to slow paths is more than a second ago, and notes a new one
    /// if so.
    pub(crate) fn may_switch(&self, now_ms: u64) -> bool {
        let last = self.switched_at.load(Ordering::Relaxed);
        let may = last == 0 || now_ms.saturating_sub(last) > PREMATURE_MS;
        if may {
            self.switched_at.store(now_ms, Ordering::Relaxed);
        }
        may
    }

    /// Returns the constant term of the bound, in bytes, and the divisor of the live bytes.
    ///
    /// After a premature purge the program counts as one that also allocates, even while it only
    /// frees.
    fn terms(&self) -> (u64, u64) {
        let is_lowest = self.level.load(Ordering::Relaxed) == 0;
        if is_lowest && self.only_frees() {
            (MIN_BOUND_FREEING, LIVE_DIVISOR_FREEING)
        } else {
            (MIN_BOUND, LIVE_DIVISOR)
        }
    }

    /// Returns the least possible bound, in bytes.
    pub(crate) fn least(&self) -> u64 {
        self.terms().0
    }

    /// Returns how many bytes may be free and resident while slabs and large blocks have `active`
    /// bytes.
    pub(crate) fn bound(&self, active: u64) -> u64 {
        let live = active.saturating_sub(self.free_in_slabs.load(Ordering::Relaxed));
        let (constant, divisor) = self.terms();
        (constant + live / divisor) << self.level.load(Ordering::Relaxed)
    }

    /// Returns how many of `dirty` bytes of free pages a purge could give back.
    pub(crate) fn purgeable(&self, dirty: u64) -> u64 {
        let stuck = self.stuck.load(Ordering::Relaxed);
        if dirty < stuck {
            self.stuck.store(dirty, Ordering::Relaxed);
        }
        dirty.saturating_sub(stuck)
    }

    /// Notes that a purge that should leave `kept` bytes of free pages left `dirty` bytes.
    pub(crate) fn note_left(&self, dirty: u64, kept: u64) {
        self.stuck.store(dirty.saturating_sub(kept), Ordering::Relaxed);
    }

    /// Notes what is free in slabs. Returns how many bytes became free there since the last scan of
    /// holes, or 0 if they do not justify another scan. The threshold is a fraction of the bytes in
    /// use: the fewer blocks are in use, the more whole pages each further free yields.
    pub(crate) fn note_slabs(&self, slabs: FreeBytes, bound: u64) -> u64 {
        self.free_in_slabs.store(slabs.free, Ordering::Relaxed);
        self.is_sparse.store(slabs.used <= slabs.free / 3, Ordering::Relaxed);
        let freed = slabs.free + slabs.dissolved;
        let known = self.known_in_slabs.load(Ordering::Relaxed);
        if freed < known {
            self.known_in_slabs.store(freed, Ordering::Relaxed);
        }
        let new = freed.saturating_sub(known);
        let divisor = if self.only_frees() { USED_DIVISOR_FREEING } else { LIVE_DIVISOR };
        let worth = (slabs.used / divisor).max(MIN_SCAN_BYTES);
        if slabs.free > bound && new >= worth { new } else { 0 }
    }

    /// Notes how many allocations of the calling thread its cache could not serve so far.
    pub(crate) fn note_takes(&self, takes: u64) {
        let only_frees = self.takes.swap(takes, Ordering::Relaxed) == takes;
        self.only_frees.store(only_frees, Ordering::Relaxed);
    }

    /// Returns whether the program has freed and hardly allocated between the last two estimates.
    pub(crate) fn only_frees(&self) -> bool {
        self.only_frees.load(Ordering::Relaxed)
    }

    /// Returns one page in how many of a slab must be in a hole, so that its holes are purged.
    ///
    /// Small holes cost one call for a page or two. They are purged only if the program only frees
    /// and little is left, because the rest then probably stays.
    pub(crate) fn holes_one_in(&self) -> u32 {
        let all = self.only_frees() && self.is_sparse.load(Ordering::Relaxed);
        if all { HOLES_ONE_IN_AT_END } else { HOLES_ONE_IN }
    }

    /// Notes what was free in slabs when holes were scanned.
    pub(crate) fn note_hole_scan(&self, slabs: FreeBytes) {
        self.free_in_slabs.store(slabs.free, Ordering::Relaxed);
        self.known_in_slabs.store(slabs.free + slabs.dissolved, Ordering::Relaxed);
    }

    /// Notes that `pages` pages were purged after `refaulted` refaults in all.
    pub(crate) fn note_purge(&self, time: Time, pages: u64, refaulted: u64) {
        if pages == 0 {
            return;
        }
        let is_new = time.waited_since(self.last_purge()) > PREMATURE_MS
            || self.watched.load(Ordering::Relaxed) == u64::MAX;
        let before = if is_new { 0 } else { self.purged_pages.load(Ordering::Relaxed) };
        self.purged_pages.store(before + pages, Ordering::Relaxed);
        self.refaulted_before.store(refaulted, Ordering::Relaxed);
        self.purged_at.store(time.now_ms, Ordering::Relaxed);
        self.purged_cpu.store(time.cpu_ms, Ordering::Relaxed);
        self.purges.fetch_add(1, Ordering::Relaxed);
        let mistake = ((before + pages) / PREMATURE_DIVISOR).max(MIN_PREMATURE_PAGES);
        let watched = refaulted + mistake;
        self.watched.store(watched, Ordering::Relaxed);
    }

    fn last_purge(&self) -> Time {
        let now_ms = self.purged_at.load(Ordering::Relaxed);
        Time { now_ms, cpu_ms: self.purged_cpu.load(Ordering::Relaxed) }
    }

    /// Returns whether there were so many refaults that [`Slack::raise_if_premature`] must check
    /// the time.
    #[inline]
    pub(crate) fn has_many_refaults(&self, refaulted: u64) -> bool {
        refaulted >= self.watched.load(Ordering::Relaxed)
    }

    /// Raises the bound if the last purges were premature. `refaulted` counts all refaults so far.
    pub(crate) fn raise_if_premature(&self, time: Time, refaulted: u64) {
        if time.waited_since(self.last_purge()) > PREMATURE_MS {
            self.watched.store(u64::MAX, Ordering::Relaxed);
            return;
        }
        let purged = self.purged_pages.load(Ordering::Relaxed);
        let pages = (refaulted - self.refaulted_before.load(Ordering::Relaxed)).min(purged);
        let bounds = to_u64(PAGE_BYTES) * pages / MIN_BOUND;
        // One swing counts as one premature purge, however often it is checked.
        let purges = self.purges.load(Ordering::Relaxed);
        let is_first = self.premature_purge.swap(purges, Ordering::Relaxed) != purges;
        let level = self.level.load(Ordering::Relaxed) + u32::from(is_first);
        let level = level.max(u64::BITS - bounds.leading_zeros()).min(MAX_LEVEL);
        self.level.store(level, Ordering::Relaxed);
        self.changed_at.store(time.now_ms, Ordering::Relaxed);
        // Checks again after as many further refaults, until all purged pages are back.
        let next = if pages < purged { refaulted.saturating_add(pages) } else { u64::MAX };
        self.watched.store(next, Ordering::Relaxed);
    }

    /// Halves the bound after a long time without a premature purge.
    pub(crate) fn lower_after_quiet(&self, now_ms: u64) {
        let level = self.level.load(Ordering::Relaxed);
        let quiet_ms = now_ms.saturating_sub(self.changed_at.load(Ordering::Relaxed));
        if level > 0 && quiet_ms >= QUIET_MS {
            self.level.store(level - 1, Ordering::Relaxed);
            self.changed_at.store(now_ms, Ordering::Relaxed);
        }
    }
}

/// Returns half of the bound in whole pages, in bytes: what a purge leaves.
pub(crate) fn kept_bytes(bound: u64) -> usize {
    let pages = bound / 2 / to_u64(PAGE_BYTES);
    usize::try_from(pages).map_or(usize::MAX, |pages| pages.saturating_mul(PAGE_BYTES))
}

#[cfg(test)]
mod tests {
    use super::{FreeBytes, MIN_BOUND, MIN_BOUND_FREEING, PREMATURE_MS, QUIET_MS, Slack, Time};

    /// Returns a time in a process that has not run.
    fn at(now_ms: u64) -> Time {
        Time { now_ms, cpu_ms: 0 }
    }

    #[test]
    fn the_bound_follows_the_live_bytes() {
        let slack = Slack::new();
        assert_eq!(slack.bound(0), MIN_BOUND);
        assert_eq!(slack.bound(400), MIN_BOUND + 100);
        slack.note_slabs(FreeBytes { free: 300, ..FreeBytes::default() }, MIN_BOUND);
        assert_eq!(slack.bound(400), MIN_BOUND + 25, "what is free in slabs is not live");
    }

    #[test]
    fn a_program_that_only_frees_may_keep_less() {
        let slack = Slack::new();
        slack.note_takes(7);
        assert_eq!(slack.bound(6400), MIN_BOUND + 1600);
        slack.note_takes(7);
        assert_eq!(slack.bound(6400), MIN_BOUND_FREEING + 100);
        slack.note_purge(at(1000), 4000, 0);
        slack.raise_if_premature(at(1001), 1000);
        assert_eq!(slack.bound(6400), (MIN_BOUND + 1600) << 1, "it wants its memory again");
        slack.note_takes(8);
        assert_eq!(slack.bound(6400), (MIN_BOUND + 1600) << 1);
    }

    #[test]
    fn pages_that_the_system_refuses_are_not_tried_again() {
        let slack = Slack::new();
        assert_eq!(slack.purgeable(900), 900);
        slack.note_left(900, 100);
        assert_eq!(slack.purgeable(950), 150);
        assert_eq!(slack.purgeable(300), 0, "some of it was taken");
        assert_eq!(slack.purgeable(950), 650);
    }

    #[test]
    fn bytes_free_at_the_last_scan_of_holes_are_not_new() {
        const MIB: u64 = 1 << 20;
        let slack = Slack::new();
        let slabs = |free, used, dissolved| FreeBytes {
            free: free * MIB,
            used: used * MIB,
            dissolved: dissolved * MIB,
        };
        let new = |slack: &Slack, slabs| slack.note_slabs(slabs, 4 * MIB) / MIB;
        assert_eq!(new(&slack, slabs(100, 100, 0)), 100);
        slack.note_hole_scan(slabs(100, 100, 0));
        assert_eq!(new(&slack, slabs(130, 70, 0)), 30);
        assert_eq!(new(&slack, slabs(60, 140, 0)), 0, "taken again");
        assert_eq!(new(&slack, slabs(130, 70, 0)), 70);
        slack.note_hole_scan(slabs(130, 70, 0));
        assert_eq!(new(&slack, slabs(90, 46, 64)), 24, "a slab of 64 MiB has gone");
        assert_eq!(new(&slack, slabs(131, 70, 0)), 0, "1 MiB of 70 is not worth it");
        assert_eq!(new(&slack, slabs(131, 3, 0)), 1, "1 MiB of 3 is");
        slack.note_hole_scan(slabs(0, 70, 0));
        assert_eq!(new(&slack, slabs(3, 1, 0)), 0, "within the bound");
    }

    #[test]
    fn a_premature_purge_raises_the_bound_and_quiet_time_lowers_it() {
        let slack = Slack::new();
        slack.note_purge(at(1000), 3000, 50);
        slack.note_purge(at(1100), 1000, 50);
        assert!(!slack.has_many_refaults(1049));
        assert!(slack.has_many_refaults(1050), "a quarter of 4000 above 50");
        slack.raise_if_premature(at(1200), 1050);
        assert_eq!(slack.bound(0), MIN_BOUND << 1);
        slack.lower_after_quiet(1200 + QUIET_MS - 1);
        assert_eq!(slack.bound(0), MIN_BOUND << 1);
        slack.lower_after_quiet(1200 + QUIET_MS);
        assert_eq!(slack.bound(0), MIN_BOUND);
    }

    #[test]
    fn running_time_does_not_count_as_waiting() {
        let slack = Slack::new();
        slack.note_purge(Time { now_ms: 1000, cpu_ms: 100 }, 4000, 0);
        slack.raise_if_premature(Time { now_ms: 6000, cpu_ms: 4900 }, 1000);
        assert_eq!(slack.bound(0), MIN_BOUND << 1);
    }

    #[test]
    fn the_bound_follows_a_large_swing_at_once() {
        let slack = Slack::new();
        let (page, all) = (4096, 1 << 18);
        slack.note_purge(at(1000), all, 0);
        let mut refaulted = 0;
        while refaulted < all {
            refaulted += 1000;
            if slack.has_many_refaults(refaulted) {
                slack.raise_if_premature(at(1000 + PREMATURE_MS), refaulted);
            }
        }
        assert!(slack.bound(0) > all * page / 2);
        assert!(slack.bound(0) <= 2 * all * page);
    }

    #[test]
    fn a_purge_is_not_premature_if_its_pages_are_taken_late() {
        let slack = Slack::new();
        slack.note_purge(at(1000), 4000, 0);
        assert!(slack.has_many_refaults(1000));
        slack.raise_if_premature(at(1001 + PREMATURE_MS), 1000);
        assert_eq!(slack.bound(0), MIN_BOUND);
    }

    #[test]
    fn pages_purged_long_ago_do_not_count_for_a_later_purge() {
        let slack = Slack::new();
        slack.note_purge(at(1000), 100_000, 0);
        slack.note_purge(at(3000), 1000, 0);
        for refaulted in (250..100_000).step_by(250) {
            if slack.has_many_refaults(refaulted) {
                slack.raise_if_premature(at(3100), refaulted);
            }
        }
        assert_eq!(slack.bound(0), MIN_BOUND << 1);
    }

    #[test]
    fn a_few_pages_taken_again_do_not_count() {
        let slack = Slack::new();
        slack.note_purge(at(1000), 10, 0);
        assert!(!slack.has_many_refaults(10));
    }

    #[test]
    fn the_bound_never_overflows() {
        let slack = Slack::new();
        for now_ms in 0..100 {
            slack.note_purge(at(now_ms), 1, 0);
            slack.raise_if_premature(at(now_ms), 1);
        }
        assert!(slack.bound(1 << 37) >= 1 << 50);
    }
}
