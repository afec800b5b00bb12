//! `hz3 ab`.

use super::effort::EffortArgs;
use super::values::{command_line, finite, finite_from_0};
use crate::experiment::trial::Measure;
use crate::experiment::verdict::{Claim, Criteria};
use clap::Args;
use std::path::PathBuf;

pub(super) const LONG: &str = "\
Compare two policies, sets of options or builds of hz3 on the same cases, interleaved, and judge the \
change.

A candidate gets GO when every criterion holds over the whole 95 % interval, NO-GO when one fails over the \
whole interval, NO DIFFERENCE when no change is seen and every interval lies inside the criteria, and \
UNCERTAIN otherwise. With fewer than 6 rounds there is no interval, so the verdict is UNCERTAIN.";

pub(super) const NOTES: &str = "\
Baseline and candidate are settings: `default` for none, NAME for HZ3_POLICY=NAME, or
VARIABLE=VALUE, several separated by colons. With --lib each has a library of its own.

Criteria (the defaults):
  speed    geometric mean over the speed cases: -2 % or better for GO, below -3 %
           for NO-GO; no single case may lie wholly below -3 %
  memory   with --claim memory (the default) -10 % or better, else at most +5 %:
           at the end of the idle time where a case idles, else at its peak
  growth   idle memory grows by at most 16 KiB a cycle more than the baseline's
  latency  with --latency: the 99.9th percentiles of malloc and of free are at
           most 1.5 times the baseline's
  calls    with --claim calls: fewer madvise calls (hz3 counts them)

With --measure instructions every trial runs under valgrind's callgrind, and speed is
operations per million instructions of the whole process. Counts hardly differ from run
to run, so a few rounds show a change of a few per cent even on a busy machine. Waiting
for memory or for a lock does not show in them.

--record NAME writes NAME.md, NAME.json and the index README.md into the directory
hz3-experiments, or DIR of --log DIR; `hz3 ab --replay hz3-experiments/NAME.json` measures
the same again. A library below the working directory is recorded by its relative path,
any other by its file name: to replay such an experiment, name the library with --lib.

Exit status:
  0    GO
  1    NO-GO
  2    wrong usage
  3    UNCERTAIN
  4    NO DIFFERENCE
  5    a trial failed
  125  hz3 itself failed
  130  interrupted; continue with --resume

Examples:
  hz3 ab --baseline off --candidate default --quick
  hz3 ab --lib old/libhz3.so new/libhz3.so --claim nothing
  hz3 ab --baseline HZ3_THREAD_CACHE=1M --candidate HZ3_THREAD_CACHE=256K \\
         --record thread-cache-256k --why 'idle pools hold too much'";

/// The options of `hz3 ab`.
#[derive(Debug, Args)]
pub(crate) struct AbArgs {
    /// Settings of the baseline: `default`, a policy, or VARIABLE=VALUE:VARIABLE=VALUE
    #[arg(long, value_name = "SETTINGS", default_value = "default")]
    pub(crate) baseline: String,

    /// Settings of the candidate
    #[arg(long, value_name = "SETTINGS", default_value = "default")]
    pub(crate) candidate: String,

    /// The libraries of baseline and candidate; one is for both [default: libhz3.so]
    #[arg(long, value_names = ["A.so", "B.so"], num_args = 1..=2)]
    pub(crate) lib: Vec<PathBuf>,

    /// A standard case, or a line for `hz3 bench` (several times) [default: small, medium, mixed,
    /// remote, burst-idle, cycles]
    #[arg(short, long = "workload", value_name = "LINE")]
    pub(crate) workloads: Vec<String>,

    /// A command line to measure by its wall time (several times)
    #[arg(short, long = "command", value_name = "LINE", value_parser = command_line)]
    pub(crate) commands: Vec<String>,

    #[command(flatten)]
    pub(crate) effort: EffortArgs,

    /// The unit of speed
    #[arg(long, value_enum, default_value_t = Measure::Time)]
    pub(crate) measure: Measure,

    /// Take latencies in every round and judge their 99.9th percentiles
    #[arg(long)]
    pub(crate) latency: bool,

    #[command(flatten)]
    pub(crate) criteria: CriteriaArgs,

    /// Write the experiment into the experiment log under this name
    #[arg(long, value_name = "NAME", value_parser = file_name)]
    pub(crate) record: Option<String>,

    /// The question or the reason, for the page of the experiment
    #[arg(long, value_name = "TEXT", default_value = "", requires = "record")]
    pub(crate) why: String,

    /// The directory of the experiment log
    #[arg(
        long,
        alias = "ledger",
        value_name = "DIR",
        default_value = "hz3-experiments",
        requires = "record"
    )]
    pub(crate) log: PathBuf,

    /// Where the trials go; the CSV gets the same name
    #[arg(short, long, value_name = "FILE", default_value = "hz3-ab.json")]
    pub(crate) out: PathBuf,

    /// Continue with the trials in --out. Contenders and cases stay as they were; the criteria are
    /// given anew
    #[arg(long, conflicts_with_all = ["baseline", "candidate", "lib", "workloads", "commands", "quick", "normal", "thorough", "rounds", "latency", "seed", "replay", "measure"])]
    pub(crate) resume: bool,

    /// Measure a recorded experiment again, with its cases, settings and criteria
    #[arg(long, value_name = "FILE", conflicts_with_all = ["baseline", "candidate", "workloads", "commands", "quick", "normal", "thorough", "rounds", "latency", "claim", "measure", "seed", "why", "speed_go", "speed_no_go", "memory_go", "speed_gain", "memory_limit", "growth_limit", "latency_limit"])]
    pub(crate) replay: Option<PathBuf>,

    /// Print the verdict as one JSON object instead of the table
    #[arg(long)]
    pub(crate) json: bool,
}

/// The limits of the verdict.
#[derive(Debug, Args)]
pub(crate) struct CriteriaArgs {
    /// The quantity that the candidate claims to improve
    #[arg(long, value_enum, default_value = "memory")]
    pub(crate) claim: Claim,
    /// Change of speed, in per cent, that is still GO
    #[arg(long, value_name = "PERCENT", default_value_t = -2.0, value_parser = finite)]
    pub(crate) speed_go: f64,
    /// Change of speed, in per cent, below which it is NO-GO
    #[arg(long, value_name = "PERCENT", default_value_t = -3.0, value_parser = finite)]
    pub(crate) speed_no_go: f64,
    /// Change of memory that a claim of memory must reach
    #[arg(long, value_name = "PERCENT", default_value_t = -10.0, value_parser = finite)]
    pub(crate) memory_go: f64,
    /// Change of speed that a claim of speed must reach
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0, value_parser = finite)]
    pub(crate) speed_gain: f64,
    /// Change of memory that is still GO without a claim of memory
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, value_parser = finite)]
    pub(crate) memory_limit: f64,
    /// Growth of idle memory, in KiB a cycle, that is still GO
    #[arg(long, value_name = "KIB", default_value_t = 16.0, value_parser = finite_from_0)]
    pub(crate) growth_limit: f64,
    /// With --latency: the largest ratio to the baseline of the 99.9th percentiles of malloc and of
    /// free
    #[arg(long, value_name = "FACTOR", default_value_t = 1.5, value_parser = finite_from_0)]
    pub(crate) latency_limit: f64,
}

impl CriteriaArgs {
    /// Converts the options to the criteria of the verdict.
    pub(crate) fn criteria(&self) -> Criteria {
        Criteria {
            claim: self.claim,
            speed_go: self.speed_go,
            speed_no_go: self.speed_no_go,
            memory_go: self.memory_go,
            speed_gain: self.speed_gain,
            memory_limit: self.memory_limit,
            growth_limit: self.growth_limit,
            latency_limit: self.latency_limit,
        }
    }
}

fn file_name(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.is_empty() || text.starts_with('.') || !text.chars().all(good) {
        return Err("a name has letters, digits, `-`, `_` and `.`".to_owned());
    }
    Ok(text.to_owned())
}
