//! The one way to die: a line on stderr, written without allocating, then SIGABRT.

use core::fmt::Write;

use super::syscall::syscall;
use super::{held, order};
use crate::base::fixed_buffer::FixedBuffer;

/// Ends the process because the program broke a rule of the heap: one line on stderr that names
/// the address and the reason, then `abort`.
#[cold]
pub fn fatal(what: &str, address: usize) -> ! {
    die(format_args!("{what}: {address:#x}"))
}

/// As [`fatal`], for an address in a slab: the line also names the size of the slab's blocks and the
/// state of the block, or why there is none.
#[cold]
pub(crate) fn fatal_small(what: &str, block_bytes: usize, state: &str, address: usize) -> ! {
    die(format_args!("{what}: {block_bytes} bytes, {state}: {address:#x}"))
}

/// As [`fatal`], for a block that is freed as one of `size` bytes and is of another class.
#[cold]
pub(crate) fn fatal_size(size: usize, block_bytes: usize, address: usize) -> ! {
    die(format_args!(
        "free with a wrong size: {size} bytes, a block of {block_bytes}: {address:#x}"
    ))
}

/// Ends the process because of a panic: the line has its message and its place.
#[cfg(feature = "check")]
#[cold]
pub fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
    let (file, line) = info.location().map_or(("", 0), |place| (place.file(), place.line()));
    die(format_args!("internal error: {} ({file}:{line})", info.message()))
}

fn die(what: core::fmt::Arguments<'_>) -> ! {
    let mut line = FixedBuffer::<256>::new();
    // `Line` never fails; it cuts.
    let _ = match order::held_name() {
        None => writeln!(line, "hz3: {what}"),
        // In a build that checks itself.
        Some(lock) => writeln!(line, "hz3: {what} (`abort` while `{lock}` is held)"),
    };
    let bytes = line.as_bytes();
    let [file, start] =
        [libc::STDERR_FILENO.cast_unsigned() as usize, bytes.as_ptr().expose_provenance()];
    // SAFETY: the buffer is initialised. An error is ignored: there is nobody left to tell.
    let _ = unsafe { syscall(libc::SYS_write, [file, start, bytes.len(), 0, 0, 0]) };
    // A handler of SIGABRT may allocate, fork or exit, whatever this thread was just doing.
    held::begin_operation();
    // SAFETY: abort has no precondition; unlike `std::process::abort` it raises SIGABRT, which
    // is what debuggers and supervisors expect of an allocator.
    unsafe { libc::abort() }
}
