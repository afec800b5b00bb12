//! The heap profile: which code holds the memory.
//!
//! Samples of allocations, each with its stack, give unbiased estimates of the objects and bytes
//! that each place in the program allocated and still holds. A process that does not profile pays
//! nothing. `HZ3_PROFILE` starts the profile with the process; these functions do so in a running
//! one.
//!
//! ```no_run
//! hz3::profile::start(512 * 1024);
//! // ... the program works ...
//! hz3::profile::write_pprof(c"/tmp/heap.pb.gz").expect("a profile");
//! hz3::profile::stop();
//! ```
//!
//! The file is read by `pprof` and by `hz3 profile`. Its sample types are `alloc_objects`,
//! `alloc_space`, `inuse_objects` and `inuse_space`, and two more. `pinned_space` is memory that
//! is resident only because blocks of a site lie in its pages. `lifetime` is the sum of the ages at
//! which blocks were freed; divided by `alloc_objects - inuse_objects` it is the mean.
//!
//! The functions may be called from any thread, but not from a signal handler that interrupted
//! malloc or free; there they do nothing.

use core::ffi::CStr;

use crate::thread::profile;
pub use crate::thread::profile::ProfileError;

/// Starts sampling, or goes on after [`stop`], with a mean of `rate` bytes between two samples.
///
/// Earlier samples are kept. A rate of 0 stands for the present one, at first
/// `HZ3_PROFILE_RATE` or 512 KiB. Returns false if the system has no memory for the tables (about
/// 16 MiB of address space, of which little is touched).
pub fn start(rate: u32) -> bool {
    profile::start(u64::from(rate))
}

/// Ends sampling. Blocks that were sampled are followed until they are freed.
pub fn stop() {
    profile::stop();
}

/// Replaces a regular file by the profile, in the format of pprof.
///
/// # Errors
/// [`ProfileError`]: the profile was never started, or the file cannot be written.
pub fn write_pprof(path: &CStr) -> Result<(), ProfileError> {
    profile::write(path)
}
