//! The registers of the caller, with which a walk begins.

use core::arch::naked_asm;

use super::registers::Registers;

/// A bit for each register that is known of the caller. A call preserves rbx, rbp and r12 to r15;
/// rsp and rip follow from it.
#[cfg(target_arch = "x86_64")]
const CAPTURED: u64 = 0x1_f0c8;
/// A bit for each register that is known of the caller. A call preserves x19 to x29; sp and pc
/// follow from it.
#[cfg(target_arch = "aarch64")]
const CAPTURED: u64 = 0x1_bff8_0000;

/// Walks the stack from the caller's frame on; see [`super::walk`].
#[inline(always)]
pub(super) fn walk(frames: &mut [usize]) -> usize {
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
        known = const CAPTURED,
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
        low = const CAPTURED >> 16 & 0xffff,
        high = const CAPTURED >> 32,
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
