//! The library under test: where it is, and the proof that a process used it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use hz3_tools::capture;

use crate::{Failure, Result};

/// Names another library to run the tests on. Not called `HZ3_...`: hz3 warns of names it does not
/// know.
const OVERRIDE: &str = "PRELOAD_UNDER_TEST";

/// A preload library.
#[derive(Debug)]
pub struct Preload {
    library: PathBuf,
    /// Whether it appends a line of statistics to the file that `HZ3_STATS` names, as hz3 does.
    reports: bool,
}

impl Preload {
    /// Returns the library that this test run is about: `target/release/libhz3.so`, built now if it
    /// is out of date, or what `PRELOAD_UNDER_TEST` names.
    ///
    /// # Errors
    /// When it can't be built or found.
    pub fn under_test() -> Result<&'static Self> {
        static FOUND: OnceLock<std::result::Result<Preload, String>> = OnceLock::new();
        FOUND
            .get_or_init(|| Self::locate().map_err(|failure| failure.to_string()))
            .as_ref()
            .map_err(Failure::new)
    }

    fn locate() -> Result<Self> {
        match env::var_os(OVERRIDE) {
            Some(path) => {
                let library = fs::canonicalize(&path).map_err(|error| {
                    Failure::new(format!("{OVERRIDE}={}: {error}", path.display()))
                })?;
                Ok(Self { library, reports: false })
            }
            None => Ok(Self::reporting(build()?)),
        }
    }

    /// Returns a library that speaks of its work as hz3 does.
    pub(crate) const fn reporting(library: PathBuf) -> Self {
        Self { library, reports: true }
    }

    /// Returns the path to put into `LD_PRELOAD`.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// Returns whether the process has the library in its address space now.
    pub fn is_mapped_in(&self, pid: u32) -> bool {
        let Some(path) = self.library.to_str() else { return false };
        // A process that is gone has no maps: then the answer is no.
        fs::read_to_string(format!("/proc/{pid}/maps")).is_ok_and(|maps| maps.contains(path))
    }

    /// Returns the variable that asks the library for statistics, when it can give them.
    pub(crate) fn statistics_variable(&self, file: &Path) -> Option<(&'static str, PathBuf)> {
        self.reports.then(|| ("HZ3_STATS", file.to_owned()))
    }

    /// Returns whether `statistics_variable` gives one.
    pub(crate) fn reports(&self) -> bool {
        self.reports
    }
}

/// Builds libhz3.so; a test run that follows a build finds nothing to do here.
fn build() -> Result<PathBuf> {
    let root = fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--quiet", "--package", "hz3-c"]).current_dir(&root);
    capture(&mut command)?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let library = root.join(target).join("release/libhz3.so");
    fs::canonicalize(&library)
        .map_err(|error| Failure::new(format!("{}: {error}", library.display())))
}

/// Returns how many processes said in `lines` (one JSON object a line) that they served
/// allocations.
pub(crate) fn serving_processes(lines: &str) -> usize {
    lines.lines().filter(|line| field(line, "refills").is_some_and(|refills| refills > 0)).count()
}

/// Returns the unsigned number under `key` in a flat JSON object.
fn field(line: &str, key: &str) -> Option<u64> {
    let (_, rest) = line.split_once(&format!("\"{key}\""))?;
    let value = rest.trim_start().strip_prefix(':')?.trim_start();
    let digits = value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    value[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_from_a_line_of_json() {
        let line = r#"{"allocated":16,"refills": 12,"flushes":0}"#;
        assert_eq!(field(line, "refills"), Some(12));
        assert_eq!(field(line, "allocated"), Some(16));
        assert_eq!(field(line, "flushes"), Some(0));
        assert_eq!(field(line, "missing"), None);
        assert_eq!(field("{\"refills\":-1}", "refills"), None);
    }

    #[test]
    fn only_processes_that_allocated_count() {
        let lines = "{\"refills\":3}\n{\"refills\":0}\n\n{\"other\":1}\n{\"refills\":1}\n";
        assert_eq!(serving_processes(lines), 2);
        assert_eq!(serving_processes(""), 0);
    }

    #[test]
    fn this_process_maps_its_own_executable_and_not_another() {
        let own = Preload { library: env::current_exe().expect("an executable"), reports: false };
        let other = Preload { library: PathBuf::from("/nonexistent/lib.so"), reports: false };
        assert!(own.is_mapped_in(std::process::id()));
        assert!(!other.is_mapped_in(std::process::id()));
    }
}
