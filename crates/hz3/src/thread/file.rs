//! Small files of the system, read without allocating.

use core::ffi::CStr;

/// The first bytes of a file, as many as one read gives; none when it cannot be read.
pub(super) fn read_start<'a>(path: &CStr, room: &'a mut [u8]) -> &'a [u8] {
    // SAFETY: the path is a NUL-terminated string.
    let file = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if file < 0 {
        return &[];
    }
    // SAFETY: the buffer is valid for writing that many bytes.
    let read = unsafe { libc::read(file, room.as_mut_ptr().cast(), room.len()) };
    // SAFETY: the file was opened above.
    unsafe { libc::close(file) };
    &room[..usize::try_from(read).unwrap_or(0)]
}
