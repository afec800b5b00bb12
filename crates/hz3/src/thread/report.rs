//! The report at exit, and what the system says of the process. Nothing here allocates.

use core::ffi::c_int;
use core::fmt::Write;

use crate::base::fatal::Line;
use crate::options::Report;
use crate::stats::Stats;

/// Writes the statistics where the report is to go.
pub(crate) fn write(stats: &Stats, report: &Report) {
    let mut line = Line::<4096>::new();
    match report {
        Report::None => return,
        Report::Text => {
            let _ = writeln!(line, "hz3: {stats}");
        }
        Report::Json | Report::File(_) => {
            // `Line` never fails; it cuts.
            let _ = stats.write_json(&mut line);
            let _ = line.write_char('\n');
        }
    }
    if let Report::File(path) = report {
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
        // SAFETY: the path is NUL-terminated: `options` leaves room for that.
        let file = unsafe { libc::open(path.as_ptr().cast(), flags, 0o644) };
        if file >= 0 {
            put(file, line.as_bytes());
            // SAFETY: the file was opened above.
            unsafe { libc::close(file) };
        }
    } else {
        line.print();
    }
}

/// One write, so that lines of several processes do not mix.
fn put(file: c_int, bytes: &[u8]) {
    // SAFETY: the bytes are valid for reading.
    unsafe { libc::write(file, bytes.as_ptr().cast(), bytes.len()) };
}

/// The resident set of the process in bytes, from `/proc/self/statm`; 0 when that is not there.
pub(crate) fn resident_bytes() -> u64 {
    // SAFETY: the path is a NUL-terminated string.
    let file =
        unsafe { libc::open(c"/proc/self/statm".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if file < 0 {
        return 0;
    }
    let mut text = [0u8; 128];
    // SAFETY: the buffer is valid for writing that many bytes.
    let read = unsafe { libc::read(file, text.as_mut_ptr().cast(), text.len()) };
    // SAFETY: the file was opened above.
    unsafe { libc::close(file) };
    let text = &text[..usize::try_from(read).unwrap_or(0)];
    let mut fields = text.split(|&byte| byte == b' ');
    let pages = fields.nth(1).and_then(|field| core::str::from_utf8(field).ok());
    let pages: u64 = pages.and_then(|field| field.parse().ok()).unwrap_or(0);
    // SAFETY: sysconf has no precondition.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages * u64::try_from(page).unwrap_or(4096)
}
