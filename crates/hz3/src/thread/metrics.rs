//! The statistics as `OpenMetrics` text in a file, for Prometheus' node exporter and what reads it.
//!
//! The thread that updates the statistics page writes the file, at most once in `HZ3_METRICS_MS`:
//! the reclaimer, or a slow path where there is none. A reclaimer writes it once more before it
//! rests. The text goes to a second file in the same directory, which then takes the first one's
//! name, so that a reader sees a whole text. Nothing here allocates or takes a lock.

use core::ffi::c_int;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::{GLOBAL, file, process, report};
use crate::base::fixed_buffer::FixedBuffer;
use crate::options::{Config, ReportPath};

/// Milliseconds between two writes; 0 if no file is configured.
static PERIOD_MS: AtomicU32 = AtomicU32::new(0);
/// When the next write is due, in nanoseconds of the monotonic clock. Only the thread that writes
/// the statistics page uses it.
static NEXT_NS: AtomicU64 = AtomicU64::new(0);
/// Whether a failure was reported.
static HAS_COMPLAINED: AtomicBool = AtomicBool::new(false);

/// Takes the options from a new or changed configuration. The next update of the page writes.
pub(super) fn configure(config: &Config) {
    let period = config.metrics.map_or(0, |_| config.metrics_ms.get());
    PERIOD_MS.store(period, Ordering::Relaxed);
    NEXT_NS.store(0, Ordering::Relaxed);
    HAS_COMPLAINED.store(false, Ordering::Relaxed);
}

/// Returns the milliseconds between two writes; 0 if no file is configured.
pub(super) fn period_ms() -> u32 {
    PERIOD_MS.load(Ordering::Relaxed)
}

/// Returns whether the file is to be written now: a period has passed, or the caller `rests` and
/// will not come again for a while.
pub(super) fn take_due(now_ns: u64, rests: bool) -> bool {
    let period_ns = u64::from(period_ms()) * 1_000_000;
    let is_due = period_ns > 0 && (rests || now_ns >= NEXT_NS.load(Ordering::Relaxed));
    if is_due {
        NEXT_NS.store(now_ns + period_ns, Ordering::Relaxed);
    }
    is_due
}

/// Replaces the file by what `fill` writes. If several processes write files, it gets the number of
/// this one for a label.
///
/// The caller may be a thread with a small stack, so the paths are not on it while `fill` runs.
#[inline(never)]
pub(super) fn write(fill: impl FnOnce(&mut Sink, Option<u32>)) {
    // A copy, because the file is written without the lock.
    let Some(path) = GLOBAL.config.lock().as_ref().and_then(|config| config.metrics) else {
        return;
    };
    let written = open_beside(&path).and_then(|(file, has_number)| {
        let written = fill_file(file, has_number.then(process::id), fill);
        file::close(file);
        rename_or_unlink(&path, written)
    });
    if let Err(reason) = written
        && !HAS_COMPLAINED.swap(true, Ordering::Relaxed)
    {
        complain(&path, reason);
    }
}

/// Opens the second file. Also returns whether other processes write to other files.
#[inline(never)]
fn open_beside(path: &ReportPath) -> Result<(c_int, bool), &'static str> {
    let path = process::own_path(path);
    // A rename would replace a device or a FIFO too.
    report::check_replaceable(path.as_c_str())?;
    let beside = path.beside(process::id());
    match report::open_to_replace(beside.as_c_str(), report::FOR_ALL) {
        Ok(file) => Ok((file, path.is_of_one_process())),
        Err(reason) => {
            file::unlink(beside.as_c_str());
            Err(reason)
        }
    }
}

#[inline(never)]
fn fill_file(
    file: c_int,
    pid: Option<u32>,
    fill: impl FnOnce(&mut Sink, Option<u32>),
) -> Result<(), &'static str> {
    let mut sink = Sink { file, error: None, buffer: FixedBuffer::new() };
    fill(&mut sink, pid);
    sink.flush();
    sink.error.map_or(Ok(()), Err)
}

/// Gives the second file the name of the first one, or removes it if it was not written.
#[inline(never)]
fn rename_or_unlink(
    path: &ReportPath,
    written: Result<(), &'static str>,
) -> Result<(), &'static str> {
    let path = process::own_path(path);
    let beside = path.beside(process::id());
    written.and_then(|()| report::rename(beside.as_c_str(), path.as_c_str())).inspect_err(|_| {
        file::unlink(beside.as_c_str());
    })
}

#[cold]
#[inline(never)]
fn complain(path: &ReportPath, reason: &str) {
    let path = process::own_path(path);
    report::complain("HZ3_METRICS", path.as_c_str(), reason, "; wrote nothing, will try again");
}

/// Bytes that are written at once.
const PART_BYTES: usize = 256;

/// The file, which takes the text a part at a time.
pub(super) struct Sink {
    file: c_int,
    /// Why the first write failed that did.
    error: Option<&'static str>,
    buffer: FixedBuffer<PART_BYTES>,
}

impl Sink {
    fn flush(&mut self) {
        if !file::write_all(self.file, self.buffer.as_bytes()) {
            self.error = self.error.or(Some(report::last_error()));
        }
        self.buffer.clear();
    }
}

impl Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.as_bytes().chunks(PART_BYTES) {
            if self.buffer.as_bytes().len() + part.len() > PART_BYTES {
                self.flush();
            }
            self.buffer.push(part);
        }
        Ok(())
    }
}
