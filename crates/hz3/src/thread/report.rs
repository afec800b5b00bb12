//! Writes the report at exit, and reads the process's resident set, without allocating.

use core::ffi::{CStr, c_int};
use core::fmt::Write;
use core::mem::MaybeUninit;

use super::file::{self, read_start};
use crate::base::fixed_buffer::FixedBuffer;
use crate::heap::Heap;
use crate::options::{Report, write_bytes};
use crate::os::errno;
use crate::os::linux::Linux;
use crate::stats::Stats;

/// The most bytes of a report.
const REPORT_BYTES: usize = 4096;
/// Modes of new files: readable for all users, or for the process's user alone.
pub(super) const FOR_ALL: libc::mode_t = 0o644;
pub(super) const PRIVATE: libc::mode_t = 0o600;

/// Writes the statistics where the option says; a text report also has the lines of an experiment.
pub(crate) fn write(heap: &Heap<Linux>, stats: &Stats, report: &Report) {
    let mut line = FixedBuffer::<REPORT_BYTES>::new();
    match report {
        Report::None => return,
        Report::Text => {
            let _ = writeln!(line, "hz3: {stats}");
            let _ = heap.write_experiment_lines(&mut line, stats);
        }
        Report::Json | Report::File(_) => {
            // Writing to a `FixedBuffer` never fails.
            let _ = stats.write_json(&mut line);
            let _ = line.write_char('\n');
        }
    }
    match report {
        Report::File(path) => {
            if let Err(reason) = append(path.as_c_str(), line.as_bytes()) {
                let rest = " to append to; wrote nothing";
                complain("HZ3_STATS", path.as_c_str(), reason, rest);
            }
        }
        _ => line.print(),
    }
}

/// Appends the text to a regular file, in one write, so that lines of two processes do not mix.
fn append(path: &CStr, text: &[u8]) -> Result<(), &'static str> {
    let (file, _) = open_regular(path, libc::O_APPEND, FOR_ALL)?;
    let written = match usize::try_from(file::write(file, text)) {
        Ok(written) if written == text.len() => Ok(()),
        Ok(_) => Err("it takes only a part of the text"),
        Err(_) => Err(last_error()),
    };
    file::close(file);
    written
}

/// Replaces the contents of a regular file, which is created with the mode if necessary. `write`
/// returns false on an error, which `errno` names.
pub(super) fn replace(
    path: &CStr,
    mode: libc::mode_t,
    write: impl FnOnce(c_int) -> bool,
) -> Result<(), &'static str> {
    let file = open_to_replace(path, mode)?;
    let written = if write(file) { Ok(()) } else { Err(last_error()) };
    file::close(file);
    written
}

/// Opens a regular file and empties it; it is created with the mode if necessary. The caller closes
/// it.
#[inline(never)]
pub(super) fn open_to_replace(path: &CStr, mode: libc::mode_t) -> Result<c_int, &'static str> {
    let (file, bytes) = open_regular(path, 0, mode)?;
    // ext4 writes a file that was truncated to the disk when it is closed: a new one is not.
    if bytes == 0 || file::truncate(file) {
        return Ok(file);
    }
    let reason = last_error();
    file::close(file);
    Err(reason)
}

/// Gives the file `from` the name `to`.
pub(super) fn rename(from: &CStr, to: &CStr) -> Result<(), &'static str> {
    if file::rename(from, to) { Ok(()) } else { Err(last_error()) }
}

/// Refuses a path at which there is something other than a regular file.
pub(super) fn check_replaceable(path: &CStr) -> Result<(), &'static str> {
    let mut status = MaybeUninit::<libc::stat>::uninit();
    let (directory, flags) = (libc::AT_FDCWD, libc::AT_SYMLINK_NOFOLLOW);
    // SAFETY: the path is a terminated string, and the structure is valid for writing.
    if unsafe { libc::fstatat(directory, path.as_ptr(), status.as_mut_ptr(), flags) } != 0 {
        return if errno::get() == libc::ENOENT { Ok(()) } else { Err(last_error()) };
    }
    // SAFETY: fstatat succeeded, so it filled the structure.
    match unsafe { status.assume_init() }.st_mode & libc::S_IFMT {
        libc::S_IFREG => Ok(()),
        libc::S_IFLNK => Err("it is a symbolic link"),
        _ => Err("it is not a regular file"),
    }
}

/// Opens a regular file for writing, without following links. Also returns its length in bytes. The
/// caller closes it.
fn open_regular(
    path: &CStr,
    flags: c_int,
    mode: libc::mode_t,
) -> Result<(c_int, libc::off_t), &'static str> {
    // Without blocking: a FIFO without a reader must not keep the process from ending.
    let flags = flags
        | libc::O_WRONLY
        | libc::O_CREAT
        | libc::O_CLOEXEC
        | libc::O_NOFOLLOW
        | libc::O_NONBLOCK
        | libc::O_NOCTTY;
    let Some(file) = file::open_with(path, flags, mode) else { return Err(last_error()) };
    let bytes = regular_bytes(file).inspect_err(|_| file::close(file))?;
    Ok((file, bytes))
}

/// Returns the length of a regular file; an error for any other one.
fn regular_bytes(file: c_int) -> Result<libc::off_t, &'static str> {
    let mut status = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the structure is valid for writing.
    if unsafe { libc::fstat(file, status.as_mut_ptr()) } != 0 {
        return Err(last_error());
    }
    // SAFETY: fstat succeeded, so it filled the structure.
    let status = unsafe { status.assume_init() };
    if status.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err("it is not a regular file");
    }
    Ok(status.st_size)
}

/// Describes the error of the last failed call of the C library, for a file.
pub(super) fn last_error() -> &'static str {
    match errno::get() {
        libc::ENOENT | libc::ENOTDIR => "its directory does not exist",
        libc::EACCES | libc::EPERM | libc::EROFS => "it may not be written to",
        libc::EISDIR | libc::ENXIO | libc::ENODEV => "it is not a regular file",
        libc::ELOOP => "it is a symbolic link",
        libc::ENOSPC | libc::EDQUOT | libc::EFBIG => "there is no room",
        libc::EMFILE | libc::ENFILE => "too many files are open",
        _ => "the system refuses it",
    }
}

/// Says on stderr why the file that an option names was not written. The line ends with
/// "expected a regular file" and `rest`.
#[cold]
#[inline(never)]
pub(super) fn complain(option: &str, path: &CStr, reason: &str, rest: &str) {
    let mut line = FixedBuffer::<512>::new();
    // Writing to a `FixedBuffer` never fails.
    let _ = write!(line, "hz3: {option}=");
    let _ = write_bytes(&mut line, path.to_bytes());
    let _ = writeln!(line, ": {reason}; expected a regular file{rest}");
    line.print();
}

/// Says on stderr why there is no report: the heap is in use and cannot be read.
pub(crate) fn refuse() {
    let mut line = FixedBuffer::<128>::new();
    let _ = line.write_str("hz3: no report: the process ends inside a call of malloc or free\n");
    line.print();
}

/// Returns the resident set of the process in bytes, from `/proc/self/statm`; 0 if unknown.
pub(crate) fn resident_bytes() -> u64 {
    let mut text = [0u8; 128];
    let text = read_start(c"/proc/self/statm", &mut text);
    let mut fields = text.split(|&byte| byte == b' ');
    let pages = fields.nth(1).and_then(|field| core::str::from_utf8(field).ok());
    let pages: u64 = pages.and_then(|field| field.parse().ok()).unwrap_or(0);
    // SAFETY: sysconf has no precondition.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages * u64::try_from(page).unwrap_or(4096)
}
