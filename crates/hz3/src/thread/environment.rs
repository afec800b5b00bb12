//! The process's environment, read without the C library's help: the first allocation may come
//! before the library has set itself up.

use core::ffi::{CStr, c_char, c_int};

use crate::options::{Config, PREFIX, apply};

unsafe extern "C" {
    /// The C library's pointer to the environment; null until the library has started.
    static environ: *const *const c_char;
}

/// Longest entry that is read from the kernel's copy of the environment.
const ENTRY_BYTES: usize = 1024;

/// Applies every entry that is meant for hz3.
pub(crate) fn read(config: &mut Config) {
    // SAFETY: a variable of the C library. Nobody else runs before the first allocation; a later
    // `setenv` in another thread would race, as it would with any `getenv`.
    let entries = unsafe { environ };
    if entries.is_null() {
        read_from_kernel(config);
        return;
    }
    let mut next = entries;
    loop {
        // SAFETY: the array ends with a null pointer, which was not reached yet.
        let entry = unsafe { *next };
        if entry.is_null() {
            return;
        }
        // SAFETY: an entry is a NUL-terminated string.
        apply(config, unsafe { CStr::from_ptr(entry) }.to_bytes());
        next = next.wrapping_add(1);
    }
}

/// Reads `/proc/self/environ`, entry by entry; what is longer than [`ENTRY_BYTES`] is cut off.
fn read_from_kernel(config: &mut Config) {
    // SAFETY: the path is a NUL-terminated string.
    let file =
        unsafe { libc::open(c"/proc/self/environ".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if file < 0 {
        return;
    }
    let mut entry = [0u8; ENTRY_BYTES];
    let mut len = 0;
    let mut chunk = [0u8; 4096];
    while let Some(bytes) = read_chunk(file, &mut chunk) {
        for &byte in bytes {
            if byte != 0 {
                if len < ENTRY_BYTES {
                    entry[len] = byte;
                }
                len += 1;
                continue;
            }
            let whole = &entry[..len.min(ENTRY_BYTES)];
            if whole.starts_with(PREFIX) {
                apply(config, whole);
            }
            len = 0;
        }
    }
    // SAFETY: the file was opened above.
    unsafe { libc::close(file) };
}

/// The next bytes of a file; `None` at its end or on an error.
fn read_chunk(file: c_int, chunk: &mut [u8; 4096]) -> Option<&[u8]> {
    // SAFETY: the buffer is valid for writing that many bytes.
    let read = unsafe { libc::read(file, chunk.as_mut_ptr().cast(), chunk.len()) };
    let read = usize::try_from(read).ok()?;
    (read > 0).then(|| &chunk[..read])
}
