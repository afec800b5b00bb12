//! The statistics of hz3: JSON lines that its processes append at exit.

use crate::failure::{Failure, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The fields of a statistics line that are added up.
#[derive(Debug, Deserialize)]
struct StatsLine {
    requests: u64,
    madvise_calls: Option<u64>,
}

/// The sums over all processes that wrote a line.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy, Serialize)]
pub(crate) struct Counts {
    /// Processes that wrote a line. A process that is killed or calls `_exit` writes none.
    pub(crate) processes: usize,
    /// Allocation calls that these processes made.
    pub(crate) requests: u64,
    /// Calls of madvise, if the lines have them.
    pub(crate) madvise_calls: Option<u64>,
}

/// A file for the statistics of one run, in a directory of its own that goes with this value.
#[derive(Debug)]
pub(crate) struct StatisticsFile(TempDir);

impl StatisticsFile {
    /// Makes the directory.
    pub(crate) fn new() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("hz3-statistics-").tempdir();
        directory.map(Self).map_err(|e| Failure::io("make a directory for hz3's statistics", e))
    }

    /// Returns the path for `HZ3_STATS`.
    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("statistics.jsonl")
    }

    /// Adds up what the processes of the run wrote.
    pub(crate) fn read(&self) -> Result<Counts> {
        read(&self.path())
    }
}

/// Reads the statistics file. A missing or empty file means that hz3 served nothing.
fn read(path: &Path) -> Result<Counts> {
    match std::fs::read_to_string(path) {
        Ok(text) => sum(&text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Counts::default()),
        Err(e) => Err(Failure::io(format!("read hz3's statistics in {}", path.display()), e)),
    }
}

fn sum(text: &str) -> Result<Counts> {
    let mut counts = Counts::default();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let parsed: StatsLine = serde_json::from_str(line)
            .map_err(|e| Failure::io(format!("understand hz3's statistics line `{line}`"), e))?;
        counts.processes += 1;
        counts.requests += parsed.requests;
        if let Some(calls) = parsed.madvise_calls {
            *counts.madvise_calls.get_or_insert(0) += calls;
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_all_processes_are_added() {
        let text = "{\"requests\": 3, \"madvise_calls\": 5}\n\n{\"frees\": 0, \"requests\": 4}\n";
        let expected = Counts { processes: 2, requests: 7, madvise_calls: Some(5) };
        assert_eq!(sum(text).unwrap(), expected);
        assert_eq!(sum("").unwrap(), Counts::default());
    }

    #[test]
    fn a_broken_line_is_an_error_not_a_zero() {
        assert!(sum("{\"requests\": 3}\n{\"requ").unwrap_err().to_string().contains("{\"requ"));
    }

    #[test]
    fn no_file_means_that_nothing_was_served() {
        assert_eq!(read(Path::new("/nonexistent/stats")).unwrap(), Counts::default());
    }
}
