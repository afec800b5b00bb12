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
use crate::options::{Config, ProcessPath};

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
/// this one for a label. Not inlined: the paths take much of the stack.
#[inline(never)]
pub(super) fn write(fill: impl FnOnce(&mut Sink, Option<u32>)) {
    // A copy, because the file is written without the lock.
    let Some(path) = GLOBAL.config.lock().as_ref().and_then(|config| config.metrics) else {
        return;
    };
    let path = process::own_path(&path);
    if let Err(reason) = replace_whole(&path, fill)
        && !HAS_COMPLAINED.swap(true, Ordering::Relaxed)
    {
        let rest = "; wrote nothing, will try again";
        report::complain("HZ3_METRICS", path.as_c_str(), reason, rest);
    }
}

fn replace_whole(
    path: &ProcessPath,
    fill: impl FnOnce(&mut Sink, Option<u32>),
) -> Result<(), &'static str> {
    // A rename would replace a device or a FIFO too.
    report::check_replaceable(path.as_c_str())?;
    let beside = path.beside(process::id());
    let written = report::replace(beside.as_c_str(), report::FOR_ALL, |file| {
        let mut sink = Sink { file, has_failed: false, buffer: FixedBuffer::new() };
        fill(&mut sink, path.is_of_one_process().then(process::id));
        sink.end()
    });
    written.and_then(|()| report::rename(beside.as_c_str(), path.as_c_str())).inspect_err(|_| {
        file::unlink(beside.as_c_str());
    })
}

/// The file, which takes the text a part at a time.
pub(super) struct Sink {
    file: c_int,
    has_failed: bool,
    buffer: FixedBuffer<1024>,
}

impl Sink {
    fn flush(&mut self) {
        self.has_failed |= !file::write_all(self.file, self.buffer.as_bytes());
        self.buffer = FixedBuffer::new();
    }

    /// Writes what is left; returns whether all was written.
    fn end(mut self) -> bool {
        self.flush();
        !self.has_failed
    }
}

impl Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.buffer.as_bytes().len() + text.len() > 1024 {
            self.flush();
        }
        self.buffer.push(text.as_bytes());
        Ok(())
    }
}
