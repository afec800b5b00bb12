//! Ends the process: writes a line to stderr without allocating, then raises SIGABRT.

use core::fmt::Write;

use super::syscall::syscall;
use super::{held, lock_list};
use crate::base::fixed_buffer::FixedBuffer;

/// Ends the process because the program misused the heap: writes one line with the reason and the
/// address to stderr, then aborts.
#[cold]
pub fn fatal(what: &str, address: usize) -> ! {
    die(format_args!("{what}: {address:#x}"))
}

/// Ends the process as [`fatal`] does, for an address in a slab. The line also has the size of the
/// slab's blocks, and the state of the block or the reason why there is none.
#[cold]
pub(crate) fn fatal_small(what: &str, block_bytes: usize, state: &str, address: usize) -> ! {
    die(format_args!("{what}: {block_bytes} bytes, {state}: {address:#x}"))
}

/// Ends the process as [`fatal`] does, for a block that is not of the class of the given `size`.
#[cold]
pub(crate) fn fatal_size(size: usize, block_bytes: usize, address: usize) -> ! {
    die(format_args!(
        "free with a wrong size: {size} bytes, a block of {block_bytes}: {address:#x}"
    ))
}

/// Ends the process because of a panic: the line has its message and its source location.
#[cfg(feature = "check")]
#[cold]
pub fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
    let (file, line) = info.location().map_or(("", 0), |place| (place.file(), place.line()));
    die(format_args!("internal error: {} ({file}:{line})", info.message()))
}

fn die(what: core::fmt::Arguments<'_>) -> ! {
    let mut line = FixedBuffer::<256>::new();
    // Writing to a `FixedBuffer` never fails.
    let _ = match lock_list::held_name() {
        None => writeln!(line, "hz3: {what}"),
        // Only with the feature `check`.
        Some(lock) => writeln!(line, "hz3: {what} (`abort` while `{lock}` is held)"),
    };
    let bytes = line.as_bytes();
    let [file, start] =
        [libc::STDERR_FILENO.cast_unsigned() as usize, bytes.as_ptr().expose_provenance()];
    // An error is ignored, because it cannot be reported anywhere.
    // SAFETY: the buffer is initialised.
    let _ = unsafe { syscall(libc::SYS_write, [file, start, bytes.len(), 0, 0, 0]) };
    end()
}

/// Ends the process after a report: raises SIGABRT.
pub(crate) fn end() -> ! {
    // A handler of SIGABRT may allocate, fork or exit. It must not wait for a lock that this thread
    // holds.
    held::begin_operation();
    // Unlike `std::process::abort` this raises SIGABRT, as debuggers and supervisors expect of an
    // allocator.
    // SAFETY: abort has no precondition.
    unsafe { libc::abort() }
}
