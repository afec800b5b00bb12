//! The slow path of `operator new`: it allocates, calls the program's new handler, or throws.
//!
//! With `panic = "abort"` the compiler assumes that no Rust function unwinds. So assembly with
//! unwind tables of its own calls the handler, and calls only Rust functions that return.

use core::arch::naked_asm;
use core::ffi::c_void;
use core::ptr;

use hz3_alloc::raw;
use hz3_alloc::raw::family::{aligned, allocate, malloc_missed};

use crate::runtime::{has_parts_of_bad_alloc, new_handler, throws_bad_alloc};
use crate::throw::{guarded_call, throw_bad_alloc};

/// Serves `operator new(size)` after its fast path has missed.
#[cold]
#[unsafe(naked)]
pub(crate) extern "C" fn new_cold(_size: usize) -> *mut u8 {
    #[cfg(target_arch = "x86_64")]
    naked_asm!(
        ".cfi_startproc",
        "push rdi",
        ".cfi_def_cfa_offset 16",
        "call {after_miss}",
        "pop rdi",
        ".cfi_def_cfa_offset 8",
        "test rax, rax",
        "jne 2f",
        "xor esi, esi",
        "jmp {new_or_throw}",
        "2:",
        "ret",
        ".cfi_endproc",
        after_miss = sym after_miss,
        new_or_throw = sym new_or_throw,
    );
    #[cfg(target_arch = "aarch64")]
    naked_asm!(
        ".cfi_startproc",
        "stp x29, x30, [sp, #-32]!",
        ".cfi_def_cfa_offset 32",
        ".cfi_offset x29, -32",
        ".cfi_offset x30, -24",
        "str x0, [sp, #16]",
        "bl {after_miss}",
        "ldr x1, [sp, #16]",
        "ldp x29, x30, [sp], #32",
        ".cfi_def_cfa_offset 0",
        ".cfi_restore x29",
        ".cfi_restore x30",
        "cbnz x0, 2f",
        "mov x0, x1",
        "mov x1, xzr",
        "b {new_or_throw}",
        "2:",
        "ret",
        ".cfi_endproc",
        after_miss = sym after_miss,
        new_or_throw = sym new_or_throw,
    );
}

/// Allocates; while that fails, calls the function that [`next_step`] returns: the program's new
/// handler, or the function that throws `bad_alloc`.
///
/// Exceptions pass through this frame to the caller. `align` 0 means the default alignment.
#[cold]
#[unsafe(naked)]
pub(crate) extern "C" fn new_or_throw(_size: usize, _align: usize) -> *mut u8 {
    #[cfg(target_arch = "x86_64")]
    naked_asm!(
        ".cfi_startproc",
        "push rbx",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbx, -16",
        "push rbp",
        ".cfi_def_cfa_offset 24",
        ".cfi_offset rbp, -24",
        "sub rsp, 8",
        ".cfi_def_cfa_offset 32",
        "mov rbx, rdi",
        "mov rbp, rsi",
        "2:",
        "mov rdi, rbx",
        "mov rsi, rbp",
        "call {attempt}",
        "test rax, rax",
        "jne 3f",
        "mov rdi, rbp",
        "call {next_step}",
        "call rax",
        "jmp 2b",
        "3:",
        "add rsp, 8",
        ".cfi_def_cfa_offset 24",
        "pop rbp",
        ".cfi_def_cfa_offset 16",
        "pop rbx",
        ".cfi_def_cfa_offset 8",
        "ret",
        ".cfi_endproc",
        attempt = sym attempt,
        next_step = sym next_step,
    );
    #[cfg(target_arch = "aarch64")]
    naked_asm!(
        ".cfi_startproc",
        "stp x29, x30, [sp, #-32]!",
        ".cfi_def_cfa_offset 32",
        ".cfi_offset x29, -32",
        ".cfi_offset x30, -24",
        "stp x19, x20, [sp, #16]",
        ".cfi_offset x19, -16",
        ".cfi_offset x20, -8",
        "mov x29, sp",
        "mov x19, x0",
        "mov x20, x1",
        "2:",
        "mov x0, x19",
        "mov x1, x20",
        "bl {attempt}",
        "cbnz x0, 3f",
        "mov x0, x20",
        "bl {next_step}",
        "blr x0",
        "b 2b",
        "3:",
        "ldp x19, x20, [sp, #16]",
        "ldp x29, x30, [sp], #32",
        ".cfi_def_cfa_offset 0",
        "ret",
        ".cfi_endproc",
        attempt = sym attempt,
        next_step = sym next_step,
    );
}

/// Makes the first attempt of a plain form whose fast path has missed.
pub(crate) extern "C" fn after_miss(size: usize) -> *mut c_void {
    malloc_missed(size).cast()
}

/// Tries to allocate once. `align` 0 means the default alignment; another `align` that is no power
/// of two fails.
extern "C" fn attempt(size: usize, align: usize) -> *mut c_void {
    match align {
        0 => allocate(size),
        align if align.is_power_of_two() => aligned(align, size),
        _ => ptr::null_mut(),
    }
}

/// Returns the function to call after a failed attempt: the program's new handler, after which
/// the next attempt follows, or a function that does not return.
extern "C" fn next_step(align: usize) -> *mut c_void {
    if let Some(handler) = new_handler(align) {
        return handler;
    }
    if let Some(throw) = throws_bad_alloc() {
        return throw;
    }
    if has_parts_of_bad_alloc() {
        return throw_bad_alloc as *mut c_void;
    }
    cannot_throw as *mut c_void
}

extern "C" fn cannot_throw() -> ! {
    raw::fatal("operator new: no memory, and no C++ runtime that could throw bad_alloc", 0)
}

/// Allocates; while that fails, calls the new handler. Returns NULL if there is no handler or if it
/// throws.
#[cold]
#[inline(never)]
pub(crate) fn new_or_null(size: usize, align: usize) -> *mut c_void {
    loop {
        let block = attempt(size, align);
        if !block.is_null() {
            return block;
        }
        let Some(handler) = new_handler(align) else {
            return ptr::null_mut();
        };
        // SAFETY: a new handler takes nothing.
        if unsafe { guarded_call(0, 0, handler) }.returned == 0 {
            return ptr::null_mut();
        }
    }
}
