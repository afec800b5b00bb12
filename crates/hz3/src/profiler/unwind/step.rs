//! Steps from frame to frame.

use super::cache::Rules;
use super::expression;
use super::memory::Memory;
use super::registers::{
    FRAME_POINTER, PROGRAM_COUNTER, RETURN_ADDRESS, Registers, STACK_POINTER, without_signature,
};
use super::rows::{self, Base, Row, Saved};
use super::rule::{self, Rule, Simple, WORD};
use super::signal;
use super::tables::{self, FrameDescription, Object};

/// The process, as far as a walk needs it.
pub(super) struct Process<'a, M, F, const N: usize> {
    pub(super) memory: &'a M,
    /// Returns the object of an address.
    pub(super) objects: F,
    pub(super) rules: &'a Rules<N>,
    /// The period of time to which the rules belong.
    pub(super) period: u64,
}

/// The frame of which a walk looks for the caller.
#[derive(Clone)]
struct Frame {
    registers: Registers,
    /// A signal interrupted it, so its address is that of its next instruction.
    is_interrupted: bool,
}

/// Why a walk ends.
enum End {
    /// The outermost frame, or no way to find the caller.
    Here,
    /// The rule needs a register that the rules in one word do not follow.
    Unknown,
}

/// How many frames of a walk may lie below their callees: switches to another stack.
const SWITCHES: usize = 4;

/// Writes the addresses of the frames from `registers` on; returns their number.
pub(super) fn walk<M, F, const N: usize>(
    process: &Process<'_, M, F, N>,
    registers: &Registers,
    frames: &mut [usize],
) -> usize
where
    M: Memory,
    F: Fn(usize) -> Option<Object>,
{
    match follow(process, registers, frames, true) {
        (count, End::Here) => count,
        // Once more, slowly: every register is followed through all frames.
        (_, End::Unknown) => follow(process, registers, frames, false).0,
    }
}

/// Walks with the table of rules, or reads the tables for each frame.
fn follow<M, F, const N: usize>(
    process: &Process<'_, M, F, N>,
    registers: &Registers,
    frames: &mut [usize],
    with_rules: bool,
) -> (usize, End)
where
    M: Memory,
    F: Fn(usize) -> Option<Object>,
{
    let mut frame = Frame { registers: registers.clone(), is_interrupted: false };
    let (mut count, mut switches) = (0, 0);
    for place in frames {
        *place = frame.registers.program_counter();
        if *place == 0 {
            break;
        }
        count += 1;
        let stack_pointer = frame.registers.stack_pointer();
        let was_interrupted = frame.is_interrupted;
        let caller =
            if with_rules { step(process, &mut frame) } else { step_exactly(process, &mut frame) };
        if let Err(end) = caller {
            return (count, end);
        }
        // A leaf function of aarch64 has the stack pointer of its caller.
        let is_above = frame.registers.stack_pointer() > stack_pointer
            || was_interrupted && frame.registers.stack_pointer() == stack_pointer;
        if !is_above {
            switches += 1;
            if switches > SWITCHES {
                break;
            }
        }
    }
    (count, End::Here)
}

/// Replaces a frame by its caller's.
fn step<M, F, const N: usize>(process: &Process<'_, M, F, N>, frame: &mut Frame) -> Result<(), End>
where
    M: Memory,
    F: Fn(usize) -> Option<Object>,
{
    let pc = frame.code_address();
    let object = (process.objects)(pc);
    let object = object.as_ref();
    let rule = process.rules.get(pc, object, process.period).unwrap_or_else(|| {
        let rule = find_rule(process.memory, frame, object);
        process.rules.set(pc, object, process.period, rule);
        rule
    });
    match rule {
        Rule::Simple(simple) => frame.follow_simple(process.memory, simple),
        _ => follow_rule(process.memory, frame, object, rule),
    }
}

/// As [`step`], but always reads the tables and keeps all registers.
fn step_exactly<M, F, const N: usize>(
    process: &Process<'_, M, F, N>,
    frame: &mut Frame,
) -> Result<(), End>
where
    M: Memory,
    F: Fn(usize) -> Option<Object>,
{
    let object = (process.objects)(frame.code_address());
    let object = object.as_ref();
    let rule = match find_rule(process.memory, frame, object) {
        Rule::Simple(_) => Rule::Tables,
        rule => rule,
    };
    follow_rule(process.memory, frame, object, rule)
}

/// Follows a rule that is not simple.
#[cold]
fn follow_rule<M: Memory>(
    memory: &M,
    frame: &mut Frame,
    object: Option<&Object>,
    rule: Rule,
) -> Result<(), End> {
    match rule {
        Rule::FramePointer => frame.follow_frame_pointer(memory),
        Rule::Signal => frame.follow_signal(memory),
        Rule::Outermost | Rule::Simple(_) => Err(End::Here),
        Rule::Tables => {
            let object = object.ok_or(End::Here)?;
            let (description, row) =
                read_tables(memory, object, frame.code_address()).ok_or(End::Here)?;
            frame.follow_row(memory, object, &description, &row)
        }
    }
}

/// Finds out how to step from a frame.
#[cold]
fn find_rule<M: Memory>(memory: &M, frame: &Frame, object: Option<&Object>) -> Rule {
    let found = object.and_then(|object| read_tables(memory, object, frame.code_address()));
    let may_be_signal = found
        .as_ref()
        .is_none_or(|(description, _)| description.is_signal_frame || signal::HAS_PLAIN_TABLES);
    let pc = frame.registers.program_counter();
    if may_be_signal && !frame.is_interrupted && signal::is_return(memory, pc) {
        return Rule::Signal;
    }
    found.map_or(Rule::FramePointer, |(description, row)| rule::of(&description, &row))
}

fn read_tables<M: Memory>(
    memory: &M,
    object: &Object,
    pc: usize,
) -> Option<(FrameDescription, Row)> {
    let description = tables::find(memory, object, pc)?;
    let row = rows::at(memory, object, &description, pc)?;
    Some((description, row))
}

impl Frame {
    /// Returns an address in the instruction that is being executed.
    fn code_address(&self) -> usize {
        // A return address may be one past its function's end.
        self.registers.program_counter() - usize::from(!self.is_interrupted)
    }

    fn follow_simple<M: Memory>(&mut self, memory: &M, rule: Simple) -> Result<(), End> {
        let registers = &mut self.registers;
        let base = registers.get(rule.register.into()).ok_or(End::Unknown)?;
        let frame_address = base.wrapping_add_signed(rule.offset as isize);
        let word = |words: i16| {
            let offset = isize::from(words) * WORD as isize;
            memory.word(frame_address.wrapping_add_signed(offset)).ok_or(End::Here)
        };
        let return_address = match rule.return_address {
            0 if cfg!(target_arch = "aarch64") => registers.get(RETURN_ADDRESS).ok_or(End::Here)?,
            0 => return Err(End::Here),
            words => word(words)?,
        };
        if rule.frame_pointer != 0 {
            registers.set(FRAME_POINTER, word(rule.frame_pointer)?);
        }
        registers.keep(&[FRAME_POINTER]);
        self.enter_caller(return_address, frame_address);
        Ok(())
    }

    /// Continues in the caller.
    fn enter_caller(&mut self, return_address: usize, stack_pointer: usize) {
        self.registers.set(PROGRAM_COUNTER, without_signature(return_address));
        self.registers.set(STACK_POINTER, stack_pointer);
        self.is_interrupted = false;
    }

    /// Follows the frame pointer to a pair of words: the caller's frame pointer and the return
    /// address.
    fn follow_frame_pointer<M: Memory>(&mut self, memory: &M) -> Result<(), End> {
        let pair = self.registers.get(FRAME_POINTER).ok_or(End::Here)?;
        if pair < self.registers.stack_pointer() {
            return Err(End::Here);
        }
        let size = WORD as usize;
        let frame_pointer = memory.word(pair).ok_or(End::Here)?;
        let return_address = memory.word(pair + size).ok_or(End::Here)?;
        self.registers.set(FRAME_POINTER, frame_pointer);
        self.registers.keep(&[FRAME_POINTER]);
        self.enter_caller(return_address, pair + 2 * size);
        if cfg!(target_arch = "aarch64") {
            // The pair lies anywhere in its frame; the stack pointer is only known not to be less.
            self.registers.forget(STACK_POINTER);
        }
        Ok(())
    }

    fn follow_signal<M: Memory>(&mut self, memory: &M) -> Result<(), End> {
        let stack_pointer = self.registers.get(STACK_POINTER).ok_or(End::Here)?;
        self.registers = signal::interrupted(memory, stack_pointer).ok_or(End::Here)?;
        self.is_interrupted = true;
        Ok(())
    }

    fn follow_row<M: Memory>(
        &mut self,
        memory: &M,
        object: &Object,
        description: &FrameDescription,
        row: &Row,
    ) -> Result<(), End> {
        let old = self.registers.clone();
        let evaluate = |place: i32, initial| {
            let place = object.header.wrapping_add_signed(place as isize);
            expression::evaluate(memory, place, object.end, &old, initial)
        };
        let frame_address = match row.base {
            Base::Register { register, offset } => {
                old.get(register.into()).map(|base| base.wrapping_add_signed(offset as isize))
            }
            Base::Expression(place) => evaluate(place, None),
            Base::Unknown => return Err(End::Here),
        };
        let frame_address = frame_address.ok_or(End::Unknown)?;
        let at = |offset: i32| frame_address.wrapping_add_signed(offset as isize);
        for (register, &saved) in row.saved.iter().enumerate() {
            let value = match saved {
                // The stack pointer is the CFA unless the tables say otherwise.
                Saved::Same if register == STACK_POINTER => Some(frame_address),
                Saved::Same => continue,
                Saved::Lost => None,
                Saved::At(offset) => memory.word(at(offset)),
                Saved::Is(offset) => Some(at(offset)),
                Saved::In(other) => old.get(other.into()),
                Saved::AtExpression(place) => {
                    evaluate(place, Some(frame_address)).and_then(|place| memory.word(place))
                }
                Saved::IsExpression(place) => evaluate(place, Some(frame_address)),
            };
            match value {
                Some(value) => self.registers.set(register, value),
                None => self.registers.forget(register),
            }
        }
        let return_register =
            usize::try_from(description.return_register).map_err(|_| End::Here)?;
        let return_address = self.registers.get(return_register).ok_or(End::Here)?;
        let stack_pointer = self.registers.get(STACK_POINTER).ok_or(End::Here)?;
        self.enter_caller(return_address, stack_pointer);
        self.is_interrupted = description.is_signal_frame;
        if cfg!(target_arch = "aarch64") && !self.is_interrupted {
            // The call overwrote it.
            self.registers.forget(RETURN_ADDRESS);
        }
        Ok(())
    }
}
