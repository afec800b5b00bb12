//! The frames that C++ exceptions pass through.
//!
//! With `panic = "abort"` the compiler assumes that no Rust function unwinds. So code that may
//! throw is called by the assembly here, which has unwind tables of its own. All decisions are made
//! by Rust functions that return. `operator new` jumps here, so its own frame is gone when an
//! exception is thrown.

use core::arch::naked_asm;
use core::ffi::{c_int, c_void};

use crate::runtime;

/// The result of [`guarded_call`], in two registers.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Outcome {
    pub(crate) value: *mut c_void,
    /// 1 when the function returned, 0 when it threw.
    pub(crate) returned: usize,
}

/// Throws the exception that [`runtime::make_bad_alloc`] makes.
#[cold]
#[unsafe(naked)]
pub(crate) extern "C" fn throw_bad_alloc() -> ! {
    #[cfg(target_arch = "x86_64")]
    naked_asm!(
        ".cfi_startproc",
        "sub rsp, 24",
        ".cfi_def_cfa_offset 32",
        "mov rdi, rsp",
        "call {make}",
        "mov rdi, qword ptr [rsp]",
        "mov rsi, qword ptr [rsp + 8]",
        "mov rdx, qword ptr [rsp + 16]",
        "call rax",
        "ud2",
        ".cfi_endproc",
        make = sym runtime::make_bad_alloc,
    );
    #[cfg(target_arch = "aarch64")]
    naked_asm!(
        ".cfi_startproc",
        "stp x29, x30, [sp, #-48]!",
        ".cfi_def_cfa_offset 48",
        ".cfi_offset x29, -48",
        ".cfi_offset x30, -40",
        "mov x29, sp",
        "add x0, sp, #16",
        "bl {make}",
        "mov x3, x0",
        "ldp x0, x1, [sp, #16]",
        "ldr x2, [sp, #32]",
        "blr x3",
        "brk #1",
        ".cfi_endproc",
        make = sym runtime::make_bad_alloc,
    );
}

/// Calls `function(first, second)` and catches every exception that it throws.
///
/// # Safety
/// `function` is a C or C++ function that takes these arguments, or fewer.
#[cold]
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn guarded_call(
    _first: usize,
    _second: usize,
    _function: *mut c_void,
) -> Outcome {
    #[cfg(target_arch = "x86_64")]
    naked_asm!(
        ".cfi_startproc",
        // 0x1b: a relative, signed, four-byte address.
        ".cfi_personality 0x1b, {personality}",
        "sub rsp, 8",
        ".cfi_def_cfa_offset 16",
        "call rdx",
        "mov edx, 1",
        "add rsp, 8",
        ".cfi_def_cfa_offset 8",
        "ret",
        ".cfi_endproc",
        personality = sym catch_everything,
    );
    #[cfg(target_arch = "aarch64")]
    naked_asm!(
        ".cfi_startproc",
        ".cfi_personality 0x1b, {personality}",
        "stp x29, x30, [sp, #-16]!",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset x29, -16",
        ".cfi_offset x30, -8",
        "mov x29, sp",
        "blr x2",
        "mov x1, #1",
        "ldp x29, x30, [sp], #16",
        ".cfi_def_cfa_offset 0",
        "ret",
        ".cfi_endproc",
        personality = sym catch_everything,
    );
}

/// Continues [`guarded_call`] after an exception, in the same frame. [`catch_everything`] has put
/// the exception into the first register for landing pads.
#[cold]
#[unsafe(naked)]
unsafe extern "C" fn landing() {
    #[cfg(target_arch = "x86_64")]
    naked_asm!(
        ".cfi_startproc",
        ".cfi_def_cfa_offset 16",
        "mov rdi, rax",
        "call {swallow}",
        "xor eax, eax",
        "xor edx, edx",
        "add rsp, 8",
        ".cfi_def_cfa_offset 8",
        "ret",
        ".cfi_endproc",
        swallow = sym runtime::swallow,
    );
    #[cfg(target_arch = "aarch64")]
    naked_asm!(
        ".cfi_startproc",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset x29, -16",
        ".cfi_offset x30, -8",
        "bl {swallow}",
        "mov x0, xzr",
        "mov x1, xzr",
        "ldp x29, x30, [sp], #16",
        ".cfi_def_cfa_offset 0",
        "ret",
        ".cfi_endproc",
        swallow = sym runtime::swallow,
    );
}

// From the Itanium C++ ABI, level I.
const UA_SEARCH_PHASE: c_int = 1;
const UA_HANDLER_FRAME: c_int = 4;
const UA_FORCE_UNWIND: c_int = 8;
const URC_HANDLER_FOUND: c_int = 6;
const URC_INSTALL_CONTEXT: c_int = 7;
const URC_CONTINUE_UNWIND: c_int = 8;

/// The personality routine of [`guarded_call`], which tells the unwinder how to treat an exception.
///
/// It catches all exceptions, as `catch (...)` does, but lets the unwinding of a cancelled thread
/// pass. The C++ runtime's own routine cannot be used, because it would have to exist at link time:
/// a C program gets the runtime, if ever, with a plugin.
unsafe extern "C" fn catch_everything(
    _version: c_int,
    actions: c_int,
    _class: u64,
    exception: *mut c_void,
    context: *mut c_void,
) -> c_int {
    if actions & UA_FORCE_UNWIND != 0 {
        return URC_CONTINUE_UNWIND;
    }
    let Some(unwinder) = runtime::unwinder() else {
        return URC_CONTINUE_UNWIND;
    };
    if actions & UA_SEARCH_PHASE != 0 {
        return URC_HANDLER_FOUND;
    }
    if actions & UA_HANDLER_FRAME == 0 {
        return URC_CONTINUE_UNWIND;
    }
    // SAFETY: they are the unwinder's own function and context. Register 0 (rax or x0) is the first
    // one that the ABI reserves for landing pads.
    unsafe { (unwinder.set_register)(context, 0, exception.addr()) };
    // SAFETY: as above; `landing` continues in the frame to which the unwinder returns.
    unsafe { (unwinder.set_instruction)(context, landing as *const () as usize) };
    URC_INSTALL_CONTEXT
}
