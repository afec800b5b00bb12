//! The rule of one address in one word, for the table of rules.

use super::registers::{FRAME_POINTER, RETURN_ADDRESS};
use super::rows::{Base, Row, Saved};
use super::tables::FrameDescription;

/// How to step from a frame to its caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// There are no tables: follow the frame pointer.
    FramePointer,
    /// The kernel called a signal handler here: the registers are in its frame.
    Signal,
    /// This is the outermost frame.
    Outermost,
    /// The rules do not fit into a word: read the tables.
    Tables,
    /// The most frequent case.
    Simple(Simple),
}

/// Rules for the registers that nearly all frames need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Simple {
    /// The register from which the CFA is computed.
    pub(super) register: u8,
    /// The CFA minus that register, in bytes.
    pub(super) offset: i32,
    /// Where the return address is, in words from the CFA; 0: still in its register.
    pub(super) return_address: i16,
    /// Where the frame pointer is, in the same way.
    pub(super) frame_pointer: i16,
}

/// Bytes of a word on the stack.
pub(super) const WORD: i32 = 8;

/// Returns the rule of a row, in one word if it fits.
pub(super) fn of(description: &FrameDescription, row: &Row) -> Rule {
    if row.saved[RETURN_ADDRESS] == Saved::Lost {
        return Rule::Outermost;
    }
    simple(description, row).map_or(Rule::Tables, Rule::Simple)
}

fn simple(description: &FrameDescription, row: &Row) -> Option<Simple> {
    let Base::Register { register, offset } = row.base else { return None };
    if description.return_register != RETURN_ADDRESS as u64 || description.is_signal_frame {
        return None;
    }
    Some(Simple {
        register,
        offset,
        return_address: words(row.saved[RETURN_ADDRESS])?,
        frame_pointer: words(row.saved[FRAME_POINTER])?,
    })
}

fn words(saved: Saved) -> Option<i16> {
    match saved {
        Saved::Same => Some(0),
        Saved::At(offset) if offset % WORD == 0 && offset != 0 => i16::try_from(offset / WORD).ok(),
        _ => None,
    }
}

// A word has the kind in its 3 lowest bits, then 6 of the register, 13 of each place, and 29 of the
// offset.
const FRAME_POINTER_KIND: u64 = 1;
const SIGNAL_KIND: u64 = 2;
const OUTERMOST_KIND: u64 = 3;
const TABLES_KIND: u64 = 4;
const SIMPLE_KIND: u64 = 5;

impl Rule {
    /// Returns the rule as a word; [`Rule::Tables`] if it does not fit.
    pub(super) fn to_word(self) -> u64 {
        match self {
            Rule::FramePointer => FRAME_POINTER_KIND,
            Rule::Signal => SIGNAL_KIND,
            Rule::Outermost => OUTERMOST_KIND,
            Rule::Tables => TABLES_KIND,
            Rule::Simple(simple) => {
                let word = SIMPLE_KIND
                    | u64::from(simple.register) << 3
                    | (i64::from(simple.return_address).cast_unsigned() & 0x1fff) << 9
                    | (i64::from(simple.frame_pointer).cast_unsigned() & 0x1fff) << 22
                    | i64::from(simple.offset).cast_unsigned() << 35;
                if Self::from_word(word) == Some(self) { word } else { TABLES_KIND }
            }
        }
    }

    /// Returns the rule of a word, if it is one.
    pub(super) fn from_word(word: u64) -> Option<Self> {
        Some(match word & 7 {
            FRAME_POINTER_KIND => Rule::FramePointer,
            SIGNAL_KIND => Rule::Signal,
            OUTERMOST_KIND => Rule::Outermost,
            TABLES_KIND => Rule::Tables,
            SIMPLE_KIND => Rule::Simple(Simple {
                register: (word >> 3 & 0x3f).try_into().ok()?,
                offset: field(word, 35, 29).try_into().ok()?,
                return_address: field(word, 9, 13).try_into().ok()?,
                frame_pointer: field(word, 22, 13).try_into().ok()?,
            }),
            _ => return None,
        })
    }
}

/// Returns the signed number of `bits` bits that begins at bit `from`.
const fn field(word: u64, from: u32, bits: u32) -> i64 {
    (word << (u64::BITS - from - bits)).cast_signed() >> (u64::BITS - bits)
}
