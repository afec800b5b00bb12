//! The runs of large blocks that a thread freed last. They serve malloc and free of 32 KiB to
//! 4 MiB with two atomic operations and without a lock.
//!
//! A slot is one word: the start and length of a run, or 0. Only the owner fills slots. The owner
//! and thieves empty a slot by exchanging its word for 0; the thread whose exchange succeeds owns
//! the run, so no thread waits. Slots are sorted into bins of lengths, so a run that is taken is
//! little longer than asked for. A tick steals all runs; a busy thread gets a run of each length
//! back by one miss.

use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::base::units::{PageIndex, Pages, Run, to_u64, to_usize};
use crate::segment::length_bin::{BINS, MAX_BINNED, length_bin};

/// Slots of a bin.
const WAYS: usize = 2;
const SLOTS: usize = BINS * WAYS;
/// Bins that a take tries.
const BINS_TRIED: usize = 2;

/// The runs. Only the owner puts and takes; any thread may steal.
#[derive(Debug)]
pub(crate) struct RunCache {
    /// The slots of all bins. The row behind the last bin stays empty, so that a take can try two
    /// bins wherever it starts.
    slots: [[AtomicU64; WAYS]; BINS + 1],
    /// The slot at which the search for the next run to evict starts. Used by the owner alone.
    clock_hand: AtomicUsize,
    /// Pages that the owner put in so far, minus those it took out. Written by the owner alone.
    net_put: AtomicU32,
    /// Pages stolen so far. Thieves add to it atomically.
    stolen: AtomicU32,
    /// The most pages that may be held.
    max_pages: AtomicU32,
    /// The number of the present reclaimer at the last poll. Written by the owner alone.
    polled_number: AtomicU32,
    /// The pages held at the last poll. Written by the owner alone.
    polled_held: AtomicU32,
}

fn pack(run: Run) -> u64 {
    u64::from(run.start.get()) << 32 | u64::from(run.pages.get())
}

fn unpack(word: u64) -> Option<Run> {
    let (start, pages) = (low_half(word >> 32), low_half(word));
    (pages > 0).then(|| Run::new(PageIndex::new(start), Pages::new(pages)))
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half of a word")]
fn low_half(word: u64) -> u32 {
    word as u32
}

/// Adds to a counter that only this thread writes; wraps around.
fn add(counter: &AtomicU32, amount: u32) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

/// Returns an empty slot of a bin.
#[inline]
fn empty_slot(ways: &[AtomicU64; WAYS]) -> Option<&AtomicU64> {
    ways.iter().find(|slot| slot.load(Ordering::Relaxed) == 0)
}

impl RunCache {
    pub(crate) const fn new() -> RunCache {
        RunCache {
            slots: [const { [const { AtomicU64::new(0) }; WAYS] }; BINS + 1],
            clock_hand: AtomicUsize::new(0),
            net_put: AtomicU32::new(0),
            stolen: AtomicU32::new(0),
            max_pages: AtomicU32::new(0),
            polled_number: AtomicU32::new(0),
            polled_held: AtomicU32::new(0),
        }
    }

    /// Sets the most bytes that may be held; no more than [`MAX_BINNED`] count.
    pub(crate) fn set_limit(&self, bytes: usize) {
        let pages = Pages::containing(bytes).map_or(MAX_BINNED, |pages| pages.min(MAX_BINNED));
        self.max_pages.store(pages.get(), Ordering::Relaxed);
    }

    /// Returns the pages held: exact for the owner while no thief is at work, else a hint. It may
    /// be negative, because a count may change between the two loads.
    fn difference(&self) -> i32 {
        let stolen = self.stolen.load(Ordering::Relaxed);
        self.net_put.load(Ordering::Relaxed).wrapping_sub(stolen).cast_signed()
    }

    /// As [`RunCache::difference`], but never negative.
    fn held(&self) -> u32 {
        self.difference().max(0).cast_unsigned()
    }

    /// Returns whether `pages` more pages, few enough for a bin, would exceed the limit.
    fn would_exceed(&self, pages: u32) -> bool {
        let max_pages = self.max_pages.load(Ordering::Relaxed).cast_signed();
        self.difference().wrapping_add_unsigned(pages) > max_pages
    }

    /// Returns the bytes held: exact while neither the owner nor a thief is at work, else a hint.
    pub(crate) fn bytes(&self) -> u64 {
        to_u64(Pages::new(self.held()).bytes())
    }

    /// Resets the counts after the owner has ended. The cache must hold no run.
    pub(crate) fn reset(&self) {
        for count in [&self.net_put, &self.stolen] {
            count.store(0, Ordering::Relaxed);
        }
        for note in [&self.polled_number, &self.polled_held] {
            note.store(0, Ordering::Relaxed);
        }
    }

    /// Owner: notes a poll of reclaim, with the number of its present reclaimer, and the pages held
    /// now.
    pub(crate) fn note_poll(&self, number: u32) {
        self.polled_number.store(number, Ordering::Relaxed);
        self.polled_held.store(self.held(), Ordering::Relaxed);
    }

    /// Owner: returns whether the reclaimer's number is that of the last poll, and no more pages
    /// are held than then.
    #[inline]
    pub(crate) fn is_poll_current(&self, number: u32) -> bool {
        let held = self.polled_held.load(Ordering::Relaxed).cast_signed();
        self.polled_number.load(Ordering::Relaxed) == number && self.difference() <= held
    }

    /// Owner: keeps a run of length bin `bin` if that evicts no other; returns whether it did.
    ///
    /// Calls `claim` for the run only when there is room. If it returns false, the run is gone.
    #[inline]
    pub(crate) fn put_if_room(&self, run: Run, bin: u32, claim: impl FnOnce() -> bool) -> bool {
        let Some(ways) = self.ways(bin) else { return false };
        if self.would_exceed(run.pages.get()) {
            return false;
        }
        let Some(slot) = empty_slot(ways) else { return false };
        let is_claimed = claim();
        if is_claimed {
            self.fill(slot, run);
        }
        is_claimed
    }

    /// Owner: stores a run in an empty slot.
    #[inline]
    fn fill(&self, slot: &AtomicU64, run: Run) {
        add(&self.net_put, run.pages.get());
        // Release pairs with the acquire exchange in `steal`: the thief sees what the owner wrote.
        slot.store(pack(run), Ordering::Release);
    }

    /// Owner: takes a run of at least `pages` pages that lies in their bin or in the next one.
    #[inline]
    pub(crate) fn take(&self, pages: Pages) -> Option<Run> {
        let first = to_usize(length_bin(pages)).min(BINS - 1);
        let bins = &self.slots[first..first + BINS_TRIED];
        bins.as_flattened().iter().find_map(|slot| {
            let word = slot.load(Ordering::Relaxed);
            let run = unpack(word).filter(|run| run.pages >= pages)?;
            // A thief may have emptied the slot meanwhile.
            slot.compare_exchange(word, 0, Ordering::Relaxed, Ordering::Relaxed).ok()?;
            add(&self.net_put, run.pages.get().wrapping_neg());
            Some(run)
        })
    }

    /// Owner: keeps a run, and passes the runs that it replaces to `evict`, or the run itself if it
    /// is too long.
    pub(crate) fn put(&self, run: Run, mut evict: impl FnMut(Run)) {
        // The last bin has room for runs that are longer than the longest limit, too.
        let fits = run.pages.get() <= self.max_pages.load(Ordering::Relaxed);
        let Some(ways) = self.ways(length_bin(run.pages)).filter(|_| fits) else {
            evict(run);
            return;
        };
        while self.would_exceed(run.pages.get()) {
            let Some(slot) = self.next_filled() else { break };
            self.evict_from(slot, &mut evict);
        }
        let slot = empty_slot(ways)
            .unwrap_or_else(|| &ways[self.clock_hand.load(Ordering::Relaxed) % WAYS]);
        self.evict_from(slot, &mut evict);
        self.fill(slot, run);
    }

    /// Returns the slots of a bin; `None` for that of a run that is too long.
    #[inline]
    fn ways(&self, bin: u32) -> Option<&[AtomicU64; WAYS]> {
        self.slots[..BINS].get(to_usize(bin))
    }

    /// Owner: returns the next slot that holds a run, from the clock hand on and round to the
    /// start. Moves the hand past it.
    fn next_filled(&self) -> Option<&AtomicU64> {
        let hand = self.clock_hand.load(Ordering::Relaxed);
        let slots = self.slots[..BINS].as_flattened();
        let is_filled = |&at: &usize| slots[at].load(Ordering::Relaxed) != 0;
        let at = (hand..SLOTS).chain(0..hand).find(is_filled)?;
        self.clock_hand.store((at + 1) % SLOTS, Ordering::Relaxed);
        Some(&slots[at])
    }

    fn evict_from(&self, slot: &AtomicU64, evict: &mut impl FnMut(Run)) {
        if slot.load(Ordering::Relaxed) == 0 {
            return;
        }
        if let Some(run) = unpack(slot.swap(0, Ordering::Relaxed)) {
            add(&self.net_put, run.pages.get().wrapping_neg());
            evict(run);
        }
    }

    /// Any thread: takes all runs out and passes each to `give`. Returns their bytes.
    pub(crate) fn steal(&self, mut give: impl FnMut(Run)) -> u64 {
        let mut bytes = 0;
        for slot in self.slots.as_flattened() {
            let word = slot.load(Ordering::Relaxed);
            if word == 0 {
                continue;
            }
            // Acquire pairs with the release store in `fill`.
            let won = slot.compare_exchange(word, 0, Ordering::Acquire, Ordering::Relaxed);
            if let Some(run) = won.ok().and_then(unpack) {
                self.stolen.fetch_add(run.pages.get(), Ordering::Relaxed);
                bytes += to_u64(run.pages.bytes());
                give(run);
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_BINNED, RunCache, length_bin};
    use crate::base::units::{PAGE_BYTES, PageIndex, Pages, Run};
    use std::vec::Vec;

    fn run(start: u32, pages: u32) -> Run {
        Run::new(PageIndex::new(start), Pages::new(pages))
    }

    fn cache(pages: usize) -> RunCache {
        let cache = RunCache::new();
        cache.set_limit(pages * PAGE_BYTES);
        cache
    }

    #[test]
    fn take_returns_the_run_put_last_and_none_of_twice_the_length() {
        let cache = cache(1024);
        for (start, pages) in [(100, 16), (200, 30), (300, 33), (400, 1024)] {
            cache.put(run(start, pages), |_| ());
            assert_eq!(cache.take(Pages::new(pages)), Some(run(start, pages)));
            assert_eq!(cache.take(Pages::new(pages)), None, "once");
            cache.put(run(start, pages), |_| ());
            assert_eq!(cache.take(Pages::new(pages / 2)), None, "a run of twice the length");
            cache.steal(|_| ());
        }
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn put_if_room_claims_a_run_only_if_it_keeps_it() {
        let cache = cache(100);
        let put_if = |run: Run, claim: &dyn Fn() -> bool| {
            cache.put_if_room(run, length_bin(run.pages), claim)
        };
        let put = |start, pages| put_if(run(start, pages), &|| true);
        assert!(!put_if(run(100, 16), &|| false), "another thread freed it");
        assert!(put(100, 16) && put(200, 16));
        let refused = || panic!("claimed a run without room for it");
        assert!(!put_if(run(300, 16), &refused), "both slots are full");
        assert!(!put_if(run(300, 70), &refused), "more than the limit");
        assert!(!put_if(run(300, 2 * MAX_BINNED.get()), &refused), "too long");
        let mut evicted = Vec::new();
        cache.put(run(300, 101), |run| evicted.push(run));
        assert_eq!(evicted, [run(300, 101)], "a run above the limit evicts no other");
        assert_eq!(cache.take(Pages::new(16)), Some(run(100, 16)));
        assert_eq!(cache.bytes(), 16 * 4096);
    }

    #[test]
    fn a_poll_is_current_until_more_pages_are_held() {
        let cache = cache(100);
        cache.put(run(100, 16), |_| ());
        cache.note_poll(7);
        assert!(cache.is_poll_current(7) && !cache.is_poll_current(8));
        cache.put(run(200, 17), |_| ());
        assert!(!cache.is_poll_current(7));
        assert!(cache.take(Pages::new(17)).is_some() && cache.is_poll_current(7));
    }

    #[test]
    fn no_run_is_lost_and_the_limit_holds() {
        let cache = cache(256);
        let (mut out, mut random) = (Vec::new(), 1u64);
        for step in 0..1000u32 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let pages = u32::try_from(random >> 56).expect("a byte") + 1;
            cache.put(run(step + 1, pages), |run| out.push(run.start.get()));
            assert!(cache.bytes() <= 256 * 4096, "{}", cache.bytes());
            if step % 3 == 0 {
                out.extend(cache.take(Pages::new(pages)).map(|run| run.start.get()));
            }
        }
        let held = cache.bytes();
        assert_eq!(cache.steal(|run| out.push(run.start.get())), held);
        out.sort_unstable();
        assert_eq!(out, (1..=1000).collect::<Vec<u32>>(), "each run exactly once");
    }

    #[test]
    fn each_run_goes_to_the_owner_or_a_thief_exactly_once() {
        let cache = cache(1024);
        let rounds = if cfg!(miri) { 50 } else { 20_000 };
        let (kept, stolen) = std::thread::scope(|scope| {
            let thief = scope.spawn(|| {
                let mut stolen = 0u32;
                for _ in 0..rounds {
                    cache.steal(|_| stolen += 1);
                }
                stolen
            });
            let mut kept = 0;
            for round in 0..rounds {
                cache.put(run(round + 1, 8 + round % 64), |_| kept += 1);
                kept += u32::from(cache.take(Pages::new(8 + round % 64)).is_some());
            }
            (kept, thief.join().expect("no panic"))
        });
        let mut left = 0;
        cache.steal(|_| left += 1);
        assert_eq!(kept + stolen + left, rounds);
        assert_eq!(cache.held(), 0);
    }
}
