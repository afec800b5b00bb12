//! The frames that the kernel builds for signal handlers.
//!
//! A handler returns to a few instructions that make the system call `rt_sigreturn`. Below them on
//! the stack the kernel has stored all registers of the interrupted code.

use super::memory::Memory;
use super::registers::Registers;

#[cfg(target_arch = "x86_64")]
mod layout {
    /// glibc's tables of these instructions say that they are a signal frame. musl has no tables.
    pub(in super::super) const HAS_PLAIN_TABLES: bool = false;
    /// `mov $15, %rax; syscall`, and the same with `%eax`.
    pub(super) const RETURNS: [&[u8]; 2] =
        [b"\x48\xc7\xc0\x0f\0\0\0\x0f\x05", b"\xb8\x0f\0\0\0\x0f\x05"];
    /// From the stack pointer: `uc_mcontext` in `struct ucontext`.
    pub(super) const REGISTERS: usize = 40;
    /// DWARF numbers in the order of `struct sigcontext`: r8 to r15, rdi, rsi, rbp, rbx, rdx, rax,
    /// rcx, rsp, rip.
    pub(super) const ORDER: [u8; 17] = [8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7, 16];
}

#[cfg(target_arch = "aarch64")]
mod layout {
    /// The vDSO's tables describe these instructions as a function without a frame of registers.
    pub(in super::super) const HAS_PLAIN_TABLES: bool = true;
    /// `mov x8, #139; svc #0`
    pub(super) const RETURNS: [&[u8]; 1] = [b"\x68\x11\x80\xd2\x01\0\0\xd4"];
    /// From the stack pointer: `siginfo_t`, `struct ucontext` up to `uc_mcontext`, and there the
    /// fault's address.
    pub(super) const REGISTERS: usize = 128 + 176 + 8;
    /// x0 to x30, sp, pc.
    pub(super) const ORDER: [u8; 33] = {
        let mut order = [0; 33];
        let mut register = 0;
        while register < order.len() {
            #[expect(clippy::cast_possible_truncation, reason = "less than 33")]
            {
                order[register] = register as u8;
            }
            register += 1;
        }
        order
    };
}

pub(super) use layout::HAS_PLAIN_TABLES;

/// Returns whether the instructions at `pc` return from a signal handler.
pub(super) fn is_return<M: Memory>(memory: &M, pc: usize) -> bool {
    let mut code = [0; 9];
    layout::RETURNS.iter().any(|expected| {
        let code = &mut code[..expected.len()];
        memory.copy(pc, code) && code == *expected
    })
}

/// Returns the registers of the interrupted code.
pub(super) fn interrupted<M: Memory>(memory: &M, stack_pointer: usize) -> Option<Registers> {
    let mut registers = Registers::unknown();
    let mut place = stack_pointer.checked_add(layout::REGISTERS)?;
    for register in layout::ORDER {
        registers.set(register.into(), memory.word(place)?);
        place += size_of::<usize>();
    }
    Some(registers)
}
