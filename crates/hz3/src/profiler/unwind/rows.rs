//! Runs the instructions of the unwind tables: how to find the caller's registers at one address.

use super::memory::Memory;
use super::reader::{Cursor, address};
use super::registers::COUNT;
use super::tables::{FrameDescription, Object, Program};

/// Where the caller's value of a register is. Offsets are relative to the canonical frame address
/// (CFA), the caller's stack pointer, and expressions' places to the object's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saved {
    /// Still in the register.
    Same,
    /// Nowhere.
    Lost,
    /// In memory.
    At(i32),
    /// It is this address.
    Is(i32),
    /// In another register.
    In(u8),
    /// In memory, at the address that the expression yields.
    AtExpression(i32),
    /// It is what the expression yields.
    IsExpression(i32),
}

/// How to compute the CFA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Unknown,
    Register { register: u8, offset: i32 },
    Expression(i32),
}

/// The rules at one address.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) base: Base,
    pub(super) saved: [Saved; COUNT],
}

/// How deep `DW_CFA_remember_state` may nest; compilers need two.
const REMEMBERED: usize = 3;
/// The most instructions of one function; the longest real ones have thousands.
const INSTRUCTIONS: usize = 1 << 16;
/// A number of a register that is not followed, such as one for vectors.
const OTHER: usize = COUNT;

/// The state of a run.
struct Machine<'a> {
    object: &'a Object,
    description: &'a FrameDescription,
    /// The address at which the rules are wanted.
    pc: usize,
    /// The address up to which the rules hold so far.
    location: usize,
    row: Row,
    initial: Row,
    remembered: [Row; REMEMBERED],
    depth: usize,
}

impl Row {
    const fn new() -> Self {
        Row { base: Base::Unknown, saved: [Saved::Same; COUNT] }
    }
}

/// Returns the rules at `pc`, which lies in the function of `description`.
pub(super) fn at<M: Memory>(
    memory: &M,
    object: &Object,
    description: &FrameDescription,
    pc: usize,
) -> Option<Row> {
    let mut machine = Machine {
        object,
        description,
        pc,
        location: description.start,
        row: Row::new(),
        initial: Row::new(),
        remembered: [const { Row::new() }; REMEMBERED],
        depth: 0,
    };
    machine.run(memory, description.initial)?;
    machine.initial = machine.row.clone();
    machine.run(memory, description.program)?;
    Some(machine.row)
}

impl Machine<'_> {
    /// Runs instructions until their end, or until the location passes `pc`.
    fn run<M: Memory>(&mut self, memory: &M, program: Program) -> Option<()> {
        let mut cursor = Cursor::new(memory, program.start, program.end);
        for _ in 0..INSTRUCTIONS {
            if cursor.is_at_end() || !self.step(&mut cursor)? {
                return Some(());
            }
        }
        None
    }

    /// Runs one instruction; returns false if the row is complete. `None` means that the
    /// instruction is unknown or malformed.
    fn step<M: Memory>(&mut self, cursor: &mut Cursor<'_, M>) -> Option<bool> {
        let code = cursor.byte()?;
        let low = u64::from(code & 0x3f);
        match code & 0xc0 {
            // DW_CFA_advance_loc
            0x40 => return Some(self.advance(low)),
            // DW_CFA_offset
            0x80 => {
                let offset = self.factored(cursor.uleb()?)?;
                self.save(low, Saved::At(offset));
                return Some(true);
            }
            // DW_CFA_restore
            0xc0 => {
                self.restore(low);
                return Some(true);
            }
            _ => {}
        }
        match code {
            // DW_CFA_set_loc
            0x01 => {
                let to = cursor.pointer(self.description.encoding, self.object.header)?;
                return Some(self.advance_to(to));
            }
            // DW_CFA_advance_loc1, 2, 4, and DW_CFA_MIPS_advance_loc8
            0x02 => return Some(self.advance(cursor.byte()?.into())),
            0x03 => return Some(self.advance(cursor.u16()?.into())),
            0x04 => return Some(self.advance(cursor.u32()?.into())),
            0x1d => return Some(self.advance(cursor.u64()?)),
            // DW_CFA_remember_state
            0x0a => {
                self.remembered.get_mut(self.depth)?.clone_from(&self.row);
                self.depth += 1;
            }
            // DW_CFA_restore_state
            0x0b => {
                self.depth = self.depth.checked_sub(1)?;
                self.row.clone_from(&self.remembered[self.depth]);
            }
            0x0c..=0x0f | 0x12 | 0x13 => self.define(code, cursor)?,
            // DW_CFA_nop, and for aarch64 DW_CFA_AARCH64_negate_ra_state_with_pc and
            // DW_CFA_AARCH64_negate_ra_state: a walk removes all signatures.
            0x00 | 0x2c | 0x2d => {}
            // DW_CFA_GNU_args_size
            0x2e => drop(cursor.uleb()?),
            _ => self.rule(code, cursor)?,
        }
        Some(true)
    }

    /// Runs an instruction that defines the CFA.
    fn define<M: Memory>(&mut self, code: u8, cursor: &mut Cursor<'_, M>) -> Option<()> {
        let (old_register, old_offset) = match self.row.base {
            Base::Register { register, offset } => (Some(register), Some(offset)),
            _ => (None, None),
        };
        let (register, offset) = match code {
            // DW_CFA_def_cfa, and with a factored offset DW_CFA_def_cfa_sf
            0x0c => (number(cursor.uleb()?), Some(i32::try_from(cursor.uleb()?).ok()?)),
            0x12 => (number(cursor.uleb()?), Some(self.signed(cursor.sleb()?)?)),
            // DW_CFA_def_cfa_register
            0x0d => (number(cursor.uleb()?), old_offset),
            // DW_CFA_def_cfa_offset, and with a factored offset DW_CFA_def_cfa_offset_sf
            0x0e => (old_register, Some(i32::try_from(cursor.uleb()?).ok()?)),
            0x13 => (old_register, Some(self.signed(cursor.sleb()?)?)),
            // DW_CFA_def_cfa_expression
            _ => {
                self.row.base = Base::Expression(self.expression(cursor)?);
                return Some(());
            }
        };
        self.row.base = Base::Register { register: register?, offset: offset? };
        Some(())
    }

    /// Runs an instruction that says where one register is.
    fn rule<M: Memory>(&mut self, code: u8, cursor: &mut Cursor<'_, M>) -> Option<()> {
        let register = cursor.uleb()?;
        let saved = match code {
            // DW_CFA_offset_extended, and signed DW_CFA_offset_extended_sf
            0x05 => Saved::At(self.factored(cursor.uleb()?)?),
            0x11 => Saved::At(self.signed(cursor.sleb()?)?),
            // DW_CFA_GNU_negative_offset_extended
            0x2f => Saved::At(self.factored(cursor.uleb()?)?.checked_neg()?),
            // DW_CFA_val_offset, and signed DW_CFA_val_offset_sf
            0x14 => Saved::Is(self.factored(cursor.uleb()?)?),
            0x15 => Saved::Is(self.signed(cursor.sleb()?)?),
            // DW_CFA_restore_extended
            0x06 => {
                self.restore(register);
                return Some(());
            }
            // DW_CFA_undefined, DW_CFA_same_value, DW_CFA_register
            0x07 => Saved::Lost,
            0x08 => Saved::Same,
            0x09 => number(cursor.uleb()?).map_or(Saved::Lost, Saved::In),
            // DW_CFA_expression, DW_CFA_val_expression
            0x10 => Saved::AtExpression(self.expression(cursor)?),
            0x16 => Saved::IsExpression(self.expression(cursor)?),
            _ => return None,
        };
        self.save(register, saved);
        Some(())
    }

    /// Moves the location on; returns false if it passes the wanted address.
    fn advance(&mut self, units: u64) -> bool {
        self.advance_to(
            self.location
                .saturating_add(address(units.saturating_mul(self.description.code_factor))),
        )
    }

    fn advance_to(&mut self, to: usize) -> bool {
        let is_before = to <= self.pc;
        if is_before {
            self.location = to;
        }
        is_before
    }

    fn factored(&self, units: u64) -> Option<i32> {
        self.signed(i64::try_from(units).ok()?)
    }

    fn signed(&self, units: i64) -> Option<i32> {
        i32::try_from(units.checked_mul(self.description.data_factor)?).ok()
    }

    fn save(&mut self, register: u64, saved: Saved) {
        if let Some(place) = self.row.saved.get_mut(index(register)) {
            *place = saved;
        }
    }

    fn restore(&mut self, register: u64) {
        if let Some(&initial) = self.initial.saved.get(index(register)) {
            self.save(register, initial);
        }
    }

    /// Skips an expression; returns its place.
    fn expression<M: Memory>(&self, cursor: &mut Cursor<'_, M>) -> Option<i32> {
        let place = cursor.at().wrapping_sub(self.object.header).cast_signed();
        let bytes = address(cursor.uleb()?);
        cursor.skip(bytes)?;
        i32::try_from(place).ok()
    }
}

/// Returns the number of a register that is followed.
fn number(register: u64) -> Option<u8> {
    u8::try_from(register).ok().filter(|&register| usize::from(register) < COUNT)
}

fn index(register: u64) -> usize {
    number(register).map_or(OTHER, usize::from)
}
