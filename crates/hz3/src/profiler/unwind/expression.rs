//! Evaluates the expressions of unwind tables.

use super::memory::Memory;
use super::reader::{Cursor, Encoding, address};
use super::registers::Registers;

/// The most values on the evaluator's stack; compilers need four.
const DEPTH: usize = 16;
/// The most operations of one expression, because branches may go back.
const OPERATIONS: usize = 1000;

/// The evaluator's stack.
struct Stack {
    values: [u64; DEPTH],
    len: usize,
}

impl Stack {
    fn push(&mut self, value: u64) -> Option<()> {
        *self.values.get_mut(self.len)? = value;
        self.len += 1;
        Some(())
    }

    fn pop(&mut self) -> Option<u64> {
        self.len = self.len.checked_sub(1)?;
        Some(self.values[self.len])
    }

    /// Returns the value that is `depth` below the newest.
    fn pick(&self, depth: usize) -> Option<u64> {
        Some(self.values[self.len.checked_sub(depth)?.checked_sub(1)?])
    }
}

/// Evaluates the expression at `place`, which begins with its length. `initial` is the first value
/// on the stack: the CFA for a register's rule, none for the CFA itself.
///
/// Returns `None` if a register is unknown, memory is absent, or the expression is malformed.
pub(super) fn evaluate<M: Memory>(
    memory: &M,
    place: usize,
    end: usize,
    registers: &Registers,
    initial: Option<usize>,
) -> Option<usize> {
    let mut cursor = Cursor::new(memory, place, end);
    let bytes = address(cursor.uleb()?);
    cursor.limit(cursor.at().checked_add(bytes)?)?;
    let mut stack = Stack { values: [0; DEPTH], len: 0 };
    if let Some(initial) = initial {
        stack.push(initial as u64)?;
    }
    let start = cursor.at();
    for _ in 0..OPERATIONS {
        if cursor.is_at_end() {
            return stack.pop().map(address);
        }
        operate(&mut cursor, start, &mut stack, memory, registers)?;
    }
    None
}

/// Runs one operation.
fn operate<M: Memory>(
    cursor: &mut Cursor<'_, M>,
    start: usize,
    stack: &mut Stack,
    memory: &M,
    registers: &Registers,
) -> Option<()> {
    let code = cursor.byte()?;
    let value = match code {
        // DW_OP_deref, DW_OP_deref_size
        0x06 => memory.word(address(stack.pop()?))? as u64,
        0x94 => {
            let bytes = usize::from(cursor.byte()?);
            let mut value = [0; 8];
            if !memory.copy(address(stack.pop()?), value.get_mut(..bytes)?) {
                return None;
            }
            // Both processors are little-endian.
            u64::from_le_bytes(value)
        }
        // DW_OP_const1u to DW_OP_consts, DW_OP_addr
        0x08 => cursor.byte()?.into(),
        0x09 => i64::from(cursor.byte()?.cast_signed()).cast_unsigned(),
        0x0a => cursor.u16()?.into(),
        0x0b => i64::from(cursor.u16()?.cast_signed()).cast_unsigned(),
        0x0c => cursor.u32()?.into(),
        0x0d => i64::from(cursor.u32()?.cast_signed()).cast_unsigned(),
        0x0e | 0x0f | 0x03 => cursor.u64()?,
        0x10 => cursor.uleb()?,
        0x11 => cursor.sleb()?.cast_unsigned(),
        // DW_OP_dup, DW_OP_over, DW_OP_pick
        0x12 => stack.pick(0)?,
        0x14 => stack.pick(1)?,
        0x15 => stack.pick(cursor.byte()?.into())?,
        // DW_OP_plus_uconst
        0x23 => stack.pop()?.wrapping_add(cursor.uleb()?),
        // DW_OP_abs, DW_OP_neg, DW_OP_not
        0x19 => stack.pop()?.cast_signed().unsigned_abs(),
        0x1f => stack.pop()?.wrapping_neg(),
        0x20 => !stack.pop()?,
        // DW_OP_lit0 to DW_OP_lit31
        0x30..=0x4f => (code - 0x30).into(),
        // DW_OP_breg0 to DW_OP_breg31, DW_OP_bregx
        0x70..=0x8f => register(registers, u64::from(code - 0x70), cursor.sleb()?)?,
        0x92 => register(registers, cursor.uleb()?, cursor.sleb()?)?,
        // DW_OP_GNU_encoded_addr
        0xf1 => {
            let encoding = Encoding(cursor.byte()?);
            cursor.pointer(encoding, 0)? as u64
        }
        0x1a..=0x1e | 0x21 | 0x22 | 0x24..=0x27 | 0x29..=0x2e => binary(code, stack)?,
        _ => return arrange(code, cursor, start, stack),
    };
    stack.push(value)
}

fn register(registers: &Registers, number: u64, offset: i64) -> Option<u64> {
    let value = registers.get(usize::try_from(number).ok()?)?;
    Some((value as u64).wrapping_add_signed(offset))
}

/// Runs an operation that pushes no value: it moves values or the cursor.
fn arrange<M: Memory>(
    code: u8,
    cursor: &mut Cursor<'_, M>,
    start: usize,
    stack: &mut Stack,
) -> Option<()> {
    match code {
        // DW_OP_drop
        0x13 => drop(stack.pop()?),
        // DW_OP_swap
        0x16 => {
            let (last, other) = (stack.pop()?, stack.pop()?);
            stack.push(last)?;
            stack.push(other)?;
        }
        // DW_OP_rot
        0x17 => {
            let (last, second, third) = (stack.pop()?, stack.pop()?, stack.pop()?);
            stack.push(last)?;
            stack.push(third)?;
            stack.push(second)?;
        }
        // DW_OP_bra, DW_OP_skip
        0x28 | 0x2f => {
            let by = cursor.u16()?.cast_signed();
            if code == 0x2f || stack.pop()? != 0 {
                let to = cursor.at().checked_add_signed(by.into())?;
                cursor.seek(Some(to).filter(|&to| to >= start)?)?;
            }
        }
        // DW_OP_nop
        0x96 => {}
        _ => return None,
    }
    Some(())
}

/// Runs an operation that takes two values.
fn binary(code: u8, stack: &mut Stack) -> Option<u64> {
    let (right, left) = (stack.pop()?, stack.pop()?);
    let (signed_left, signed_right) = (left.cast_signed(), right.cast_signed());
    let shift = u32::try_from(right).unwrap_or(u32::MAX);
    Some(match code {
        // DW_OP_and, div, minus, mod, mul
        0x1a => left & right,
        0x1b => signed_left.checked_div(signed_right)?.cast_unsigned(),
        0x1c => left.wrapping_sub(right),
        0x1d => left.checked_rem(right)?,
        0x1e => left.wrapping_mul(right),
        // DW_OP_or, plus, shl, shr, shra, xor
        0x21 => left | right,
        0x22 => left.wrapping_add(right),
        0x24 => left.checked_shl(shift).unwrap_or(0),
        0x25 => left.checked_shr(shift).unwrap_or(0),
        0x26 => (signed_left >> shift.min(63)).cast_unsigned(),
        0x27 => left ^ right,
        // DW_OP_eq, ge, gt, le, lt, ne
        0x29 => (left == right).into(),
        0x2a => (signed_left >= signed_right).into(),
        0x2b => (signed_left > signed_right).into(),
        0x2c => (signed_left <= signed_right).into(),
        0x2d => (signed_left < signed_right).into(),
        0x2e => (left != right).into(),
        _ => return None,
    })
}
