//! The statistics as `OpenMetrics` text in a file, for Prometheus' node exporter and what reads it.
//!
//! The thread that updates the statistics page writes the file, at most once in `HZ3_METRICS_MS`:
//! the reclaimer, or a slow path where there is none. A reclaimer that rests has written it before.
//! The names are those that `hz3 metrics` prints. The text goes to a file beside it, which then
//! takes its name, so that a reader sees a whole text. Nothing here allocates or takes a lock.

use core::ffi::{CStr, c_int};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::{GLOBAL, file, process, report};
use crate::base::fixed_buffer::FixedBuffer;
use crate::options::{Config, ProcessPath, write_bytes};

/// The values that only grow. All others are gauges.
const COUNTERS: [&str; 25] = [
    "requests",
    "frees",
    "refills",
    "flushes",
    "large_allocs",
    "large_frees",
    "huge_allocs",
    "ticks",
    "stolen_bytes",
    "idle_class_bytes",
    "retired_bytes",
    "madvise_calls",
    "madvise_refused",
    "purged_bytes",
    "hole_bytes",
    "time_ns",
    "refaulted_bytes",
    "prefaulted_bytes",
    "reliefs",
    "contended_caches",
    "contended_transfers",
    "contended_bins",
    "contended_pages",
    "updates",
    "update_ns",
];
/// The gauges that are no bytes.
const NUMBERS: [&str; 5] = ["threads", "segments", "slabs", "tick_ms", "reclaimer"];
/// The values that only readers of the page need, and one that is written apart.
const LEFT_OUT: [&str; 4] = ["updated_ns", "slow_ns", "threads_shown", "resident"];
/// The first and the last counter of the experiments, which are left out.
const EXPERIMENTS: [&str; 2] = ["epochs", "exit_segments"];

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

/// Replaces the file by what `fill` writes. Not inlined: the paths take much of the stack.
#[inline(never)]
pub(super) fn write(fill: impl FnOnce(&mut Text)) {
    // A copy, because the file is written without the lock.
    let Some(path) = GLOBAL.start.lock().and_then(|config| config.metrics) else { return };
    let path = process::own_path(&path);
    if let Err(reason) = replace_whole(&path, fill)
        && !HAS_COMPLAINED.swap(true, Ordering::Relaxed)
    {
        complain(path.as_c_str(), reason);
    }
}

fn replace_whole(path: &ProcessPath, fill: impl FnOnce(&mut Text)) -> Result<(), &'static str> {
    // A rename would replace a device or a FIFO too.
    report::check_replaceable(path.as_c_str())?;
    let beside = path.beside(process::id());
    let written = report::replace(beside.as_c_str(), |file| {
        let pid = path.is_of_one_process().then(process::id);
        let mut text = Text { file, pid, has_failed: false, buffer: FixedBuffer::new() };
        fill(&mut text);
        text.end()
    });
    written.and_then(|()| report::rename(beside.as_c_str(), path.as_c_str())).inspect_err(|_| {
        file::unlink(beside.as_c_str());
    })
}

#[cold]
fn complain(path: &CStr, reason: &str) {
    let mut line = FixedBuffer::<512>::new();
    // Writing to a `FixedBuffer` never fails.
    let _ = line.write_str("hz3: HZ3_METRICS=");
    let _ = write_bytes(&mut line, path.to_bytes());
    let _ = writeln!(line, ": {reason}; expected a regular file; wrote nothing, will try again");
    line.print();
}

/// The text, a part at a time.
pub(super) struct Text {
    file: c_int,
    /// The number of the process if several processes write files, whose series need a label each.
    pid: Option<u32>,
    has_failed: bool,
    buffer: FixedBuffer<1024>,
}

impl Text {
    fn flush(&mut self) {
        self.has_failed |= !file::write_all(self.file, self.buffer.as_bytes());
        self.buffer = FixedBuffer::new();
    }

    /// Writes the end mark; returns whether all was written.
    fn end(mut self) -> bool {
        let _ = self.write_str("# EOF\n");
        self.flush();
        !self.has_failed
    }

    /// Writes a gauge that is no value of the page.
    pub(super) fn gauge(&mut self, name: &str, value: u64) {
        self.metric(name, "", "gauge", "", format_args!("{value}"));
    }

    /// Writes a value of the page, unless it is left out.
    pub(super) fn value(&mut self, name: &str, value: u64) {
        let (base, unit) = parts(name);
        let number = format_args!("{value}");
        let seconds = format_args!("{}.{:09}", value / 1_000_000_000, value % 1_000_000_000);
        match Kind::of(name) {
            Kind::Seconds => self.metric(base, "_seconds", "counter", "_total", seconds),
            Kind::Counter => self.metric(name, "", "counter", "_total", number),
            Kind::Number => self.metric(name, "", "gauge", "", number),
            Kind::Bytes => self.metric(base, unit, "gauge", "", number),
        }
    }

    fn metric(
        &mut self,
        name: &str,
        unit: &str,
        kind: &str,
        suffix: &str,
        value: fmt::Arguments<'_>,
    ) {
        // Errors are noted by `flush`.
        let _ = writeln!(self, "# TYPE hz3_{name}{unit} {kind}");
        let _ = write!(self, "hz3_{name}{unit}{suffix}");
        if let Some(pid) = self.pid {
            let _ = write!(self, "{{pid=\"{pid}\"}}");
        }
        let _ = writeln!(self, " {value}");
    }

    /// Writes a figure of every size class: block bytes and figure.
    pub(super) fn classes(&mut self, name: &str, rows: impl Iterator<Item = (u64, u64)>) {
        // Errors are noted by `flush`.
        let _ = writeln!(self, "# TYPE hz3_class_{name} gauge");
        for (block_bytes, figure) in rows {
            let _ = write!(self, "hz3_class_{name}{{");
            if let Some(pid) = self.pid {
                let _ = write!(self, "pid=\"{pid}\",");
            }
            let _ = writeln!(self, "size=\"{block_bytes}\"}} {figure}");
        }
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.buffer.as_bytes().len() + text.len() > 1024 {
            self.flush();
        }
        self.buffer.push(text.as_bytes());
        Ok(())
    }
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A counter of nanoseconds.
    Seconds,
    Counter,
    /// A gauge without a unit.
    Number,
    /// A gauge in bytes.
    Bytes,
}

impl Kind {
    fn of(name: &str) -> Kind {
        match name {
            _ if name.ends_with("_ns") => Kind::Seconds,
            _ if COUNTERS.contains(&name) => Kind::Counter,
            _ if NUMBERS.contains(&name) => Kind::Number,
            _ => Kind::Bytes,
        }
    }
}

/// Returns a name without its unit, and the unit of a gauge in bytes.
fn parts(name: &str) -> (&str, &'static str) {
    let base = name.strip_suffix("_ns").or_else(|| name.strip_suffix("_bytes"));
    (base.unwrap_or(name), "_bytes")
}

/// Tells which values are written; they come in the order of the page.
#[derive(Default)]
pub(super) struct Filter {
    is_in_experiments: bool,
}

impl Filter {
    /// Returns whether the next value is written.
    pub(super) fn takes(&mut self, name: &str) -> bool {
        let [first, last] = EXPERIMENTS;
        self.is_in_experiments |= name == first;
        let is_taken = !self.is_in_experiments && !LEFT_OUT.contains(&name);
        self.is_in_experiments &= name != last;
        is_taken
    }
}
