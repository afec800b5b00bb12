//! All tests, suite by suite, and how many there were.

use std::process::Command;
use std::time::Instant;

use hz3_programs::{Failure, Result};

use crate::counts::{self, Counts};
use crate::{setup, shell};

/// One `cargo test`.
struct Suite {
    name: &'static str,
    package: &'static str,
    arguments: &'static [&'static str],
    build: Build,
}

enum Build {
    /// As `cargo test` does it.
    Debug,
    /// Optimised, in the directory of that name.
    Release(&'static str),
    /// Optimised, on loom's atomics and threads.
    Loom,
}

/// Every member of the workspace has at least one; a unit test sees to that.
const SUITES: &[Suite] = &[
    Suite { name: "core, debug", package: "hz3", arguments: &[], build: Build::Debug },
    Suite {
        name: "core, release",
        package: "hz3",
        arguments: &[],
        build: Build::Release("test-release"),
    },
    Suite { name: "core, loom models", package: "hz3", arguments: &["--lib"], build: Build::Loom },
    Suite { name: "C face", package: "hz3-c", arguments: &[], build: Build::Debug },
    Suite { name: "laboratory", package: "hz3-lab", arguments: &[], build: Build::Debug },
    Suite { name: "chores", package: "xtask", arguments: &[], build: Build::Debug },
    Suite { name: "real programs", package: "hz3-programs", arguments: &[], build: Build::Debug },
];

impl Suite {
    fn command(&self) -> Command {
        let mut command = shell::cargo(&["test", "--no-fail-fast", "--package", self.package]);
        match self.build {
            Build::Debug => {}
            Build::Release(directory) => {
                shell::quick_release(command.arg("--release"), directory);
            }
            Build::Loom => {
                shell::quick_release(command.arg("--release"), "loom");
                // Two preemptions find nearly everything and take minutes instead of hours.
                command.env("RUSTFLAGS", "--cfg loom").env("LOOM_MAX_PREEMPTIONS", "2");
            }
        }
        command.args(self.arguments);
        command
    }

    /// Runs the suite to its end; the second half says what is wrong, if anything is.
    fn run(&self) -> Result<(Counts, Option<String>)> {
        let (counts, status) = counts::count(&mut self.command())?;
        let fault = counts.fault().map(str::to_owned);
        Ok((counts, fault.or_else(|| (!status.success()).then(|| status.to_string()))))
    }
}

/// Runs every suite (or those whose name contains `only`) and prints the counts.
pub(crate) fn run(may_install: bool, only: Option<&str>) -> Result {
    setup::ensure(may_install)?;
    // The library that the C face and the programs are tested with is the one that is shipped.
    shell::run(&mut shell::cargo(&["build", "--release", "--package", "hz3-c"]))?;
    let mut table =
        vec!["suite                            passed  failed  skipped  seconds".to_owned()];
    let (mut total, mut bad) = (Counts::default(), Vec::new());
    for suite in SUITES.iter().filter(|suite| only.is_none_or(|text| suite.name.contains(text))) {
        println!("\n== {}", suite.name);
        let start = Instant::now();
        let (counts, fault) = suite.run()?;
        total += counts;
        let Counts { passed, failed, ignored } = counts;
        let seconds = start.elapsed().as_secs();
        let (name, note) = (suite.name, fault.as_deref().unwrap_or_default());
        table.push(format!(
            "{name:<32} {passed:>6}  {failed:>6}  {ignored:>7}  {seconds:>7}  {note}"
        ));
        bad.extend(fault.map(|fault| format!("{name}: {fault}")));
    }
    println!("\n{}\n\n{} passed, {} failed", table.join("\n"), total.passed, total.failed);
    if !bad.is_empty() {
        return Err(Failure::new(bad.join("; ")));
    }
    if total.passed == 0 {
        return Err(Failure::new("no suite has such a name"));
    }
    Ok(())
}

/// Runs the loom models alone.
pub(crate) fn loom() -> Result {
    let Some(suite) = SUITES.iter().find(|suite| matches!(suite.build, Build::Loom)) else {
        return Err(Failure::new("there is no suite of loom models"));
    };
    match suite.run()? {
        (_, None) => Ok(()),
        (_, Some(fault)) => Err(Failure::new(format!("{}: {fault}", suite.name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_of_the_workspace_is_tested() {
        let text = std::fs::read_to_string(shell::root().join("Cargo.toml")).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        let members = manifest["workspace"]["members"].as_array().unwrap();
        assert!(!members.is_empty());
        for member in members {
            let path = shell::root().join(member.as_str().unwrap()).join("Cargo.toml");
            let package: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
            let name = package["package"]["name"].as_str().unwrap();
            assert!(SUITES.iter().any(|suite| suite.package == name), "{name} has no suite");
        }
    }

    #[test]
    fn the_loom_models_do_not_share_a_directory_with_the_shipped_library() {
        for suite in SUITES {
            let command = suite.command();
            let own = command.get_envs().any(|(name, _)| name == "CARGO_TARGET_DIR");
            assert_eq!(own, !matches!(suite.build, Build::Debug), "{}", suite.name);
        }
    }
}
