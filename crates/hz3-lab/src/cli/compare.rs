//! `hz3 compare`.

use super::effort::EffortArgs;
use super::peers::PeerArgs;
use super::values::command_line;
use crate::experiment::cases::Suite;
use clap::Args;
use std::path::PathBuf;

pub(super) const LONG: &str = "\
Compare allocators on workloads. Every round runs all workloads on all allocators in a new random order. \
Each trial is a process of its own that is watched from outside.

Each allocator first runs once uncounted. Speeds are compared within a round, whose trials ran close to \
each other in time. The figure is the centre of these ratios to the base (Hodges-Lehmann), with a 95 % \
interval (Wilcoxon's signed ranks; needs 6 rounds). The geometric mean covers the speed cases; a case \
whose interval is wider than a factor of 1.5 is named and left out.

Rounds end early when every interval is narrower than 2 %, or when --time is up.

Results are written as JSON and CSV after every trial. Ctrl-C keeps the results; --resume continues.";

pub(super) const NOTES: &str = "\
The standard cases: small, medium, mixed (random sizes in a table of 400 slots),
small-2t (two threads), wide (200,000 slots), dist, remote (16 threads, 90 % of the
blocks freed by another one), xfer, larson, churn for speed; buffers, which is shown
but not in the mean because the scheduler decides its speed; burst-idle, holes, pool
for memory.

  --quick     at most  7 rounds of speed cases, 1 of memory cases; idle 3 s
  --normal    at most 15 rounds and 6; idle 3 s (the default)
  --thorough  at most 41 rounds and 7; idle 10 s, and longer loops

A trial of a tight loop makes five passes and counts the fastest. In the first round
the trials also take latencies, after the timed part.

A peak covers the whole trial, latencies included. It is the larger of two: the sum
over the process tree, sampled every 50 ms, and the kernel's exact figure for the
largest single process (ru_maxrss). Idle memory is only sampled.

Suites, each with a table of targets for hz3 (or for the first allocator, if hz3 is
not among them) and the measured figures:

  --suite reclaim  the resident set a second after the free, in nine cases: threads
           that end, are blocked, or whose blocks others free; pools, small blocks,
           buffers; scattered survivors, beside the pages that their addresses touch.
           Medians of 5 (--quick: 1, --thorough: 15). The first three once more over
           24 cycles, in which the resident set must not grow: it is missed when the
           slope is above 16 KiB a cycle with a confidence of 97.5 %, which tells 64
           from a scatter of 1 MiB. `start` is the resident set
           before the first allocation, the benchmark's own tables included. Run it
           as `systemd-run --scope -p MemoryAccounting=yes hz3 compare ...` to see
           the charge of a control group in which nothing else runs.
  --suite speed    seventeen loops: at least as fast as the best other allocator on
           each, 1.25 times as fast as the best in the geometric mean, and a peak
           of at most 1.05 times the smallest of jemalloc, tcmalloc and mimalloc.
  --suite programs whole programs (interpreters, compilers, servers, tools, and those
           of mimalloc-bench that end by themselves) as far as they are on the PATH:
           at most 1.05 times the time of the best other allocator on each, 0.97 in
           the geometric mean, and at most 1.05 times the peak of glibc. Installs
           nothing; what is missing is named with the package that has it.

Exit status:
  0    every trial succeeded, and every target of the suite is met
  1    a trial failed (the table says which)
  2    wrong usage
  3    a target of the suite is missed
  125  hz3 itself failed
  130  interrupted; continue with --resume

Examples:
  hz3 compare --quick
  hz3 compare -a hz3 -a mimalloc -a mimalloc:MIMALLOC_PURGE_DELAY=0 -w burst-idle
  hz3 compare --suite reclaim
  hz3 compare -w 'mixed --sizes 64-64' -w remote --command 'python3 job.py'
  hz3 compare --resume --out night.json";

/// The options of `hz3 compare`.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// An allocator or a variant NAME:VARIABLE=VALUE (several times) [default: all that are here]
    #[arg(short, long = "allocator", value_name = "NAME")]
    pub(crate) allocators: Vec<String>,

    #[command(flatten)]
    pub(crate) peers: PeerArgs,

    /// A standard case, or a line for `hz3 bench` (several times) [default: all standard cases]
    #[arg(short, long = "workload", value_name = "LINE")]
    pub(crate) workloads: Vec<String>,

    /// A set of cases with the targets that hz3 must meet
    #[arg(long, value_enum, value_name = "NAME", conflicts_with_all = ["workloads", "commands"])]
    pub(crate) suite: Option<Suite>,

    /// A command line to measure by its wall time (several times)
    #[arg(short, long = "command", value_name = "LINE", value_parser = command_line)]
    pub(crate) commands: Vec<String>,

    /// The allocator that the others are compared with [default: glibc, or the first one]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) base: Option<String>,

    #[command(flatten)]
    pub(crate) effort: EffortArgs,

    /// Take latencies in every round, not only in the first
    #[arg(long)]
    pub(crate) latency: bool,

    /// Where the results go: NAME.json, and the CSV in NAME.csv
    #[arg(short, long, value_name = "FILE", default_value = "hz3-compare.json")]
    pub(crate) out: PathBuf,

    /// Continue with the results in --out; allocators and cases stay as they were
    #[arg(long, conflicts_with_all = ["allocators", "extra", "workloads", "suite", "commands", "base", "quick", "normal", "thorough", "rounds", "latency", "seed"])]
    pub(crate) resume: bool,

    /// Print the analysis as one JSON object instead of the tables
    #[arg(long)]
    pub(crate) json: bool,
}
