//! `hz3 watch`.

use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;

pub(super) const LONG: &str = "\
Watch a command's memory from outside and write it down as CSV.

The command and all its descendants are looked at every 50 ms; the sums are written to a CSV file when the \
command has ended, and a summary (number of looks, mean, maximum, 95th percentile by nearest rank, last) \
goes to the standard error. The command keeps its own standard streams.";

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
the page tables for it, so they are filled at every 20th look only (--pss-every)
and empty between.

The summary's `max` is that of the looks. `largest process` is the kernel's figure
(ru_maxrss): it misses no moment between two looks, but is that of one process.

The last line of the summary has the form
  [MEM_TS] out=FILE rc=CODE n=LOOKS mean_kb=N max_kb=N p95_kb=N

Exit status: that of the command (128 + N for signal N), or 2, 125, 126, 127 as
for `hz3 run`.

Example:
  hz3 watch --out idle.csv -- hz3 bench burst-idle 200000 10 3 0 4";

/// The options of `hz3 watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Where to write the samples; `-` is the standard output
    #[arg(short, long, value_name = "FILE", default_value = "hz3-watch.csv")]
    pub(crate) out: PathBuf,

    /// Milliseconds between two looks
    #[arg(long, value_name = "MS", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) interval: u64,

    /// Read `smaps_rollup` at every Nth look; 0 is never
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) pss_every: usize,

    /// Preload this allocator library for the command
    #[arg(long, value_name = "PATH")]
    pub(crate) lib: Option<PathBuf>,

    /// Print the summary as one JSON object on the standard output instead
    #[arg(long)]
    pub(crate) json: bool,

    /// The command and its arguments, after `--`
    #[arg(required = true, last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}
