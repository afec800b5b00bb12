//! The registers of one frame, by their DWARF numbers.

#[cfg(target_arch = "x86_64")]
mod numbers {
    /// rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp, r8 to r15, and the return address.
    pub(in super::super) const COUNT: usize = 17;
    pub(in super::super) const FRAME_POINTER: usize = 6;
    pub(in super::super) const STACK_POINTER: usize = 7;
    pub(in super::super) const RETURN_ADDRESS: usize = 16;
    pub(in super::super) const PROGRAM_COUNTER: usize = 16;
}

#[cfg(target_arch = "aarch64")]
mod numbers {
    /// x0 to x30, sp, and the program counter, which has no DWARF number.
    pub(in super::super) const COUNT: usize = 33;
    pub(in super::super) const FRAME_POINTER: usize = 29;
    pub(in super::super) const STACK_POINTER: usize = 31;
    pub(in super::super) const RETURN_ADDRESS: usize = 30;
    pub(in super::super) const PROGRAM_COUNTER: usize = 32;
}

pub(super) use numbers::{COUNT, FRAME_POINTER, PROGRAM_COUNTER, RETURN_ADDRESS, STACK_POINTER};

/// Register values, of which some are unknown.
#[derive(Clone, Debug)]
#[repr(C)]
pub(super) struct Registers {
    values: [usize; COUNT],
    /// A bit for each known one.
    known: u64,
}

impl Registers {
    pub(super) const fn unknown() -> Self {
        Self { values: [0; COUNT], known: 0 }
    }

    /// Returns the value of a register; `None` if it is unknown or has no such number.
    pub(super) fn get(&self, register: usize) -> Option<usize> {
        let is_known = register < COUNT && self.known >> register & 1 != 0;
        is_known.then(|| self.values[register])
    }

    pub(super) fn set(&mut self, register: usize, value: usize) {
        self.values[register] = value;
        self.known |= 1 << register;
    }

    /// Makes the values of all registers unknown, except for those in the list.
    pub(super) fn keep(&mut self, registers: &[usize]) {
        self.known &= registers.iter().fold(0, |kept, register| kept | 1 << register);
    }

    /// Makes the value of one register unknown.
    pub(super) fn forget(&mut self, register: usize) {
        self.known &= !(1 << register);
    }

    /// Returns the stack pointer, or an address not above it if it is unknown.
    pub(super) fn stack_pointer(&self) -> usize {
        self.values[STACK_POINTER]
    }

    pub(super) fn program_counter(&self) -> usize {
        self.values[PROGRAM_COUNTER]
    }
}

/// Removes the signature from a return address.
#[cfg(target_arch = "x86_64")]
pub(super) fn without_signature(address: usize) -> usize {
    address
}

/// Removes the signature from a return address: pointer authentication puts it into the bits that
/// no address has.
#[cfg(target_arch = "aarch64")]
pub(super) fn without_signature(address: usize) -> usize {
    let mut address = address;
    // SAFETY: `xpaclri` (hint 7) changes the one register x30, and nothing on older processors.
    unsafe {
        core::arch::asm!(
            "mov {saved}, x30",
            "mov x30, {address}",
            "hint #7",
            "mov {address}, x30",
            "mov x30, {saved}",
            address = inout(reg) address,
            saved = out(reg) _,
            options(nomem, nostack, preserves_flags),
        );
    }
    address
}
