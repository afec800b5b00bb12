//! The C library's lock on its list of open streams, which a fork must take before the heap's
//! locks.
//!
//! glibc's `fork` takes this lock after the fork handlers, which lock the heap. Another thread may
//! hold it (`fflush(NULL)`) while it waits for a stream whose holder (`getline`) waits for the
//! heap: a deadlock. So hz3 takes it before the heap's locks; it is recursive, and `fork` takes it
//! once more. Only glibc has these three functions. musl needs none, because it allocates nothing
//! while it holds its own locks around a fork.

use super::weak::weak_address;

type Function = extern "C" fn();

/// Takes the lock; [`unlock_list`] or [`reset_list`] releases it.
pub(crate) fn lock_list() {
    call(weak_address!("_IO_list_lock"));
}

/// Releases the lock in the parent.
pub(crate) fn unlock_list() {
    call(weak_address!("_IO_list_unlock"));
}

/// Resets the lock to free, in a forked child.
pub(crate) fn reset_list() {
    call(weak_address!("_IO_list_resetlock"));
}

/// Calls the function at this address, unless the address is 0.
fn call(address: usize) {
    // SAFETY: the address is 0 or that of a function of glibc that takes and returns nothing.
    let function = unsafe { core::mem::transmute::<usize, Option<Function>>(address) };
    if let Some(function) = function {
        function();
    }
}
