//! `hz3 run`.

use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;

pub(super) const LONG: &str = "\
Run a command on the system's malloc and on hz3, and show both side by side.

The command runs on the system's malloc, then on hz3 (by LD_PRELOAD), and is watched from outside: \
wall time, CPU time, page faults and the resident set of the command and all its descendants. What it \
writes on hz3 is passed through; what it writes in the other runs is kept and compared. The report \
goes to the standard error, so that the command's output stays clean.

How many requests hz3 served comes from one more run, in which hz3 counts every call (HZ3_COUNT=1). \
Counting slows the requests down, so times and memory are never taken from that run. --no-count leaves \
it out.";

pub(super) const NOTES: &str = "\
The order is: system, hz3, and at the end the counted run. With --runs N system and hz3 take turns N \
times and every figure is a median. So the command runs 3 times (2 with --no-count): use one that may.

Input: a terminal is given to every run as it is. A file or a pipe is replayed, so that every run reads \
the same bytes.

Columns:
  requests  calls of the malloc family, added up over all processes that ended
            by exit; one that is killed or calls _exit (dash does) reports none
  peak RSS  the larger of two: the sampled sum over all processes (a page that
            two processes share counts twice), and the kernel's exact figure
            for the largest single process
  last RSS  at the last look before the end, at most 20 ms earlier; `-` when
            the command was over before the first look

Exit status:
  that of the command on hz3; 128 + N if signal N ended it
  2     wrong usage of hz3
  125   hz3 itself failed, for instance because libhz3.so is missing
  126   the command cannot be executed
  127   the command was not found
  130   interrupted (128 + the signal's number)

Examples:
  hz3 run -- python3 -c 'print(len([str(i) for i in range(10**6)]))'
  hz3 run --runs 5 --no-count -- gcc -O2 -c big.c -o /dev/null
  hz3 run --lib /usr/lib/x86_64-linux-gnu/libjemalloc.so.2 -- ./server --self-test";

/// The options of `hz3 run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Library to preload [default: libhz3.so beside this program, or where it is installed]
    #[arg(long, value_name = "PATH")]
    pub(crate) lib: Option<PathBuf>,

    /// Run the command this many times on each and show medians
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) runs: u16,

    /// Leave out the run that counts requests
    #[arg(long)]
    pub(crate) no_count: bool,

    /// Print one JSON object on the standard output; the command's own output then goes to the
    /// standard error
    #[arg(long)]
    pub(crate) json: bool,

    /// The command and its arguments, after `--`
    #[arg(required = true, last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}
