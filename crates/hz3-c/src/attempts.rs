//! What `operator new` does when the thread's cache has nothing: attempts, the program's new handler,
//! and the exception.
//!
//! With `panic = "abort"` the compiler takes it that nothing unwinds out of a Rust function. So what
//! calls the handler is assembly with unwind tables of its own, and asks Rust functions that return.

use core::arch::naked_asm;
use core::ffi::c_void;
use core::ptr;

use hz3_alloc::raw;

use crate::misses::malloc_within;
use crate::posix::{aligned, allocate};
use crate::runtime::{has_parts_of_bad_alloc, new_handler, throws_bad_alloc};
use crate::throw::{guarded_call, throw_bad_alloc};

/// The cold half of `operator new(size)`, after its fast path has missed.
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

/// Allocates; as long as that fails, calls what [`next_step`] names: the program's new
/// handler, or the function that throws `bad_alloc`. Exceptions leave from here to the caller.
/// `align` 0 asks for nothing in particular.
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

/// The first attempt of a plain form whose fast path has missed.
pub(crate) extern "C" fn after_miss(size: usize) -> *mut c_void {
    malloc_within(size).cast()
}

/// One attempt at allocating. `align` 0 asks for nothing in particular; one that is no power of
/// two can't be served.
extern "C" fn attempt(size: usize, align: usize) -> *mut c_void {
    match align {
        0 => allocate(size),
        align if align.is_power_of_two() => aligned(align, size),
        _ => ptr::null_mut(),
    }
}

/// The function to call when an attempt failed: the program's new handler, after which the next
/// attempt follows, or one that doesn't return.
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

/// Attempts until there is memory, no handler, or the handler throws.
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
