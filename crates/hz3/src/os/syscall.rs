//! System calls by the processor's instruction: no `errno`, no cancellation point, no lock.

use core::ffi::{c_int, c_long};

use super::Refused;

/// Makes the system call `number`. The kernel ignores surplus arguments.
///
/// # Safety
/// The caller may make that call with those arguments.
pub(crate) unsafe fn syscall(number: c_long, arguments: [usize; 6]) -> Result<usize, Refused> {
    // SAFETY: the caller's promise.
    unsafe { syscall_error(number, arguments) }.map_err(|_| Refused)
}

/// Makes the system call `number` and returns the error number if the kernel refuses.
///
/// # Safety
/// The caller may make that call with those arguments.
#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
pub(crate) unsafe fn syscall_error(number: c_long, arguments: [usize; 6]) -> Result<usize, c_int> {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: by its convention the kernel preserves all registers except these three.
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
    // SAFETY: by its convention the kernel preserves all registers except that of the result.
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
        // The kernel's errors are the numbers from -4095 to -1; none of them is an address.
        Err(_) => match c_int::try_from(-result) {
            Ok(error) if error < 4096 => Err(error),
            _ => Ok(result.cast_unsigned()),
        },
    }
}

/// Makes the system call `number` by the C library's function, on other targets.
///
/// # Safety
/// The caller may make that call with those arguments.
#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
pub(crate) unsafe fn syscall_error(number: c_long, arguments: [usize; 6]) -> Result<usize, c_int> {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    // SAFETY: the caller's promise.
    let result = unsafe { libc::syscall(number, first, second, third, fourth, fifth, sixth) };
    usize::try_from(result).map_err(|_| super::errno::get())
}
