//! The C library's lock on its list of open streams, which a fork must take before the heap's locks.
//!
//! glibc's `fork` takes this lock after the handlers that run before a fork, in which the heap is
//! locked. Another thread may hold it (`fflush(NULL)`) while it waits for a stream, whose holder
//! (`getline`) waits for the heap: a cycle. Taken first, the lock is recursive and `fork` takes it
//! once more. The three functions are glibc's own; other C libraries have none and need none: musl
//! takes its locks around a fork itself, and allocates nothing while it holds them.

use super::weak::weak_address;

type Function = extern "C" fn();

/// Takes the lock; [`unlock_list`] or [`reset_list`] ends it.
pub(crate) fn lock_list() {
    call(weak_address!("_IO_list_lock"));
}

/// Releases the lock in the parent.
pub(crate) fn unlock_list() {
    call(weak_address!("_IO_list_unlock"));
}

/// Makes the lock free in a forked child, whatever it was.
pub(crate) fn reset_list() {
    call(weak_address!("_IO_list_resetlock"));
}

/// Calls one of the three functions, where the C library has them.
fn call(address: usize) {
    // SAFETY: 0, or a function of glibc's that takes and returns nothing.
    let function = unsafe { core::mem::transmute::<usize, Option<Function>>(address) };
    if let Some(function) = function {
        function();
    }
}
