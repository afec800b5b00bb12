//! The frames that C++ exceptions pass through.
//!
//! With `panic = "abort"` the compiler takes it that nothing unwinds out of a Rust function. So
//! whatever calls code that may throw is assembly here, with unwind tables of its own; what it
//! decides, it asks Rust functions that return. `operator new` gets here by a jump: its own frame
//! is gone by the time somebody throws.

use core::arch::naked_asm;
use core::ffi::{c_int, c_void};

use crate::runtime;

/// What [`guarded_call`] returns, in two registers.
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

/// Calls `function(first, second)`. An exception that it throws ends here.
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

/// Where [`guarded_call`] goes on after an exception, in the same frame. The exception is in the
/// first register of [`catch_everything`]'s choice.
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

/// The unwinder asks this function what [`guarded_call`] does about an exception. It catches them
/// all, as `catch (...)` does, but lets the end of a cancelled thread pass.
///
/// Own, because the C++ runtime's would have to be there when we are linked; the runtime of a C
/// program comes, if ever, with a plugin.
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
    // SAFETY: the unwinder's own function and context. Register 0 is the first of those that the
    // ABI keeps for landing pads: rax, or x0.
    unsafe { (unwinder.set_register)(context, 0, exception.addr()) };
    // SAFETY: as above; `landing` goes on in the frame that is being unwound to.
    unsafe { (unwinder.set_instruction)(context, landing as *const () as usize) };
    URC_INSTALL_CONTEXT
}
