//! The runs of large blocks that a thread freed last: what makes malloc and free of 32 KiB to 4 MiB
//! a matter of two atomic operations, without a lock.
//!
//! A place holds one run, start and length in a word, or 0. The owner alone fills places; whoever
//! exchanges a word for 0 has the run, the owner as well as a thief, so nobody needs a lock and
//! nobody waits. Places are sorted into bins, eight to a doubling, so that what is found wastes an
//! eighth at most. A tick takes everything: who is at work has it again after one miss of each.

use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::base::bits;
use crate::base::units::{PageIndex, Pages, Run, to_u32, to_u64, to_usize};

/// The longest run that is kept, 4 MiB: log2 of its pages.
const LONGEST_SHIFT: u32 = 10;
pub(crate) const LONGEST: Pages = Pages::new(1 << LONGEST_SHIFT);
/// The shortest, log2 of its pages: the first length beyond small blocks is in its doubling.
const SHORTEST_SHIFT: u32 = 3;
/// Bins to a doubling: log2.
const STEPS_SHIFT: u32 = 3;
const BINS: usize = ((LONGEST_SHIFT - SHORTEST_SHIFT) << STEPS_SHIFT) as usize + 1;
/// Places of a bin.
const WAYS: usize = 2;
const PLACES: usize = BINS * WAYS;
const PLACE_WORDS: usize = bits::words_for(PLACES);

/// The runs. Only the owner puts and takes; anyone may steal.
#[derive(Debug)]
pub(crate) struct RunCache {
    places: [[AtomicU64; WAYS]; BINS],
    /// The place from which the next run is evicted. The owner's.
    hand: AtomicUsize,
    /// One bit a place: it may have a run. The owner's.
    filled: [AtomicU64; PLACE_WORDS],
    /// Pages put in less those taken out so far; written by the owner alone.
    kept: AtomicU32,
    /// Pages stolen so far; by thieves, which are atomic among themselves.
    stolen: AtomicU32,
    /// Pages that may be held.
    most: AtomicU32,
    /// The state of the process in which its memory was last looked after, and the pages held then.
    looked_after: AtomicU64,
}

/// The bin of the runs of this length.
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

/// Adds to a counter that only this thread writes.
fn add(counter: &AtomicU32, amount: u32) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

impl RunCache {
    pub(crate) const fn new() -> RunCache {
        RunCache {
            places: [const { [const { AtomicU64::new(0) }; WAYS] }; BINS],
            hand: AtomicUsize::new(0),
            filled: [const { AtomicU64::new(0) }; PLACE_WORDS],
            kept: AtomicU32::new(0),
            stolen: AtomicU32::new(0),
            most: AtomicU32::new(0),
            looked_after: AtomicU64::new(0),
        }
    }

    /// Sets how many bytes may be held.
    pub(crate) fn set_limit(&self, bytes: usize) {
        let pages = Pages::containing(bytes).map_or(LONGEST, |pages| pages.min(LONGEST));
        self.most.store(pages.get(), Ordering::Relaxed);
    }

    /// Pages held; a hint for others than the owner.
    fn held(&self) -> u32 {
        let stolen = self.stolen.load(Ordering::Relaxed);
        let held = self.kept.load(Ordering::Relaxed).wrapping_sub(stolen);
        // A look between two counts may see more gone than put.
        if held > u32::MAX / 2 { 0 } else { held }
    }

    /// Bytes held; exact when the owner and thieves are at rest.
    pub(crate) fn bytes(&self) -> u64 {
        to_u64(Pages::new(self.held()).bytes())
    }

    /// Forgets the counts of an owner that is gone; there must be no run.
    pub(crate) fn reset(&self) {
        for count in [&self.kept, &self.stolen] {
            count.store(0, Ordering::Relaxed);
        }
        self.looked_after.store(0, Ordering::Relaxed);
    }

    /// Owner: notes that somebody looked after the memory of the process, in this state of it.
    pub(crate) fn note_looked_after(&self, state: u32) {
        let note = u64::from(state) << 32 | u64::from(self.held());
        self.looked_after.store(note, Ordering::Relaxed);
    }

    /// Owner: whether no more is held than when somebody last looked after the memory of the process,
    /// in this state of it.
    pub(crate) fn is_looked_after(&self, state: u32) -> bool {
        let note = self.looked_after.load(Ordering::Relaxed);
        low_half(note >> 32) == state && self.held() <= low_half(note)
    }

    /// Owner: keeps a run if that evicts no other. False: it was not kept.
    #[inline]
    pub(crate) fn put_if_room(&self, pages: Pages, claim: impl FnOnce() -> Option<Run>) -> bool {
        let most = self.most.load(Ordering::Relaxed);
        if pages > LONGEST || self.held().saturating_add(pages.get()) > most {
            return false;
        }
        let Some(place) = self.empty_place(bin(pages.get()) * WAYS) else { return false };
        let Some(run) = claim() else { return false };
        self.put_into(place, run);
        true
    }

    /// Owner: keeps a run in an empty place.
    #[inline]
    fn put_into(&self, place: usize, run: Run) {
        add(&self.kept, run.pages.get());
        let filled = &self.filled[place / to_usize(bits::WORD_BITS)];
        let bit = 1 << (place % to_usize(bits::WORD_BITS));
        filled.store(filled.load(Ordering::Relaxed) | bit, Ordering::Relaxed);
        // Release pairs with the acquire exchange in `steal`: the thief sees the run as it was put.
        self.place(place).store(pack(run), Ordering::Release);
    }

    /// Owner: a run of at least `pages` pages, and hardly longer.
    pub(crate) fn take(&self, pages: Pages) -> Option<Run> {
        let first = bin(pages.get());
        let bins = self.places.get(first..(first + 2).min(BINS))?;
        bins.as_flattened().iter().find_map(|place| {
            let word = place.load(Ordering::Relaxed);
            let run = unpack(word).filter(|run| run.pages >= pages)?;
            // A thief may have been faster.
            place.compare_exchange(word, 0, Ordering::Relaxed, Ordering::Relaxed).ok()?;
            add(&self.kept, run.pages.get().wrapping_neg());
            Some(run)
        })
    }

    /// Owner: keeps a run that is as long as [`LONGEST`] at most, and hands those out that must make
    /// room for it.
    pub(crate) fn put(&self, run: Run, mut evict: impl FnMut(Run)) {
        let pages = run.pages.get();
        let most = self.most.load(Ordering::Relaxed);
        while self.held().saturating_add(pages) > most {
            let Some(place) = self.next_filled() else { break };
            self.evict_from(place, &mut evict);
        }
        let first = bin(pages) * WAYS;
        let place = self.empty_place(first).unwrap_or_else(|| {
            let hand = self.hand.load(Ordering::Relaxed);
            first + hand % WAYS
        });
        self.evict_from(place, &mut evict);
        self.put_into(place, run);
    }

    /// An empty place of the bin whose first place is this.
    #[inline]
    fn empty_place(&self, first: usize) -> Option<usize> {
        (first..first + WAYS).find(|&place| self.place(place).load(Ordering::Relaxed) == 0)
    }

    #[inline]
    fn place(&self, place: usize) -> &AtomicU64 {
        &self.places.as_flattened()[place]
    }

    /// Owner: the place that may have a run at the hand or behind it, in a circle. Moves the hand past
    /// it.
    fn next_filled(&self) -> Option<usize> {
        let hand = to_u32(self.hand.load(Ordering::Relaxed));
        let word_at = |word: usize| self.filled[word].load(Ordering::Relaxed);
        let next = |from| bits::next_set(from, bits::word_count(PLACE_WORDS), word_at);
        let place = to_usize(next(hand).or_else(|| next(0))?);
        self.hand.store((place + 1) % PLACES, Ordering::Relaxed);
        Some(place)
    }

    fn evict_from(&self, place: usize, evict: &mut impl FnMut(Run)) {
        bits::clear(&self.filled, to_u32(place), 1);
        let place = self.place(place);
        if place.load(Ordering::Relaxed) == 0 {
            return;
        }
        if let Some(run) = unpack(place.swap(0, Ordering::Relaxed)) {
            add(&self.kept, run.pages.get().wrapping_neg());
            evict(run);
        }
    }

    /// Anyone: takes everything out. Returns the bytes.
    pub(crate) fn steal(&self, mut give: impl FnMut(Run)) -> u64 {
        let mut bytes = 0;
        for place in self.places.as_flattened() {
            let word = place.load(Ordering::Relaxed);
            if word == 0 {
                continue;
            }
            // Acquire pairs with the release store in `put`.
            let won = place.compare_exchange(word, 0, Ordering::Acquire, Ordering::Relaxed);
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
    fn what_was_put_last_comes_back_and_nothing_much_longer() {
        let cache = cache(1024);
        for (start, pages) in [(100, 16), (200, 30), (300, 33), (400, 1024)] {
            cache.put(run(start, pages), |_| ());
            assert_eq!(cache.take(Pages::new(pages)), Some(run(start, pages)));
            assert_eq!(cache.take(Pages::new(pages)), None, "once");
            cache.put(run(start, pages), |_| ());
            assert_eq!(cache.take(Pages::new(pages / 2)), None, "half is wasted");
            cache.steal(|_| ());
        }
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn a_put_that_must_evict_nothing_claims_only_what_it_keeps() {
        let cache = cache(100);
        let put = |start, pages| {
            let claim = || Some(run(start, pages));
            cache.put_if_room(Pages::new(pages), claim)
        };
        assert!(!cache.put_if_room(Pages::new(16), || None), "somebody else freed it");
        assert!(put(100, 16) && put(200, 16));
        let refused = || panic!("claimed in vain");
        assert!(!cache.put_if_room(Pages::new(16), refused), "both places are full");
        assert!(!cache.put_if_room(Pages::new(70), refused), "more than the limit");
        assert!(!cache.put_if_room(Pages::new(LONGEST.get() + 1), refused), "too long");
        assert_eq!(cache.take(Pages::new(16)), Some(run(100, 16)));
        assert_eq!(cache.bytes(), 16 * 4096);
    }

    #[test]
    fn more_than_was_looked_after_needs_another_look() {
        let cache = cache(100);
        cache.put(run(100, 16), |_| ());
        cache.note_looked_after(7);
        assert!(cache.is_looked_after(7) && !cache.is_looked_after(8));
        cache.put(run(200, 17), |_| ());
        assert!(!cache.is_looked_after(7));
        assert!(cache.take(Pages::new(17)).is_some() && cache.is_looked_after(7));
    }

    #[test]
    fn nothing_is_lost_and_the_limit_holds() {
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
    fn thieves_and_the_owner_share_each_run_once() {
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
