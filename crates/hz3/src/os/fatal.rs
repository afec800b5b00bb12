//! The one way to die: a line on stderr, written without allocating, then SIGABRT.

use core::fmt::Write;

use super::syscall::syscall;
use super::thread;
use crate::base::line::Line;

/// How long the program's handler of SIGABRT has on another thread.
const PATIENCE_MS: u32 = 1000;

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

fn die(what: core::fmt::Arguments<'_>) -> ! {
    let mut line = Line::<256>::new();
    // `Line` never fails; it cuts.
    let _ = writeln!(line, "hz3: {what}");
    let bytes = line.as_bytes();
    let [file, start] =
        [libc::STDERR_FILENO.cast_unsigned() as usize, bytes.as_ptr().expose_provenance()];
    // Not by `Line::print`: this may be the thread that the C library does not know.
    // SAFETY: the buffer is initialised. An error is ignored: there is nobody left to tell.
    let _ = unsafe { syscall(libc::SYS_write, [file, start, bytes.len(), 0, 0, 0]) };
    if thread::is_current() {
        abort_on_bare_thread()
    }
    // SAFETY: abort has no precondition; unlike `std::process::abort` it raises SIGABRT, which
    // is what debuggers and supervisors expect of an allocator.
    unsafe { libc::abort() }
}

/// Ends the process from the thread that has no thread-local memory: a handler of the program could
/// not run here. First another thread gets the signal; if the process lives on, its handler is gone
/// and this thread takes the signal.
fn abort_on_bare_thread() -> ! {
    let signal = libc::SIGABRT.cast_unsigned() as usize;
    // SAFETY: getpid has no precondition.
    let process = unsafe { syscall(libc::SYS_getpid, [0; 6]) }.unwrap_or(0);
    loop {
        // SAFETY: sends a signal to this process, which is to end.
        let _ = unsafe { syscall(libc::SYS_kill, [process, signal, 0, 0, 0, 0]) };
        thread::sleep_ms(PATIENCE_MS);
        // The kernel's structure for the default action: four words of zero.
        let default = [0usize; 4];
        let (action, set) = ((&raw const default).expose_provenance(), size_of::<u64>());
        // SAFETY: the structure is valid; the old action is not asked for.
        let _ = unsafe { syscall(libc::SYS_rt_sigaction, [signal, action, 0, set, 0, 0]) };
        thread::block_signals(0);
    }
}
