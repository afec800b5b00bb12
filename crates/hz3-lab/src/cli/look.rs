//! `hz3 top`, `hz3 why`, `hz3 metrics` and `hz3 set`.

use super::values::span;
use clap::Args;
use std::time::Duration;

pub(super) const TOP: &str = "\
Show what the heap of a running process holds, and what it does: live bytes, memory that is resident without being \
used, and by which means it goes back; rates; size classes; threads.

The process runs on. hz3 reads the page of statistics that the library keeps, and /proc.";

pub(super) const WHY: &str = "\
Say in sentences why a running process holds its memory: what is in use, what goes back by itself and when, and what \
the program or the operator can do.";

pub(super) const METRICS: &str = "\
Print the statistics of a running process as OpenMetrics text, for Prometheus and what reads its format.";

pub(super) const SET: &str = "\
Set options of a running process: tick_ms=1..60000, policy=default|off, limit=BYTES|PERCENT%|auto|0, \
limit_mode=fail|reclaim, pressure=0|1, profile=on|off|write, profile_rate=BYTES, profile_path=PATH, \
metrics=PATH, metrics_ms=100..86400000; or purge=now, which gives all free memory back.
profile=write replaces the file at profile_path, or HZ3_PROFILE, by the heap profile.

The process sets the option at its next tick or slow path. Only its user and root may do this.";

pub(super) const NOTES: &str = "\
A process answers at its next tick or slow path. It does not answer while its threads' caches
serve all its calls and it has nothing to give back; then the figures are those of its last tick,
and their age is shown. `hz3 set` waits 5 seconds for the answer; without one, the option is set
later, at the next tick or slow path.

Keys of `hz3 top`: q or Ctrl-C ends.

Exit status:
  0    done; also when a process that `hz3 top` shows ends
  1    the process shows no statistics: it does not run on hz3, or has hardly allocated
  2    there is no such process
  125  it belongs to another user, may not be traced, or did not answer `hz3 set`";

/// Parses the time between two looks, each of which has the process take figures.
fn interval(text: &str) -> Result<Duration, String> {
    let time = span(text)?;
    if time < Duration::from_millis(100) {
        return Err("expected a time from 100 ms on".to_owned());
    }
    Ok(time)
}

/// The options of `hz3 why` and `hz3 metrics`.
#[derive(Debug, Args)]
pub(crate) struct LookArgs {
    /// The number of the process, in the namespace of this program
    #[arg(value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) pid: i32,
}

/// The options of `hz3 set`.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// The number of the process, in the namespace of this program
    #[arg(value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) pid: i32,

    /// Options: `tick_ms`, `policy`, `limit`, `limit_mode`, `profile`, ...; and `purge=now`
    #[arg(value_name = "NAME=VALUE", required = true)]
    pub(crate) options: Vec<String>,
}

/// The options of `hz3 top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// The number of the process, in the namespace of this program
    #[arg(value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) pid: i32,

    /// Print the figures once and end
    #[arg(long)]
    pub(crate) once: bool,

    /// Print the figures once, as one JSON object
    #[arg(long)]
    pub(crate) json: bool,

    /// Time between two updates, at least 100 ms; seconds without a unit
    #[arg(long, value_name = "TIME", default_value = "1", value_parser = interval)]
    pub(crate) interval: Duration,
}
