//! Reads the process's environment without functions of the C library, because the first allocation
//! may come before the C library has initialised itself.

use core::ffi::{CStr, c_char};

use crate::options::{Config, apply, is_of_jemalloc, mention, mention_without_effect};
#[cfg(not(miri))]
use crate::os::errno;
#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
use crate::os::weak::weak_address;

/// The entries of an environment: pointers to terminated strings, and a null pointer.
type Entries = *const *const c_char;

unsafe extern "C" {
    /// The C library's pointer to the environment; null until the library has started.
    static environ: Entries;
}

/// Applies every `HZ3_` variable to the configuration.
///
/// If the process has privileges that its caller lacks, the environment is ignored, because the
/// caller controls it.
pub(crate) fn read(config: &mut Config) {
    if has_raised_privileges() {
        return;
    }
    // SAFETY: it is a variable of the C library. Before the first allocation there is no other
    // thread. A `setenv` in another thread would race, as it would with any `getenv`.
    let mut start = unsafe { environ };
    if start.is_null() {
        start = initial();
    }
    if start.is_null() {
        return;
    }
    let mut unread = None;
    let mut has_options = false;
    for_each(start, |entry| {
        has_options |= apply(config, entry);
        if is_of_jemalloc(entry) {
            unread = Some(entry);
        }
    });
    if has_options {
        for_each(start, |entry| mention_without_effect(config, entry));
    }
    if let Some(entry) = unread
        && config.verbose
    {
        mention(entry);
    }
}

/// Calls `visit` with each entry of the environment that starts at `next`.
fn for_each<'a>(mut next: Entries, mut visit: impl FnMut(&'a [u8])) {
    loop {
        // SAFETY: the array ends with a null pointer, which the loop has not reached yet.
        let entry = unsafe { *next };
        if entry.is_null() {
            break;
        }
        // SAFETY: an entry is a terminated string. It may be replaced later, so nobody keeps it
        // beyond the start.
        visit(unsafe { CStr::from_ptr(entry) }.to_bytes());
        next = next.wrapping_add(1);
    }
}

/// Returns whether the kernel started the process with more privileges than its caller has, for
/// example from a set-user-ID file. If the kernel does not say, returns true.
#[cfg(not(miri))]
fn has_raised_privileges() -> bool {
    let before = errno::get();
    errno::set(0);
    // SAFETY: getauxval has no precondition; it reads the vector that the kernel put on the stack.
    let is_raised = unsafe { libc::getauxval(libc::AT_SECURE) } != 0 || errno::get() != 0;
    errno::set(before);
    is_raised
}

/// Returns false, because Miri emulates no auxiliary vector.
#[cfg(miri)]
fn has_raised_privileges() -> bool {
    false
}

/// Returns the environment that the kernel put on the initial stack.
///
/// glibc's dynamic linker calls a preloaded `malloc` before `environ` is set. Other C libraries set
/// `environ` before the first allocation; there a null pointer means that the program cleared it.
#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
fn initial() -> Entries {
    // In glibc this variable holds the start of the initial stack: the number of arguments, their
    // addresses, a null pointer, the entries of the environment.
    let place: *const *const usize =
        core::ptr::with_exposed_provenance(weak_address!("__libc_stack_end"));
    // SAFETY: it is null or a variable that is set before any code of hz3 runs: by the dynamic
    // linker, or by the start-up code of a static program.
    let Some(&stack) = (unsafe { place.as_ref() }) else { return core::ptr::null() };
    if stack.is_null() {
        return core::ptr::null();
    }
    // SAFETY: the kernel puts the number of arguments there, see above.
    let arguments = unsafe { stack.read() };
    let after_arguments: Entries = stack.wrapping_add(1 + arguments).cast();
    // SAFETY: the kernel puts a null pointer after the arguments, see above.
    let separator = unsafe { after_arguments.read() };
    if separator.is_null() { after_arguments.wrapping_add(1) } else { core::ptr::null() }
}

#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
fn initial() -> Entries {
    core::ptr::null()
}
