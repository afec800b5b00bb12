//! The process's environment, read without the C library's help: the first allocation may come
//! before the library has set itself up.

use core::ffi::{CStr, c_char};

#[cfg(not(miri))]
use super::errno;
use crate::options::{Config, apply};
#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
use crate::os::weak::weak_address;

/// The entries of an environment: pointers to terminated strings, and a null pointer.
type Entries = *const *const c_char;

unsafe extern "C" {
    /// The C library's pointer to the environment; null until the library has started.
    static environ: Entries;
}

/// Applies every entry that is meant for hz3.
///
/// A process that runs with privileges which its caller does not have keeps to the program's own
/// configuration: the environment is the caller's.
pub(crate) fn read(config: &mut Config) {
    if has_raised_privileges() {
        return;
    }
    // SAFETY: a variable of the C library. Nobody else runs before the first allocation; a later
    // `setenv` in another thread would race, as it would with any `getenv`.
    let mut next = unsafe { environ };
    if next.is_null() {
        next = initial();
    }
    if next.is_null() {
        return;
    }
    loop {
        // SAFETY: the array ends with a null pointer, which was not reached yet.
        let entry = unsafe { *next };
        if entry.is_null() {
            return;
        }
        // SAFETY: an entry is a terminated string.
        apply(config, unsafe { CStr::from_ptr(entry) }.to_bytes());
        next = next.wrapping_add(1);
    }
}

/// Whether the kernel started the process with more privileges than its caller has, from a
/// set-user-ID file for instance. Where the kernel does not say, the answer is yes.
#[cfg(not(miri))]
fn has_raised_privileges() -> bool {
    let before = errno::get();
    errno::set(0);
    // SAFETY: getauxval has no precondition; it reads what the kernel left on the initial stack.
    let is_raised = unsafe { libc::getauxval(libc::AT_SECURE) } != 0 || errno::get() != 0;
    errno::set(before);
    is_raised
}

/// Miri plays no kernel that would start a process.
#[cfg(miri)]
fn has_raised_privileges() -> bool {
    false
}

/// The environment as the kernel left it on the initial stack. glibc's dynamic linker allocates
/// from a preloaded library before the C library knows its environment; with other libraries it is
/// known before the first allocation, so that a null pointer means that the program cleared it.
#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
fn initial() -> Entries {
    // glibc's name for where the initial stack begins: the number of arguments, their addresses, a
    // null pointer, the entries of the environment.
    let place: *const *const usize =
        core::ptr::with_exposed_provenance(weak_address!("__libc_stack_end"));
    // SAFETY: a variable that the dynamic linker, or the start of a static program, sets first.
    let Some(&stack) = (unsafe { place.as_ref() }) else { return core::ptr::null() };
    if stack.is_null() {
        return core::ptr::null();
    }
    // SAFETY: the kernel's layout, see above.
    let arguments = unsafe { stack.read() };
    let after_arguments: Entries = stack.wrapping_add(1 + arguments).cast();
    // SAFETY: as above: this is the null pointer after the arguments.
    let separator = unsafe { after_arguments.read() };
    if separator.is_null() { after_arguments.wrapping_add(1) } else { core::ptr::null() }
}

#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
fn initial() -> Entries {
    core::ptr::null()
}
