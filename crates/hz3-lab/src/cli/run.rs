//! `hz3 run`.

use super::values::{command_line, span};
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub(super) const LONG: &str = "\
Run a command on the system's malloc and on hz3, and show both side by side.

The command is watched from outside: wall time, CPU time, page faults and the resident set of the command \
and all its descendants. The first run is on hz3 and warms up the machine: its output is shown, hz3 counts its calls (HZ3_COUNT=1), \
and its times do not count. Then pairs of runs follow, one on the system's malloc and one on hz3, in \
alternating order. Their outputs are kept and compared. The report goes to standard error, so the command's \
output stays clean.

Pairs follow until the interval of the wall time and of the peak is narrower than 2 %, until there are 50, \
or until --time is up. A difference is reported only when its 95 % interval excludes 1; that takes 6 pairs.

A server does not end by itself. With --for or --load each pass ends then (SIGTERM; SIGKILL 10 seconds \
later): one pass on either allocator, without a first run, with the server's output shown.";

pub(super) const NOTES: &str = "\
The command runs 1 + 2 x PAIRS times, at least 3 times, so it must be repeatable. A
server runs 2 x PAIRS times.

Input: a terminal is given to every run as it is. A file or a pipe is replayed, so that
every run reads the same bytes.

Ctrl-C ends the command and all further runs. The report then shows the complete pairs,
and for a server also the pass that was ended.

Rows:
  requests  calls of the malloc family, added up over all processes that ended
            by exit; one that is killed or calls _exit (dash does) reports none
  peak RSS  the larger of two: the sampled sum over all processes (a page that
            two processes share counts twice), and the kernel's exact figure
            for the largest single process
  last RSS  at the last sample before the end, at most 20 ms earlier; `-` when
            the command was over before the first sample

Exit status:
  that of the command in its first run on hz3; 128 + N if signal N ended it.
  0 for a server that was ended as planned
  2     wrong usage of hz3
  125   hz3 itself failed, for instance because libhz3.so is missing
  126   the command cannot be executed
  127   the command was not found
  130   interrupted (128 + the signal's number)

Examples:
  hz3 run -- python3 -c 'print(len([str(i) for i in range(10**6)]))'
  hz3 run --runs 10 -- gcc -O2 -c big.c -o /dev/null
  hz3 run --for 60s -- ./server
  hz3 run --load 'wrk -d 30 http://localhost:8000/' -- python3 -m http.server";

/// The options of `hz3 run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Library to preload [default: libhz3.so beside this program, or where it is installed]
    #[arg(long, value_name = "PATH")]
    pub(crate) lib: Option<PathBuf>,

    /// Measure exactly this many pairs of runs
    #[arg(long, value_name = "PAIRS", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) runs: Option<u16>,

    /// Begin no further pair when it would end after this time
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = span, conflicts_with_all = ["runs", "duration", "load"])]
    pub(crate) time: Duration,

    /// End each pass after this time
    #[arg(long = "for", value_name = "TIME", value_parser = span)]
    pub(crate) duration: Option<Duration>,

    /// Start this shell command when the server listens on a socket (at the latest after 10 s), and
    /// end the pass when it ends. Its time and its last line are reported
    #[arg(long, value_name = "CMD", value_parser = command_line)]
    pub(crate) load: Option<String>,

    /// Do not count requests in the first run
    #[arg(long, conflicts_with_all = ["duration", "load"])]
    pub(crate) no_count: bool,

    /// Print one JSON object on the standard output; the command's own output then goes to the
    /// standard error
    #[arg(long)]
    pub(crate) json: bool,

    /// The command and its arguments, after `--`
    #[arg(required = true, last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}
