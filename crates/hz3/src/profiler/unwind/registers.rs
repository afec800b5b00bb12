//! The registers of one frame, by their DWARF numbers.

use core::arch::naked_asm;

#[cfg(target_arch = "x86_64")]
mod numbers {
    /// rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp, r8 to r15, and the return address.
    pub(in super::super) const COUNT: usize = 17;
    pub(in super::super) const FRAME_POINTER: usize = 6;
    pub(in super::super) const STACK_POINTER: usize = 7;
    pub(in super::super) const RETURN_ADDRESS: usize = 16;
    pub(in super::super) const PROGRAM_COUNTER: usize = 16;
    /// A call preserves rbx, rbp and r12 to r15; rsp and rip follow from it.
    pub(super) const CAPTURED: u64 = 0x1_f0c8;
}

#[cfg(target_arch = "aarch64")]
mod numbers {
    /// x0 to x30, sp, and the program counter, which has no DWARF number.
    pub(in super::super) const COUNT: usize = 33;
    pub(in super::super) const FRAME_POINTER: usize = 29;
    pub(in super::super) const STACK_POINTER: usize = 31;
    pub(in super::super) const RETURN_ADDRESS: usize = 30;
    pub(in super::super) const PROGRAM_COUNTER: usize = 32;
    /// A call preserves x19 to x29; sp and pc follow from it.
    pub(super) const CAPTURED: u64 = 0x1_bff8_0000;
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

/// Walks the stack from the caller's frame on; see [`super::walk`].
#[inline(always)]
pub(super) fn capture(frames: &mut [usize]) -> usize {
    capture_and_walk(frames.as_mut_ptr(), frames.len())
}

/// Stores the caller's registers in a [`Registers`] on the stack and calls [`captured`].
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
extern "C" fn capture_and_walk(_frames: *mut usize, _count: usize) -> usize {
    naked_asm!(
        ".cfi_startproc",
        // 17 values and the set of known ones, and 8 bytes that align the stack.
        "sub rsp, 152",
        ".cfi_def_cfa_offset 160",
        "mov [rsp + 3 * 8], rbx",
        "mov [rsp + 6 * 8], rbp",
        "lea rax, [rsp + 160]",
        "mov [rsp + 7 * 8], rax",
        "mov [rsp + 12 * 8], r12",
        "mov [rsp + 13 * 8], r13",
        "mov [rsp + 14 * 8], r14",
        "mov [rsp + 15 * 8], r15",
        "mov rax, [rsp + 152]",
        "mov [rsp + 16 * 8], rax",
        "mov qword ptr [rsp + 17 * 8], {known}",
        "mov rdx, rsi",
        "mov rsi, rdi",
        "mov rdi, rsp",
        "call {captured}",
        "add rsp, 152",
        ".cfi_def_cfa_offset 8",
        "ret",
        ".cfi_endproc",
        known = const numbers::CAPTURED,
        captured = sym captured,
    );
}

/// Stores the caller's registers in a [`Registers`] on the stack and calls [`captured`].
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
extern "C" fn capture_and_walk(_frames: *mut usize, _count: usize) -> usize {
    naked_asm!(
        ".cfi_startproc",
        // 33 values and the set of known ones, and 16 bytes for x29 and x30.
        "stp x29, x30, [sp, #-288]!",
        ".cfi_def_cfa_offset 288",
        ".cfi_offset x29, -288",
        ".cfi_offset x30, -280",
        "add x3, sp, #16",
        "stp x19, x20, [x3, #19 * 8]",
        "stp x21, x22, [x3, #21 * 8]",
        "stp x23, x24, [x3, #23 * 8]",
        "stp x25, x26, [x3, #25 * 8]",
        "stp x27, x28, [x3, #27 * 8]",
        "str x29, [x3, #29 * 8]",
        "add x4, sp, #288",
        "stp x4, x30, [x3, #31 * 8]",
        "movz x4, #{low}, lsl #16",
        "movk x4, #{high}, lsl #32",
        "str x4, [x3, #33 * 8]",
        "mov x29, sp",
        "mov x2, x1",
        "mov x1, x0",
        "mov x0, x3",
        "bl {captured}",
        "ldp x29, x30, [sp], #288",
        ".cfi_def_cfa_offset 0",
        ".cfi_restore x29",
        ".cfi_restore x30",
        "ret",
        ".cfi_endproc",
        low = const numbers::CAPTURED >> 16 & 0xffff,
        high = const numbers::CAPTURED >> 32,
        captured = sym captured,
    );
}

/// Continues in Rust.
///
/// # Safety
/// The registers are readable during the call, and `frames` is a slice of `count` that the caller
/// has for itself.
unsafe extern "C" fn captured(
    registers: *const Registers,
    frames: *mut usize,
    count: usize,
) -> usize {
    // SAFETY: the caller's promise. The assembly wrote the known values; the others are words of
    // the stack with any value.
    let registers = unsafe { &*registers };
    // SAFETY: the caller's promise.
    let frames = unsafe { core::slice::from_raw_parts_mut(frames, count) };
    super::walk_from(registers, frames)
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
