//! The Rust API. `system.rs` has the same items for systems that hz3 does not support.

mod global_alloc;
pub mod profile;

use core::ffi::c_void;

use crate::stats::{Stats, Utilization};
use crate::{raw, thread};

pub use global_alloc::{Configured, Hz3};

/// Gives all free memory back to the system and returns the bytes given back.
///
/// That is the blocks in the caches of all threads, including running ones, the empty slabs and the
/// free pages. Any thread may call it. A cache that its owner is refilling is skipped.
pub fn collect() -> usize {
    thread::collect(0)
}

/// Returns what the heap holds and what it has done so far.
pub fn stats() -> Stats {
    thread::stats()
}

/// Returns how full the slab of a block is, for a program that moves blocks out of sparse slabs.
/// `None` if no block of hz3's starts at the address, which may be any, or if it is free.
///
/// A block in a cache looks like one in use and counts as used; [`collect`] empties the caches. A
/// large block (more than 32 KiB) is alone. Allocations prefer cached blocks, then part-used slabs,
/// the fullest first. So call [`collect`], copy the blocks of sparse slabs, and free the old ones
/// after the last copy.
pub fn utilization(block: *const u8) -> Option<Utilization> {
    thread::utilization(block.addr())
}

/// Sets the function that is called with the requested bytes before the memory limit makes an
/// allocation fail; `None` for none. After it has freed memory the allocation is tried once more.
///
/// It may run on several threads at once, also on one that holds a lock. So it must not wait for a
/// lock that a caller of the allocator or of the C library may hold, and it does not unwind. It may
/// allocate; a failure inside it calls nothing. After a call that made no room, there is none for
/// 100 ms unless memory came back to the heap. [`LimitMode::Reclaim`](crate::LimitMode::Reclaim)
/// calls nothing.
pub fn on_limit(function: Option<fn(usize)>) {
    /// Calls the function whose address is `function`.
    unsafe extern "C" fn call(wanted: usize, function: *mut c_void) {
        // SAFETY: below, `function` is made of such a function.
        let function = unsafe { core::mem::transmute::<*mut c_void, fn(usize)>(function) };
        function(wanted);
    }
    let (function, context) = match function {
        Some(function) => (Some(call as raw::OnLimit), function as *mut c_void),
        None => (None, core::ptr::null_mut()),
    };
    // SAFETY: a function lives for ever. If it unwinds, `call` ends the process.
    unsafe { raw::on_limit(function, context) };
}

/// Options of a running process, and commands to it.
///
/// The options are `tick_ms` (1 to 60,000), `policy` (`default` or `off`), `limit` (as
/// `HZ3_LIMIT`), `limit_mode` (`fail` or `reclaim`), `pressure` (`0` or `1`), `profile_rate` and
/// `profile_path` (as `HZ3_PROFILE_RATE` and `HZ3_PROFILE`), `metrics` and `metrics_ms`.
pub mod control {
    /// Sets an option of the running heap, or obeys a command. `purge` (`now`) gives back all free
    /// memory, as [`collect`](crate::collect) does. `profile` is `on`, `off`, or `write`, which
    /// replaces the file at `profile_path`. `profile_to` (an absolute path) replaces the file
    /// there.
    ///
    /// # Errors
    /// Says what is wrong, and changes nothing.
    pub fn set(name: &str, value: &str) -> Result<(), crate::ControlError> {
        crate::thread::control::set(name.as_bytes(), value.as_bytes())
    }
}
