//! The C library's lock on its list of open streams, which a fork must take before the heap's locks.
//!
//! glibc's `fork` takes this lock after the handlers that run before a fork, in which the heap is
//! locked. Another thread may hold it (`fflush(NULL)`) while it waits for a stream, whose holder
//! (`getline`) waits for the heap: a cycle. Taken first, the lock is recursive and `fork` takes it
//! once more. The three functions are glibc's own; other C libraries have none and need none: musl
//! takes its locks around a fork itself, and allocates nothing while it holds them.

/// Takes the lock; [`unlock_list`] or [`reset_list`] ends it.
pub(crate) fn lock_list() {
    call(glibc::lock());
}

/// Releases the lock in the parent.
pub(crate) fn unlock_list() {
    call(glibc::unlock());
}

/// Makes the lock free in a forked child, whatever it was.
pub(crate) fn reset_list() {
    call(glibc::reset());
}

type Function = extern "C" fn();

fn call(function: Option<Function>) {
    if let Some(function) = function {
        function();
    }
}

/// The three functions, where the C library has them. Stable Rust has no weak externs: each call
/// reads the word that the linker fills with the function's address, or with 0 where there is none.
#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
mod glibc {
    use super::Function;

    macro_rules! weak {
        ($name:ident, $symbol:literal) => {
            pub(super) fn $name() -> Option<Function> {
                let function: *const ();
                #[cfg(target_arch = "x86_64")]
                // SAFETY: reads a word of the table of addresses, which holds 0 or a function's.
                unsafe {
                    core::arch::asm!(
                        concat!(".weak ", $symbol),
                        concat!("mov {function}, qword ptr [rip + ", $symbol, "@GOTPCREL]"),
                        function = out(reg) function,
                        options(pure, readonly, nostack, preserves_flags),
                    );
                }
                #[cfg(target_arch = "aarch64")]
                // SAFETY: reads a word of the table of addresses, which holds 0 or a function's.
                unsafe {
                    core::arch::asm!(
                        concat!(".weak ", $symbol),
                        concat!("adrp {function}, :got:", $symbol),
                        concat!("ldr {function}, [{function}, :got_lo12:", $symbol, "]"),
                        function = out(reg) function,
                        options(pure, readonly, nostack, preserves_flags),
                    );
                }
                // SAFETY: null, or a function of glibc's that takes and returns nothing.
                unsafe { core::mem::transmute::<*const (), Option<Function>>(function) }
            }
        };
    }

    weak!(lock, "_IO_list_lock");
    weak!(unlock, "_IO_list_unlock");
    weak!(reset, "_IO_list_resetlock");
}

/// No glibc, or none that can be asked.
#[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
mod glibc {
    use super::Function;

    pub(super) fn lock() -> Option<Function> {
        None
    }

    pub(super) fn unlock() -> Option<Function> {
        None
    }

    pub(super) fn reset() -> Option<Function> {
        None
    }
}
