//! The table of rules: what the unwind tables say about addresses that walks have met.
//!
//! It doubles as entries are set, so that a short program touches few pages. Some entries are then
//! not found and are read from the unwind tables again.
//!
//! Readers and writers take no lock. An entry is two words, and the first is a checksum of the
//! address and of the second. If two writers mix their words, the entry matches no address.
//!
//! An object that was unloaded leaves entries behind. An entry belongs to an address and an object
//! ([`Object`]), so another object at the same place finds none. But that one may have the same end
//! too, and its tables at the same address: a new version of a plugin. So an entry is valid during
//! one period of 17 s only. Until then a walk may miss frames; it still reads only readable memory.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::rule::Rule;
use super::tables::Object;

/// Entries of the process's table at its longest: 128 KiB, of which only pages in use are resident.
const ENTRIES: usize = 8192;
/// Entries of a table at first.
const FIRST_ENTRIES: usize = 128;

const PERIOD_SECONDS: u64 = 17;

#[derive(Debug)]
struct Slot {
    check: AtomicU64,
    rule: AtomicU64,
}

/// A table of at most `N` entries, a power of two.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Rules<const N: usize = ENTRIES> {
    /// How often an entry was set. In front, so that it shares a page with the first slots.
    sets: AtomicUsize,
    slots: [Slot; N],
}

/// The table of the process.
pub(super) static RULES: Rules = Rules::new();

impl<const N: usize> Rules<N> {
    pub(super) const fn new() -> Self {
        assert!(N.is_power_of_two(), "a mask selects the slot");
        Self {
            sets: AtomicUsize::new(0),
            slots: [const { Slot { check: AtomicU64::new(0), rule: AtomicU64::new(0) } }; N],
        }
    }

    /// Returns the rule of an address in an object, if it was set in this period.
    pub(super) fn get(&self, pc: usize, object: Option<&Object>, period: u64) -> Option<Rule> {
        let key = key(pc, object, period);
        let slot = self.slot(key);
        let word = slot.rule.load(Ordering::Relaxed);
        let is_whole = slot.check.load(Ordering::Relaxed) == checksum(key, word);
        is_whole.then(|| Rule::from_word(word)).flatten()
    }

    pub(super) fn set(&self, pc: usize, object: Option<&Object>, period: u64, rule: Rule) {
        let (key, word) = (key(pc, object, period), rule.to_word());
        self.sets.fetch_add(1, Ordering::Relaxed);
        let slot = self.slot(key);
        slot.rule.store(word, Ordering::Relaxed);
        slot.check.store(checksum(key, word), Ordering::Relaxed);
    }

    #[expect(clippy::cast_possible_truncation, reason = "the mask needs low bits only")]
    fn slot(&self, key: u64) -> &Slot {
        &self.slots[key as usize & (self.entries() - 1)]
    }

    /// Returns the number of slots in use: twice as many as entries were set, or more.
    fn entries(&self) -> usize {
        let sets = self.sets.load(Ordering::Relaxed).min(N);
        (2 * sets).next_power_of_two().clamp(FIRST_ENTRIES.min(N), N)
    }
}

/// Returns the number of the period in which a walk starts, of a coarse monotonic clock.
pub(super) fn period() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is valid for writing. The call takes no lock and changes no `errno`,
    // because every Linux has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    now.tv_sec.cast_unsigned() / PERIOD_SECONDS
}

/// Mixes an address with the identity of its object.
fn key(pc: usize, object: Option<&Object>, period: u64) -> u64 {
    let identity = object.map_or(0, |object| {
        mix(object.header as u64).wrapping_add(object.start as u64 ^ (object.end as u64) << 20)
    });
    mix(mix(pc as u64 ^ identity) ^ period)
}

fn checksum(key: u64, word: u64) -> u64 {
    key ^ mix(word)
}

/// Spreads every bit over the whole word; one-to-one. The constant is that of Fibonacci hashing.
const fn mix(word: u64) -> u64 {
    let product = (word ^ word >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ product >> 29
}

#[cfg(test)]
mod tests {
    use super::super::rule::Simple;
    use super::*;

    const OBJECT: Object = Object { start: 0x1000, end: 0x9000, header: 0x5000 };

    #[test]
    fn an_entry_belongs_to_an_address_an_object_and_a_period() {
        let rules = Rules::<8>::new();
        let simple =
            Simple { register: 7, offset: 1 << 27, return_address: -1, frame_pointer: -4096 };
        for rule in [Rule::Signal, Rule::FramePointer, Rule::Outermost, Rule::Simple(simple)] {
            rules.set(0x2000, Some(&OBJECT), 1, rule);
            assert_eq!(rules.get(0x2000, Some(&OBJECT), 1), Some(rule));
        }
        assert_eq!(rules.get(0x2001, Some(&OBJECT), 1), None);
        assert_eq!(rules.get(0x2000, Some(&OBJECT), 2), None);
        assert_eq!(rules.get(0x2000, None, 1), None);
        for other in [
            Object { start: 0, ..OBJECT },
            Object { end: 0xa000, ..OBJECT },
            Object { header: 0x5004, ..OBJECT },
        ] {
            assert_eq!(rules.get(0x2000, Some(&other), 1), None);
        }
    }

    #[test]
    fn mixed_words_are_no_entry() {
        let rules = Rules::<1>::new();
        rules.set(0x2000, Some(&OBJECT), 1, Rule::Signal);
        let old = rules.slots[0].rule.load(Ordering::Relaxed);
        rules.set(0x2000, Some(&OBJECT), 1, Rule::Outermost);
        rules.slots[0].rule.store(old, Ordering::Relaxed);
        assert_eq!(rules.get(0x2000, Some(&OBJECT), 1), None);
    }

    #[test]
    fn a_table_doubles_as_entries_are_set() {
        let rules = Rules::<1024>::new();
        let is_set = |slot: &&Slot| slot.check.load(Ordering::Relaxed) != 0;
        for set in 1..=2000 {
            rules.set(set, None, 1, Rule::Signal);
            assert_eq!(rules.get(set, None, 1), Some(Rule::Signal));
            let entries = [128, 256, 512, 1024];
            let expected = entries.into_iter().find(|&entries| 2 * set <= entries).unwrap_or(1024);
            assert_eq!(rules.entries(), expected);
            assert_eq!(rules.slots[expected..].iter().filter(is_set).count(), 0);
        }
        assert!(rules.slots.iter().filter(is_set).count() > 512);
    }

    #[test]
    fn a_rule_that_does_not_fit_is_read_from_the_tables() {
        let simple = Simple { register: 7, offset: 16, return_address: -1, frame_pointer: -2 };
        let wide = [
            Simple { offset: 1 << 28, ..simple },
            Simple { return_address: -4097, ..simple },
            Simple { frame_pointer: 4096, ..simple },
        ];
        for simple in wide {
            assert_eq!(Rule::from_word(Rule::Simple(simple).to_word()), Some(Rule::Tables));
        }
        assert_eq!(Rule::from_word(0), None);
    }
}
