//! System calls made by the instruction itself: no `errno`, no cancellation point, no lock.
//!
//! The reclaimer is a thread that the C library does not know and that has no thread-local memory
//! (see [`super::thread`]). What it calls is called from here.

use core::ffi::c_long;

use super::Refused;

/// Makes the system call `number`. The kernel ignores arguments that the call does not have.
///
/// # Safety
/// The caller may make that call with those arguments.
#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
pub(crate) unsafe fn syscall(number: c_long, arguments: [usize; 6]) -> Result<usize, Refused> {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel's convention: it keeps all registers but for these three.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            in("r10") fourth,
            in("r8") fifth,
            in("r9") sixth,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the kernel's convention: it keeps all registers but for the result's.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") first => result,
            in("x1") second,
            in("x2") third,
            in("x3") fourth,
            in("x4") fifth,
            in("x5") sixth,
            options(nostack),
        );
    }
    match usize::try_from(result) {
        Ok(value) => Ok(value),
        // The kernel's errors are the numbers from -4095 to -1; no address is among them.
        Err(_) if result > -4096 => Err(Refused),
        Err(_) => Ok(result.cast_unsigned()),
    }
}

/// As above, by the C library, where there is no reclaimer.
///
/// # Safety
/// As above.
#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
pub(crate) unsafe fn syscall(number: c_long, arguments: [usize; 6]) -> Result<usize, Refused> {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    // SAFETY: the caller's promise.
    let result = unsafe { libc::syscall(number, first, second, third, fourth, fifth, sixth) };
    usize::try_from(result).map_err(|_| Refused)
}
