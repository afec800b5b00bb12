//! A site: the directory and the allocator with which one run of a test works.

use std::cell::Cell;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

use crate::place::Place;
use crate::preload::serving_processes;
use crate::{Failure, Preload, Result, Run, packages};

/// Where one run happens. Both runs of a comparison see the same path.
#[derive(Debug)]
pub struct Site {
    place: Place,
    logs: PathBuf,
    started: Cell<u32>,
}

/// Runs `work` on the system's allocator and on the library under test; what it returns must be
/// equal. At least `processes` processes must have been served by the library.
///
/// # Errors
/// When `work` fails, the outputs differ, or the library was not in use.
pub fn compare(name: &str, processes: usize, work: impl Fn(&Site) -> Result<Vec<u8>>) -> Result {
    let tested = Preload::under_test()?;
    let expected = Site::with(name, None, &work)?;
    let found = Site::with(name, Some(tested), |site| {
        let found = work(site)?;
        site.prove_served(tested, processes)?;
        Ok(found)
    })?;
    if expected.is_empty() {
        return Err(Failure::new(format!("{name}: the work produced nothing to compare")));
    }
    first_difference(&expected, &found)
        .map_or(Ok(()), |text| Err(Failure::new(format!("{name}: output differs, {text}"))))
}

/// Runs `work`, which judges its own results, on the library under test alone.
///
/// # Errors
/// When `work` fails or the library was not in use.
pub fn check(name: &str, processes: usize, work: impl Fn(&Site) -> Result) -> Result {
    let tested = Preload::under_test()?;
    Site::with(name, Some(tested), |site| {
        work(site)?;
        site.prove_served(tested, processes)
    })
}

impl Site {
    /// Calls `work` with a fresh site. The directory goes away when all went well.
    fn with<T>(
        name: &str,
        preload: Option<&'static Preload>,
        work: impl FnOnce(&Self) -> Result<T>,
    ) -> Result<T> {
        let home = env::temp_dir().join(format!("hz3-programs-{}", process::id())).join(name);
        if home.exists() {
            fs::remove_dir_all(&home)?;
        }
        let site = Self {
            place: Place::new(home.join("work"), preload),
            logs: home.join("logs"),
            started: Cell::new(0),
        };
        fs::create_dir_all(site.place.directory())?;
        fs::create_dir_all(&site.logs)?;
        let result = work(&site)
            .map_err(|failure| failure.during(&format!("{name} (kept: {})", home.display())))?;
        fs::remove_dir_all(&home)?;
        Ok(result)
    }

    /// Returns the path of a file in the working directory.
    pub fn path(&self, file: &str) -> PathBuf {
        self.place.directory().join(file)
    }

    /// Writes an input file, with the directories above it.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, file: &str, contents: impl AsRef<[u8]>) -> Result {
        let path = self.path(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, contents).map_err(|error| Failure::from(error).during(file))
    }

    /// Reads a file that a program wrote.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read(&self, file: &str) -> Result<Vec<u8>> {
        fs::read(self.path(file)).map_err(|error| Failure::from(error).during(file))
    }

    /// Returns a program of the table in `packages`, to be run here.
    ///
    /// # Errors
    /// When it is not installed; the message says how to install it.
    pub fn run(&self, tool: &str) -> Result<Run<'_>> {
        Ok(self.run_path(&packages::find(tool)?.path()))
    }

    /// Returns any program, to be run here: in the working directory, with a clean environment.
    pub fn run_path(&self, program: &Path) -> Run<'_> {
        let directory = self.place.directory();
        let mut command = Command::new(program);
        command
            .current_dir(directory)
            .stdin(Stdio::null())
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", directory)
            .env("TMPDIR", directory)
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC");
        if let Some(preload) = self.place.preload() {
            command.env("LD_PRELOAD", preload.library());
            command.envs(preload.statistics_variable(&self.statistics()));
        }
        let number = self.started.replace(self.started.get() + 1);
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let logs = self.logs.join(format!("{number:03}-{name}"));
        Run::new(&self.place, command, name, logs)
    }

    /// Fails unless the process has the library in its address space now (if this site has one).
    ///
    /// # Errors
    /// When the library is not there.
    pub fn prove_mapped(&self, pid: u32) -> Result {
        match self.place.preload() {
            Some(preload) if !preload.is_mapped_in(pid) => Err(Failure::new(format!(
                "{} is not in the address space of process {pid}",
                preload.library().display()
            ))),
            _ => Ok(()),
        }
    }

    fn statistics(&self) -> PathBuf {
        self.logs.join("statistics.jsonl")
    }

    /// Fails unless the library really served the programs that ran here.
    fn prove_served(&self, preload: &Preload, processes: usize) -> Result {
        if !preload.reports() {
            // Seen by sampling: enough for a library that is only a stand-in.
            return if self.place.was_mapped() {
                Ok(())
            } else {
                Err(Failure::new("no process was seen with the library in its address space"))
            };
        }
        let lines = fs::read_to_string(self.statistics())
            .map_err(|error| Failure::from(error).during("no process left statistics"))?;
        let served = serving_processes(&lines);
        if served >= processes {
            return Ok(());
        }
        Err(Failure::new(format!(
            "{served} processes left statistics that show served allocations, at least {processes} should have"
        )))
    }
}

/// Returns where two outputs part, in words; `None` when they are equal.
fn first_difference(expected: &[u8], found: &[u8]) -> Option<String> {
    if expected == found {
        return None;
    }
    let (expected, found) = (String::from_utf8_lossy(expected), String::from_utf8_lossy(found));
    let (mut left, mut right) = (expected.lines(), found.lines());
    let mut number = 0;
    loop {
        number += 1;
        match (left.next(), right.next()) {
            (None, None) => return Some("in line ends or in bytes that are not text".into()),
            (a, b) if a == b => {}
            (a, b) => {
                let (a, b) = (a.unwrap_or("(end)"), b.unwrap_or("(end)"));
                return Some(format!("line {number}: expected {a:?}, found {b:?}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::*;

    #[test]
    fn a_difference_is_named_by_its_line() {
        assert_eq!(first_difference(b"a\nb\n", b"a\nb\n"), None);
        let text = first_difference(b"a\nb\nc\n", b"a\nX\nc\n").expect("they differ");
        assert_eq!(text, r#"line 2: expected "b", found "X""#);
        let text = first_difference(b"a\n", b"a\nb\n").expect("they differ");
        assert_eq!(text, r#"line 2: expected "(end)", found "b""#);
        assert!(first_difference(b"a\n", b"a").is_some());
    }

    #[test]
    fn a_site_without_statistics_does_not_pass_for_served() {
        static PRELOAD: OnceLock<Preload> = OnceLock::new();
        let preload = PRELOAD.get_or_init(|| Preload::reporting("/nonexistent/lib.so".into()));
        let prove = |lines: &str| {
            Site::with("unserved", Some(preload), |site| {
                fs::write(site.statistics(), lines)?;
                site.prove_served(preload, 2)
            })
        };
        assert!(prove("").is_err());
        assert!(prove("{\"refills\":1}\n{\"refills\":0}\n").is_err());
        assert!(prove("{\"refills\":1}\n{\"refills\":7}\n").is_ok());
    }
}
