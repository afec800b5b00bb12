//! The runs of large blocks that a thread freed last. They serve malloc and free of 32 KiB to
//! 4 MiB with two atomic operations and without a lock.
//!
//! A slot is one word: the start and length of a run, or 0. Only the owner fills slots. The owner
//! and thieves empty a slot by exchanging its word for 0; the thread whose exchange succeeds owns
//! the run, so no thread waits. Slots are sorted by length into bins, eight to a doubling, so a run
//! that is taken is at most an eighth too long. A tick steals all runs; a busy thread gets a run of
//! each length back by one miss.

use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::base::bits;
use crate::base::units::{PageIndex, Pages, Run, to_u32, to_u64, to_usize};

/// The longest run that the cache keeps, 4 MiB: log2 of its pages.
const LONGEST_SHIFT: u32 = 10;
pub(crate) const LONGEST: Pages = Pages::new(1 << LONGEST_SHIFT);
/// The start of the lowest doubling, log2 of its pages. The shortest large block lies in it.
const SHORTEST_SHIFT: u32 = 3;
/// Bins per doubling of the length: log2.
const STEPS_SHIFT: u32 = 3;
const BINS: usize = ((LONGEST_SHIFT - SHORTEST_SHIFT) << STEPS_SHIFT) as usize + 1;
/// Slots of a bin.
const WAYS: usize = 2;
const SLOTS: usize = BINS * WAYS;
const SLOT_WORDS: usize = bits::words_for(SLOTS);

/// The runs. Only the owner puts and takes; any thread may steal.
#[derive(Debug)]
pub(crate) struct RunCache {
    slots: [[AtomicU64; WAYS]; BINS],
    /// The slot at which the search for the next run to evict starts. Used by the owner alone.
    clock_hand: AtomicUsize,
    /// One bit per slot, set if the slot may hold a run. Used by the owner alone.
    maybe_filled: [AtomicU64; SLOT_WORDS],
    /// Pages that the owner put in so far, minus those it took out. Written by the owner alone.
    net_put: AtomicU32,
    /// Pages stolen so far. Thieves add to it atomically.
    stolen: AtomicU32,
    /// The limit of [`RunCache::held`], in pages.
    most: AtomicU32,
    /// The last poll of the reclaim driver: its state in the upper half, the pages held in the
    /// lower.
    polled: AtomicU64,
}

/// Returns the bin for runs of `pages` pages, which is at most [`LONGEST`].
fn bin(pages: u32) -> usize {
    let order = pages.ilog2().max(SHORTEST_SHIFT);
    let step = (pages >> (order - STEPS_SHIFT)).saturating_sub(1 << STEPS_SHIFT);
    to_usize(((order - SHORTEST_SHIFT) << STEPS_SHIFT) + step)
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

impl RunCache {
    pub(crate) const fn new() -> RunCache {
        RunCache {
            slots: [const { [const { AtomicU64::new(0) }; WAYS] }; BINS],
            clock_hand: AtomicUsize::new(0),
            maybe_filled: [const { AtomicU64::new(0) }; SLOT_WORDS],
            net_put: AtomicU32::new(0),
            stolen: AtomicU32::new(0),
            most: AtomicU32::new(0),
            polled: AtomicU64::new(0),
        }
    }

    /// Sets the limit of the bytes held; more than [`LONGEST`] counts as that.
    pub(crate) fn set_limit(&self, bytes: usize) {
        let pages = Pages::containing(bytes).map_or(LONGEST, |pages| pages.min(LONGEST));
        self.most.store(pages.get(), Ordering::Relaxed);
    }

    /// Returns the pages held: exact for the owner while no thief is at work, else a hint.
    fn held(&self) -> u32 {
        let stolen = self.stolen.load(Ordering::Relaxed);
        let held = self.net_put.load(Ordering::Relaxed).wrapping_sub(stolen);
        // Between the two loads a count may change, so the difference may wrap.
        if held > u32::MAX / 2 { 0 } else { held }
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
        self.polled.store(0, Ordering::Relaxed);
    }

    /// Owner: notes that the reclaim driver was polled in `state`, and the pages held now.
    pub(crate) fn note_poll(&self, state: u32) {
        let note = u64::from(state) << 32 | u64::from(self.held());
        self.polled.store(note, Ordering::Relaxed);
    }

    /// Owner: returns whether the driver is still in the state of the last poll, and no more pages
    /// are held than then.
    pub(crate) fn is_poll_current(&self, state: u32) -> bool {
        let note = self.polled.load(Ordering::Relaxed);
        low_half(note >> 32) == state && self.held() <= low_half(note)
    }

    /// Owner: keeps a run of `pages` pages if that evicts no other; returns whether it did.
    ///
    /// Calls `claim` for the run only when there is room. `None` from it means that the run is
    /// gone.
    #[inline]
    pub(crate) fn put_if_room(&self, pages: Pages, claim: impl FnOnce() -> Option<Run>) -> bool {
        let most = self.most.load(Ordering::Relaxed);
        if pages > LONGEST || self.held().saturating_add(pages.get()) > most {
            return false;
        }
        let Some(slot) = self.empty_slot(bin(pages.get()) * WAYS) else { return false };
        let Some(run) = claim() else { return false };
        self.fill(slot, run);
        true
    }

    /// Owner: stores a run in an empty slot.
    #[inline]
    fn fill(&self, slot: usize, run: Run) {
        add(&self.net_put, run.pages.get());
        let word = &self.maybe_filled[slot / to_usize(bits::WORD_BITS)];
        let bit = 1 << (slot % to_usize(bits::WORD_BITS));
        word.store(word.load(Ordering::Relaxed) | bit, Ordering::Relaxed);
        // Release pairs with the acquire exchange in `steal`: the thief sees what the owner wrote.
        self.slot(slot).store(pack(run), Ordering::Release);
    }

    /// Owner: takes a run of at least `pages` pages that lies in their bin or in the next one.
    pub(crate) fn take(&self, pages: Pages) -> Option<Run> {
        let first = bin(pages.get());
        let bins = self.slots.get(first..(first + 2).min(BINS))?;
        bins.as_flattened().iter().find_map(|slot| {
            let word = slot.load(Ordering::Relaxed);
            let run = unpack(word).filter(|run| run.pages >= pages)?;
            // A thief may have emptied the slot meanwhile.
            slot.compare_exchange(word, 0, Ordering::Relaxed, Ordering::Relaxed).ok()?;
            add(&self.net_put, run.pages.get().wrapping_neg());
            Some(run)
        })
    }

    /// Owner: keeps a run of at most [`LONGEST`] pages, and passes the runs that it replaces to
    /// `evict`.
    pub(crate) fn put(&self, run: Run, mut evict: impl FnMut(Run)) {
        let pages = run.pages.get();
        let most = self.most.load(Ordering::Relaxed);
        while self.held().saturating_add(pages) > most {
            let Some(slot) = self.next_filled() else { break };
            self.evict_from(slot, &mut evict);
        }
        let first = bin(pages) * WAYS;
        let slot = self.empty_slot(first).unwrap_or_else(|| {
            let hand = self.clock_hand.load(Ordering::Relaxed);
            first + hand % WAYS
        });
        self.evict_from(slot, &mut evict);
        self.fill(slot, run);
    }

    /// Returns an empty slot of the bin that starts at slot `first`.
    #[inline]
    fn empty_slot(&self, first: usize) -> Option<usize> {
        (first..first + WAYS).find(|&slot| self.slot(slot).load(Ordering::Relaxed) == 0)
    }

    #[inline]
    fn slot(&self, slot: usize) -> &AtomicU64 {
        &self.slots.as_flattened()[slot]
    }

    /// Owner: returns the next slot that may hold a run, from the clock hand on and round to the
    /// start. Moves the hand past it.
    fn next_filled(&self) -> Option<usize> {
        let hand = to_u32(self.clock_hand.load(Ordering::Relaxed));
        let word_at = |word: usize| self.maybe_filled[word].load(Ordering::Relaxed);
        let next = |from| bits::next_set(from, bits::word_count(SLOT_WORDS), word_at);
        let slot = to_usize(next(hand).or_else(|| next(0))?);
        self.clock_hand.store((slot + 1) % SLOTS, Ordering::Relaxed);
        Some(slot)
    }

    fn evict_from(&self, slot: usize, evict: &mut impl FnMut(Run)) {
        bits::clear(&self.maybe_filled, to_u32(slot), 1);
        let slot = self.slot(slot);
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
            // Acquire pairs with the release store in `put`.
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

const _: () = assert!(to_u32(BINS) > 0 && LONGEST.get() == 1 << LONGEST_SHIFT);

#[cfg(test)]
mod tests {
    use super::{LONGEST, RunCache, bin};
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
    fn bins_rise_with_the_length() {
        let bins: Vec<usize> = (1..=LONGEST.get()).map(bin).collect();
        assert!(bins.windows(2).all(|pair| pair[0] <= pair[1] && pair[1] <= pair[0] + 1));
        assert_eq!(bins.last(), Some(&(super::BINS - 1)));
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
        let put = |start, pages| {
            let claim = || Some(run(start, pages));
            cache.put_if_room(Pages::new(pages), claim)
        };
        assert!(!cache.put_if_room(Pages::new(16), || None), "another thread freed it");
        assert!(put(100, 16) && put(200, 16));
        let refused = || panic!("claimed a run without room for it");
        assert!(!cache.put_if_room(Pages::new(16), refused), "both slots are full");
        assert!(!cache.put_if_room(Pages::new(70), refused), "more than the limit");
        assert!(!cache.put_if_room(Pages::new(LONGEST.get() + 1), refused), "too long");
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
