//! Runs a process, samples it from outside, and keeps its output.

pub(crate) mod bench_report;
pub(crate) mod capture;
mod cgroup;
pub(crate) mod clock;
pub(crate) mod job;
pub(crate) mod listening;
#[path = "../../../hz3/src/stats/open_metrics.rs"]
pub(crate) mod open_metrics;
#[path = "../../../hz3/src/stats/page_layout.rs"]
pub(crate) mod page_layout;
mod relay;
pub(crate) mod sample;
pub(crate) mod sampler;
pub(crate) mod series_csv;
pub(crate) mod signals;
pub(crate) mod stats_page;
pub(crate) mod stdin;
pub(crate) mod summary;
pub(crate) mod tree;
mod wait;

use crate::failure::{Failure, Result};
use std::path::Path;

pub(crate) use tree::adopt_orphans;

/// Reads a file of the kernel, in which names of programs and files may be of any bytes.
pub(crate) fn read_lossy(path: &Path) -> std::io::Result<String> {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Fails where `/proc` is not mounted: every figure of a process comes from there.
pub(crate) fn needs_proc() -> Result<()> {
    if Path::new("/proc/self/stat").exists() {
        return Ok(());
    }
    Err(Failure::new("/proc is not mounted; hz3 reads there what a process holds"))
}
