//! Counts of tests, read from what cargo prints.

use std::ops::AddAssign;
use std::process::{Command, ExitStatus};

use hz3_tools::{Failure, Result};

use crate::shell;

/// How many tests did what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

impl Counts {
    /// Returns the counts in a line such as `test result: ok. 4 passed; 0 failed; 1 ignored; ...`.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let rest = line.strip_prefix("test result: ")?;
        let (_, numbers) = rest.split_once(". ")?;
        let mut counts = Self::default();
        for part in numbers.split("; ") {
            let (number, word) = part.split_once(' ')?;
            match word {
                "passed" => counts.passed = number.parse().ok()?,
                "failed" => counts.failed = number.parse().ok()?,
                "ignored" => counts.ignored = number.parse().ok()?,
                _ => {}
            }
        }
        Some(counts)
    }

    /// Why these counts are not good, if they are not.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        if self.failed > 0 {
            Some("tests failed")
        } else if self.ignored > 0 {
            Some("tests were skipped")
        } else if self.passed == 0 {
            Some("no test ran")
        } else {
            None
        }
    }
}

/// Returns the names of the tests that a command would run. The arguments of `command` end with
/// those for the harness.
pub(crate) fn names(command: &mut Command) -> Result<Vec<String>> {
    let listed = shell::capture(command.args(["--list", "--format", "terse"]))?;
    Ok(listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

/// Runs a command that runs tests, and counts them.
pub(crate) fn count(command: &mut Command) -> Result<(Counts, ExitStatus)> {
    let mut counts = Counts::default();
    let status = shell::watch(command, |line| {
        if let Some(found) = Counts::parse(line) {
            counts += found;
        }
    })?;
    Ok((counts, status))
}

/// Runs a command that runs a choice of the tests: at least one, and all that it runs pass.
pub(crate) fn some(command: &mut Command) -> Result<Counts> {
    let (counts, status) = count(command)?;
    shell::succeeded(command, status)?;
    if counts.passed == 0 { Err(Failure::new("no test ran")) } else { Ok(counts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_line_is_read_and_others_are_not() {
        let line = "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 9 filtered out; finished in 0.1s";
        assert_eq!(Counts::parse(line), Some(Counts { passed: 3, failed: 1, ignored: 2 }));
        assert_eq!(Counts::parse("test hot::pops ... ok"), None);
        assert_eq!(Counts::parse("test result: ok. many passed; 0 failed"), None);
    }

    #[test]
    fn only_tests_that_ran_and_passed_are_good() {
        let good = Counts { passed: 2, failed: 0, ignored: 0 };
        assert_eq!(good.fault(), None);
        assert!(Counts { failed: 1, ..good }.fault().is_some());
        assert!(Counts { ignored: 1, ..good }.fault().is_some());
        assert!(Counts::default().fault().is_some());
    }

    #[test]
    fn a_choice_of_tests_is_never_empty() {
        let shell = |script: &str| {
            let mut command = shell::program("/bin/sh");
            command.args(["-c", script]);
            some(&mut command)
        };
        assert!(shell("echo 'test result: ok. 0 passed; 0 failed; 0 ignored'").is_err());
        assert!(shell("echo 'test result: ok. 2 passed; 0 failed; 0 ignored'").is_ok());
        assert!(shell("echo 'test result: ok. 2 passed; 0 failed; 0 ignored'; exit 101").is_err());
    }

    #[test]
    fn counts_add_up() {
        let mut sum = Counts { passed: 1, failed: 2, ignored: 3 };
        sum += Counts { passed: 10, failed: 20, ignored: 30 };
        assert_eq!(sum, Counts { passed: 11, failed: 22, ignored: 33 });
    }
}
