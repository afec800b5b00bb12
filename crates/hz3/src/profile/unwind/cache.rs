//! The table of rules: what the unwind tables say about addresses that walks have met.
//!
//! Readers and writers take no lock. An entry is two words, and the first is a checksum of the
//! address and of the second. If two writers mix their words, the entry matches no address.
//!
//! An object that was unloaded leaves entries behind. An entry belongs to an address and an object
//! ([`Object`]), so another object at the same place finds none. If that one also has the same end
//! and its tables at the same address, a walk may miss frames. It still reads only readable memory.

use core::sync::atomic::{AtomicU64, Ordering};

use super::rule::Rule;
use super::tables::Object;

/// Entries of the process's table: 128 KiB, of which only pages in use are resident.
const ENTRIES: usize = 8192;

#[derive(Debug)]
struct Slot {
    check: AtomicU64,
    rule: AtomicU64,
}

/// A table of `N` entries, a power of two.
#[derive(Debug)]
pub(super) struct Rules<const N: usize = ENTRIES>([Slot; N]);

/// The table of the process.
pub(super) static RULES: Rules = Rules::new();

impl<const N: usize> Rules<N> {
    pub(super) const fn new() -> Self {
        assert!(N.is_power_of_two(), "a mask selects the slot");
        Self([const { Slot { check: AtomicU64::new(0), rule: AtomicU64::new(0) } }; N])
    }

    /// Returns the rule of an address in an object.
    pub(super) fn get(&self, pc: usize, object: Option<&Object>) -> Option<Rule> {
        let key = key(pc, object);
        let slot = self.slot(key);
        let word = slot.rule.load(Ordering::Relaxed);
        let is_whole = slot.check.load(Ordering::Relaxed) == checksum(key, word);
        is_whole.then(|| Rule::from_word(word)).flatten()
    }

    pub(super) fn set(&self, pc: usize, object: Option<&Object>, rule: Rule) {
        let (key, word) = (key(pc, object), rule.to_word());
        let slot = self.slot(key);
        slot.rule.store(word, Ordering::Relaxed);
        slot.check.store(checksum(key, word), Ordering::Relaxed);
    }

    #[expect(clippy::cast_possible_truncation, reason = "the mask needs low bits only")]
    fn slot(&self, key: u64) -> &Slot {
        &self.0[key as usize & (N - 1)]
    }
}

/// Mixes an address with the identity of its object.
fn key(pc: usize, object: Option<&Object>) -> u64 {
    let identity = object.map_or(0, |object| {
        mix(object.header as u64).wrapping_add(object.start as u64 ^ (object.end as u64) << 20)
    });
    mix(pc as u64 ^ identity)
}

fn checksum(key: u64, word: u64) -> u64 {
    key ^ mix(word)
}

/// Spreads every bit over the whole word; one-to-one. The constant is that of Fibonacci hashing.
const fn mix(word: u64) -> u64 {
    let product = (word ^ word >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ product >> 29
}
