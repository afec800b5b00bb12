//! Small files of the system, read without allocating.

use core::ffi::{CStr, c_int};

/// Longest line that is read, in bytes; what is longer is cut off.
const LINE_BYTES: usize = 1024;

/// Returns the first bytes of a file, as many as one read gives; none when it cannot be read.
pub(super) fn read_start<'a>(path: &CStr, room: &'a mut [u8]) -> &'a [u8] {
    let Some(file) = open(path) else { return &[] };
    let read = read(file, room);
    close(file);
    &room[..read]
}

/// Calls `take` for each line of a file, without its end.
pub(super) fn each_line(path: &CStr, mut take: impl FnMut(&[u8])) {
    let Some(file) = open(path) else { return };
    let (mut line, mut len) = ([0; LINE_BYTES], 0);
    let mut chunk = [0; LINE_BYTES];
    loop {
        let read = read(file, &mut chunk);
        if read == 0 {
            break;
        }
        for &byte in &chunk[..read] {
            if byte == b'\n' {
                take(&line[..len]);
                len = 0;
            } else if len < LINE_BYTES {
                line[len] = byte;
                len += 1;
            }
        }
    }
    close(file);
}

fn open(path: &CStr) -> Option<c_int> {
    // SAFETY: the path is a terminated string.
    let file = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    (file >= 0).then_some(file)
}

/// Reads at most `room`; 0 at the end of the file or on an error.
fn read(file: c_int, room: &mut [u8]) -> usize {
    // SAFETY: the buffer is valid for writing that many bytes.
    let read = unsafe { libc::read(file, room.as_mut_ptr().cast(), room.len()) };
    usize::try_from(read).unwrap_or(0)
}

fn close(file: c_int) {
    // SAFETY: the file was opened by `open`, and is not used again.
    unsafe { libc::close(file) };
}
