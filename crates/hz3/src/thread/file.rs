//! Opens, reads and writes files without allocating.
//!
//! It uses `syscall`, because `open`, `read`, `write` and `close` of the C library are cancellation
//! points. A thread whose cancellation is pending must not end inside the allocator, with an open
//! file or a held lock.

use core::ffi::{CStr, c_int, c_long};

use crate::os::errno;

/// The longest line that is read, in bytes. The rest of a longer line is dropped.
const LINE_BYTES: usize = 1024;
/// The bytes of the buffer for a line and the next part of the file.
pub(super) const LINES_ROOM: usize = 2 * LINE_BYTES;

/// A file was not read, because no descriptor or no memory was left: it may well exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unread;

/// After a call that failed: returns that nothing was read, or that nothing could be.
fn nothing<T: Default>() -> Result<T, Unread> {
    match errno::get() {
        libc::EMFILE | libc::ENFILE | libc::ENOMEM => Err(Unread),
        _ => Ok(T::default()),
    }
}

/// Returns the first bytes of a file, from one read; returns none if the file cannot be read.
pub(super) fn read_start<'a>(path: &CStr, room: &'a mut [u8]) -> &'a [u8] {
    try_read_start(path, room).unwrap_or_default()
}

/// Reads as [`read_start`] does, but tells a file that was not read from one that does not exist.
pub(super) fn try_read_start<'a>(path: &CStr, room: &'a mut [u8]) -> Result<&'a [u8], Unread> {
    let Some(file) = open(path) else { return nothing() };
    let read = read(file, room).map_or_else(nothing, Ok);
    close(file);
    Ok(&room[..read?])
}

/// Calls `take` with each line of a file, without the newline, in a buffer that the caller lends.
pub(super) fn each_line_in(room: &mut [u8; LINES_ROOM], path: &CStr, take: impl FnMut(&[u8])) {
    // A file that cannot be read has no lines.
    let _unread = try_each_line_in(room, path, take);
}

/// Reads as [`each_line_in`] does, but tells a file that was not read from one that does not exist.
/// Takes 2 KiB of the stack.
pub(super) fn try_each_line(path: &CStr, take: impl FnMut(&[u8])) -> Result<(), Unread> {
    try_each_line_in(&mut [0; LINES_ROOM], path, take)
}

fn try_each_line_in(
    room: &mut [u8; LINES_ROOM],
    path: &CStr,
    mut take: impl FnMut(&[u8]),
) -> Result<(), Unread> {
    let Some(file) = open(path) else { return nothing() };
    let (line, chunk) = room.split_at_mut(LINE_BYTES);
    let mut len = 0;
    let ended = loop {
        let read = match read(file, chunk) {
            Some(0) => break Ok(()),
            Some(read) => read,
            None => break nothing(),
        };
        for part in chunk[..read].split_inclusive(|&byte| byte == b'\n') {
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            let copied = text.len().min(LINE_BYTES - len);
            line[len..len + copied].copy_from_slice(&text[..copied]);
            len += copied;
            if text.len() < part.len() {
                take(&line[..len]);
                len = 0;
            }
        }
    };
    close(file);
    ended
}

fn open(path: &CStr) -> Option<c_int> {
    open_with(path, libc::O_RDONLY | libc::O_CLOEXEC, 0)
}

/// Opens a file; a created file gets the mode, less the process's mask. Sets `errno` on failure.
pub(super) fn open_with(path: &CStr, flags: c_int, mode: libc::mode_t) -> Option<c_int> {
    let directory = libc::AT_FDCWD;
    // SAFETY: the path is a terminated string.
    let file = unsafe { libc::syscall(libc::SYS_openat, directory, path.as_ptr(), flags, mode) };
    c_int::try_from(file).ok().filter(|&file| file >= 0)
}

/// Reads at most as many bytes as `room` has; returns 0 at the end of the file, and `None` on an
/// error, which `errno` names.
fn read(file: c_int, room: &mut [u8]) -> Option<usize> {
    // SAFETY: the buffer is valid for writing that many bytes.
    let read = unsafe { libc::syscall(libc::SYS_read, file, room.as_mut_ptr(), room.len()) };
    usize::try_from(read).ok()
}

/// Writes the text and returns the bytes written; on an error sets `errno` and returns a negative
/// number.
pub(super) fn write(file: c_int, text: &[u8]) -> c_long {
    // SAFETY: the bytes are valid for reading.
    unsafe { libc::syscall(libc::SYS_write, file, text.as_ptr(), text.len()) }
}

/// Closes a file, which the caller does not use again.
pub(super) fn close(file: c_int) {
    // SAFETY: the caller owns the file.
    unsafe { libc::syscall(libc::SYS_close, file) };
}

/// Writes all of the bytes; returns false on an error, which `errno` names.
pub(super) fn write_all(file: c_int, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match usize::try_from(write(file, bytes)) {
            Ok(written) if written > 0 => bytes = bytes.get(written..).unwrap_or_default(),
            _ => return false,
        }
    }
    true
}

/// Empties a file that is open for writing; returns false if the system refuses.
pub(super) fn truncate(file: c_int) -> bool {
    // SAFETY: the call takes no pointers.
    unsafe { libc::syscall(libc::SYS_ftruncate, file, 0) == 0 }
}

/// Gives a file another name, which may be that of a file; returns false on an error, which `errno`
/// names.
pub(super) fn rename(from: &CStr, to: &CStr) -> bool {
    let directory = libc::AT_FDCWD;
    let (from, to) = (from.as_ptr(), to.as_ptr());
    // SAFETY: both paths are terminated strings.
    unsafe { libc::syscall(libc::SYS_renameat2, directory, from, directory, to, 0) == 0 }
}

/// Removes a file, if there is one.
pub(super) fn unlink(path: &CStr) {
    // SAFETY: the path is a terminated string.
    unsafe { libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path.as_ptr(), 0) };
}

/// Returns the target of a symbolic link, as far as it fits.
pub(super) fn read_link<'a>(path: &CStr, room: &'a mut [u8]) -> &'a [u8] {
    let (directory, start) = (libc::AT_FDCWD, room.as_mut_ptr());
    // SAFETY: the path is a terminated string, and the buffer is valid for writing that many bytes.
    let read =
        unsafe { libc::syscall(libc::SYS_readlinkat, directory, path.as_ptr(), start, room.len()) };
    &room[..usize::try_from(read).unwrap_or(0)]
}

/// Reads memory of this process that may not be mapped; returns false if it is not.
pub(super) fn read_own_memory(address: usize, room: &mut [u8]) -> bool {
    let local = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    let start = core::ptr::with_exposed_provenance_mut(address);
    let remote = libc::iovec { iov_base: start, iov_len: room.len() };
    // SAFETY: getpid has no precondition.
    let own = unsafe { libc::getpid() };
    let (local, remote) = (&raw const local, &raw const remote);
    // `unsigned long` each: of a shorter seventh argument half would be any bits of the stack.
    let (count, flags) = (1_usize, 0_usize);
    // SAFETY: the kernel writes at most `room.len()` bytes into the buffer, and checks the rest.
    let read = unsafe {
        libc::syscall(libc::SYS_process_vm_readv, own, local, count, remote, count, flags)
    };
    usize::try_from(read) == Ok(room.len())
}

/// Returns the time since 1970 in nanoseconds.
pub(super) fn unix_time_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is valid for writing.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
