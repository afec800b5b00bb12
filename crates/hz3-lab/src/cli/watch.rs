//! `hz3 watch`.

use super::values::{span, span_ms};
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub(super) const LONG: &str = "\
Watch the memory of a command or of a running process from outside, and write it as CSV.

The process and all its descendants are sampled every 50 ms. Each sample is written to the CSV file as it \
comes, so that whatever ends hz3 loses the last sample at most. At the end a summary (number of samples, mean, \
maximum, 95th percentile by nearest rank, last) goes to the standard error. A command keeps its own standard \
streams. `hz3 report FILE.csv` draws the CSV.

With --pid the process itself is left alone. The watch ends when the process ends, at Ctrl-C, or with --for.";

pub(super) const NOTES: &str = "\
Columns:
  t_ms          milliseconds since the start
  rss_kb        resident set; a page that two processes share counts twice
  vms_kb        address space
  pss_kb        proportional set: a shared page counts by its share
  uss_kb        unique set: pages that no other process has
  lazyfree_kb   given back lazily (MADV_FREE): resident until the kernel
                wants them
  anon_huge_kb  anonymous memory on huge pages
  faults        page faults so far, minor and major
  processes     processes alive
  cgroup_kb     memory charged to the control group of this program
                (memory.current), which other programs may share

The columns from pss_kb to anon_huge_kb come from smaps_rollup. The kernel walks
the page tables for it, so they are filled at every 20th sample only (--pss-every)
and empty between.

The summary's `max` is that of the samples. `largest process` is the kernel's figure
(ru_maxrss): it is exact, but of one process. Like the exit code and the CPU time
it is known for a command only.

The last line of the summary has the form
  [MEM_TS] out=FILE rc=CODE n=SAMPLES mean_kb=N max_kb=N p95_kb=N

Exit status: that of the command (128 + N for signal N), or 2, 125, 126, 127 as
for `hz3 run`. With --pid 0, or 130 after Ctrl-C. 125 also when a sample cannot be
written; the command is then ended by SIGTERM.

Examples:
  hz3 watch --out idle.csv -- hz3 bench burst-idle 200000 10 3 0 4
  hz3 watch --pid 1234 --for 10min";

/// The options of `hz3 watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Where to write the samples; `-` is the standard output
    #[arg(short, long, value_name = "FILE", default_value = "hz3-watch.csv")]
    pub(crate) out: PathBuf,

    /// Overwrite the file
    #[arg(long)]
    pub(crate) force: bool,

    /// Watch this running process instead of a command
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..), conflicts_with_all = ["command", "lib"])]
    pub(crate) pid: Option<i32>,

    /// End the watch after this time; a command is ended then (SIGTERM; SIGKILL 10 seconds later)
    #[arg(long = "for", value_name = "TIME", value_parser = span)]
    pub(crate) duration: Option<Duration>,

    /// Time between two samples; milliseconds without a unit
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = span_ms)]
    pub(crate) interval: Duration,

    /// Read `smaps_rollup` at every Nth sample; 0 is never
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) pss_every: usize,

    /// Preload this allocator library for the command
    #[arg(long, value_name = "PATH")]
    pub(crate) lib: Option<PathBuf>,

    /// Print the summary as one JSON object on the standard output instead
    #[arg(long)]
    pub(crate) json: bool,

    /// The command and its arguments, after `--`
    #[arg(required_unless_present = "pid", last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}
