//! A walk from a signal handler at every single instruction of C code.
//!
//! The trap flag of the processor raises SIGTRAP after each instruction. So the walk starts in
//! every prologue and epilogue, and in the entries of the procedure linkage table.

use core::arch::asm;
use core::ffi::{c_int, c_void};
use core::mem::zeroed;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::vec::Vec;

use super::chains::Library;
use super::{Pair, walk};

/// The flag in `rflags`.
const TRAP: i64 = 0x100;

static IS_DONE: AtomicBool = AtomicBool::new(false);
static STEPS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handle(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a context that the handler may change.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let flags = &mut context.uc_mcontext.gregs[libc::REG_EFL as usize];
    if IS_DONE.load(Ordering::Relaxed) {
        *flags &= !TRAP;
        return;
    }
    STEPS.fetch_add(1, Ordering::Relaxed);
    Pair::here().check();
}

extern "C" fn compare(_: *const c_void, _: *const c_void) -> c_int {
    1
}

extern "C" fn innermost(frames: *mut Vec<usize>) {
    let mut found = [0; 8];
    let count = walk(&mut found);
    assert!(count > 4);
    let mut numbers = [2, 1];
    // SAFETY: the array has two numbers of that size, which the function compares.
    unsafe { libc::qsort(numbers.as_mut_ptr().cast(), 2, size_of::<i32>(), Some(compare)) };
    assert!(!frames.is_null());
}

#[test]
fn a_walk_starts_at_any_instruction() {
    let libraries =
        [["-O2", "-fomit-frame-pointer"], ["-O0", "-fno-plt"], ["-O3", "-fno-omit-frame-pointer"]]
            .map(|flags| Library::compile("stepping", &flags));
    // SAFETY: zero is a valid value of each field.
    let mut action: libc::sigaction = unsafe { zeroed() };
    action.sa_sigaction = handle as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the handler walks the stack and writes to what belongs to this test.
    unsafe { libc::sigaction(libc::SIGTRAP, &raw const action, ptr::null_mut()) };
    for library in libraries {
        IS_DONE.store(false, Ordering::Relaxed);
        let mut frames = Vec::new();
        // SAFETY: sets the trap flag; the handler of SIGTRAP clears it.
        unsafe { asm!("pushfq", "or qword ptr [rsp], {trap}", "popfq", trap = const TRAP) };
        (library.start)(6, innermost, &raw mut frames);
        IS_DONE.store(true, Ordering::Relaxed);
    }
    assert!(STEPS.load(Ordering::Relaxed) > 1000);
}
