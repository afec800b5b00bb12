//! The statistics as `OpenMetrics` text: the names, types and units of all metrics.
//!
//! The library writes the text into a file, and the tool hz3 prints it for another process. Both
//! compile this file, so they write the same. `contrib/metrics.txt` lists the metrics.

use core::fmt::{Display, Write};

use super::page_layout::Class;

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

/// The text under construction: [`Text::begin`], every value of the page in its order by
/// [`Text::value`], and [`Text::end`].
///
/// Errors of `out` are ignored: a writer that can fail notes them itself.
pub(crate) struct Text<W> {
    out: W,
    /// The number of the process if several processes write texts, whose series need a label each.
    pid: Option<u32>,
    is_in_experiments: bool,
}

impl<W: Write> Text<W> {
    /// Writes the gauges that are not among the values of the page.
    pub(crate) fn begin(out: W, pid: Option<u32>, resident: u64, committed: u64) -> Self {
        let mut text = Text { out, pid, is_in_experiments: false };
        text.metric("resident", "_bytes", "gauge", "", resident);
        text.metric("mapped", "_bytes", "gauge", "", committed);
        text
    }

    /// Writes a value of the page, unless it is left out.
    pub(crate) fn value(&mut self, name: &str, value: u64) {
        let [first, last] = EXPERIMENTS;
        self.is_in_experiments |= name == first;
        let is_left_out = self.is_in_experiments || LEFT_OUT.contains(&name);
        self.is_in_experiments &= name != last;
        if is_left_out {
            return;
        }
        if let Some(stem) = name.strip_suffix("_ns") {
            let (seconds, rest) = (value / 1_000_000_000, value % 1_000_000_000);
            self.metric(stem, "_seconds", "counter", "_total", format_args!("{seconds}.{rest:09}"));
        } else if COUNTERS.contains(&name) {
            self.metric(name, "", "counter", "_total", value);
        } else if NUMBERS.contains(&name) {
            self.metric(name, "", "gauge", "", value);
        } else {
            let stem = name.strip_suffix("_bytes").unwrap_or(name);
            self.metric(stem, "_bytes", "gauge", "", value);
        }
    }

    /// Writes the figures of the size classes and the end mark; returns the writer.
    pub(crate) fn end<I: Iterator<Item = Class>>(mut self, classes: impl Fn() -> I) -> W {
        self.figures("live_blocks", classes().map(|class| (class.block_bytes, class.live)));
        self.figures("cached_blocks", classes().map(|class| (class.block_bytes, class.cached)));
        self.figures("slabs", classes().map(|class| (class.block_bytes, class.slabs)));
        let _ = self.out.write_str("# EOF\n");
        self.out
    }

    fn metric(&mut self, stem: &str, unit: &str, kind: &str, suffix: &str, value: impl Display) {
        let _ = write!(self.out, "# TYPE hz3_{stem}{unit} {kind}\nhz3_{stem}{unit}{suffix}");
        if let Some(pid) = self.pid {
            let _ = write!(self.out, "{{pid=\"{pid}\"}}");
        }
        let _ = writeln!(self.out, " {value}");
    }

    /// Writes a figure of every size class: block bytes and figure.
    fn figures(&mut self, name: &str, rows: impl Iterator<Item = (u64, u64)>) {
        let _ = writeln!(self.out, "# TYPE hz3_class_{name} gauge");
        for (block_bytes, figure) in rows {
            let _ = write!(self.out, "hz3_class_{name}{{");
            if let Some(pid) = self.pid {
                let _ = write!(self.out, "pid=\"{pid}\",");
            }
            let _ = writeln!(self.out, "size=\"{block_bytes}\"}} {figure}");
        }
    }
}
