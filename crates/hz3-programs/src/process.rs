//! Starting a program, waiting for it with a deadline that only a hang can meet, and what it said.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use hz3_tools::{Failure, Group, Result, Signal, wait_until};

use crate::place::Place;

/// No program here needs a tenth of this, even on a busy machine: reaching it means a hang.
const DEADLINE: Duration = Duration::from_secs(300);

/// A program about to be started in a [`Site`](crate::Site).
#[derive(Debug)]
pub struct Run<'site> {
    place: &'site Place,
    command: Command,
    name: String,
    logs: PathBuf,
}

/// The result of a program.
#[derive(Debug)]
pub struct Output {
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Returns the standard output as text.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub fn text(self) -> Result<String> {
        Ok(String::from_utf8(self.stdout)?)
    }
}

impl<'site> Run<'site> {
    pub(crate) fn new(place: &'site Place, command: Command, name: String, logs: PathBuf) -> Self {
        Self { place, command, name, logs }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Feeds a file of the site to standard input.
    ///
    /// # Errors
    /// When the file can't be opened.
    pub fn stdin(mut self, file: &str) -> Result<Self> {
        self.command.stdin(File::open(self.place.directory().join(file))?);
        Ok(self)
    }

    /// Runs the program to its end, which must be a success.
    ///
    /// # Errors
    /// When it can't be started, fails, hangs, or complains in a line that begins with `hz3:`.
    pub fn output(self) -> Result<Output> {
        self.start()?.finish()
    }

    /// Starts the program and returns at once.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(mut self) -> Result<Process<'site>> {
        let stdout = self.logs.with_extension("stdout");
        let stderr = self.logs.with_extension("stderr");
        // Files, not pipes: a grandchild that outlives its parent can't keep the test waiting.
        self.command.stdout(File::create(&stdout)?).stderr(File::create(&stderr)?);
        let group = Group::start(&mut self.command)
            .map_err(|error| Failure::from(error).during(&self.name))?;
        Ok(Process { place: self.place, group, name: self.name, stdout, stderr })
    }
}

/// A running program. Dropped before its end, it is killed with all that it started.
#[derive(Debug)]
pub struct Process<'site> {
    place: &'site Place,
    group: Group,
    name: String,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process<'_> {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.group.id()
    }

    /// Sends a signal to the program itself.
    ///
    /// # Errors
    /// When it can't be sent.
    pub fn signal(&self, signal: Signal) -> Result {
        Ok(self.group.signal(signal)?)
    }

    /// Asks `ready` again and again until it says yes.
    ///
    /// # Errors
    /// When the program ends first or the deadline passes.
    pub fn wait_until(&mut self, what: &str, mut ready: impl FnMut() -> bool) -> Result {
        let (mut is_ready, mut ended) = (false, Ok(None));
        wait_until(DEADLINE, || {
            is_ready = ready();
            if !is_ready {
                ended = self.poll();
            }
            is_ready || !matches!(ended, Ok(None))
        });
        match ended? {
            Some(status) => Err(self.complaint(&format!("ended ({status}) before {what}"))),
            None if is_ready => Ok(()),
            None => Err(self.complaint(&format!("not {what} after {DEADLINE:?}"))),
        }
    }

    /// Waits for the end, which must be a success.
    ///
    /// # Errors
    /// When the program fails, hangs, or complains in a line that begins with `hz3:`.
    pub fn finish(mut self) -> Result<Output> {
        let Some(status) = self.group.wait(DEADLINE, |id| self.place.note_mapping(id))? else {
            return Err(self.complaint(&format!("still running after {DEADLINE:?}")));
        };
        if !status.success() {
            return Err(self.complaint(&status.to_string()));
        }
        let output = Output { stdout: fs::read(&self.stdout)?, stderr: fs::read(&self.stderr)? };
        if let Some(line) = allocator_line(&output.stderr) {
            return Err(Failure::new(format!("{}: the allocator said: {line}", self.name)));
        }
        Ok(output)
    }

    fn poll(&mut self) -> Result<Option<ExitStatus>> {
        self.place.note_mapping(self.group.id());
        Ok(self.group.poll()?)
    }

    /// Returns a failure with the end of what the program printed.
    fn complaint(&self, what: &str) -> Failure {
        let tail = |path| fs::read(path).map(|bytes| last_lines(&bytes, 30)).unwrap_or_default();
        Failure::new(format!(
            "{} [{}]: {what}\n--- end of stdout\n{}\n--- end of stderr\n{}",
            self.name,
            self.place.allocator(),
            tail(&self.stdout),
            tail(&self.stderr),
        ))
    }
}

/// Returns the first line that the allocator wrote, if it wrote one. A program whose children give
/// up their rights has some that may not write their statistics; that they say so is no fault.
fn allocator_line(stderr: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(stderr);
    let is_fault =
        |line: &&str| line.starts_with("hz3:") && !line.contains("may not be written to");
    text.lines().find(is_fault).map(str::to_owned)
}

fn last_lines(bytes: &[u8], count: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_allocator_is_found_wherever_it_stands() {
        assert_eq!(
            allocator_line(b"warning: x\nhz3: double free\n"),
            Some("hz3: double free".into())
        );
        assert_eq!(allocator_line(b"error in libhz3: no\n"), None);
        assert_eq!(allocator_line(b""), None);
    }

    #[test]
    fn the_last_lines_are_the_last_ones() {
        assert_eq!(last_lines(b"1\n2\n3\n", 2), "2\n3");
        assert_eq!(last_lines(b"1\n", 5), "1");
    }
}
