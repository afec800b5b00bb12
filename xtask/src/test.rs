//! All tests, suite by suite, and how many there were.

use std::collections::BTreeSet;
use std::env;
use std::process::Command;
use std::thread;
use std::time::Instant;

use hz3_programs::packages;
use hz3_tools::{Failure, Result};

use crate::counts::{self, Counts};
use crate::needs::{self, Lacking};
use crate::{setup, shell};

/// How many tests of one binary run at a time, for the standard library's harness.
const TEST_THREADS: &str = "RUST_TEST_THREADS";

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
    /// Without optimising, which takes most of the time of building it.
    Unoptimised,
    /// Optimised, on loom's atomics and threads.
    Loom,
}

/// Every member of the workspace has at least one; a unit test sees to that.
const SUITES: &[Suite] = &[
    Suite { name: "core, debug", package: "hz3", arguments: &[], build: Build::Debug },
    Suite { name: "core, loom models", package: "hz3", arguments: &["--lib"], build: Build::Loom },
    Suite { name: "C ABI", package: "hz3-c", arguments: &[], build: Build::Unoptimised },
    Suite {
        name: "statistics crate",
        package: "hz3-ctl",
        arguments: &[],
        build: Build::Unoptimised,
    },
    Suite {
        name: "jemalloc's ABI",
        package: "hz3-jemalloc",
        arguments: &[],
        build: Build::Unoptimised,
    },
    Suite {
        name: "benchmark tool, units",
        package: "hz3-lab",
        arguments: &["--bins"],
        build: Build::Unoptimised,
    },
    Suite {
        name: "benchmark tool",
        package: "hz3-lab",
        arguments: &["--test", "*"],
        build: Build::Debug,
    },
    // Beside a package that needs the same features of its dependencies, which then exist.
    Suite {
        name: "shared by tools",
        package: "hz3-tools",
        arguments: &["--package", "xtask", "--lib"],
        build: Build::Debug,
    },
    Suite { name: "chores", package: "xtask", arguments: &[], build: Build::Debug },
    Suite { name: "real programs", package: "hz3-programs", arguments: &[], build: Build::Debug },
];

impl Suite {
    fn command(&self) -> Command {
        let mut command = shell::cargo(&["test", "--no-fail-fast", "--package", self.package]);
        match self.build {
            Build::Debug | Build::Unoptimised => {
                let is_library = ["hz3-c", "hz3-jemalloc"].contains(&self.package);
                shell::debug_panic(&mut command, !is_library);
            }
            Build::Loom => {
                shell::quick_release(command.arg("--release"), "loom");
                // Two preemptions find nearly everything and take minutes instead of hours.
                command.env("RUSTFLAGS", "--cfg loom").env("LOOM_MAX_PREEMPTIONS", "2");
                // Such models run for seconds, and optimising them takes longer.
                command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0");
            }
        }
        if matches!(self.build, Build::Unoptimised) {
            command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0");
            command.env("CARGO_PROFILE_TEST_OPT_LEVEL", "0");
            for setting in ["opt-level=0", "debug=\"line-tables-only\""] {
                let package = self.package;
                command.args(["--config", &format!("profile.test.package.{package}.{setting}")]);
            }
        }
        command.args(self.arguments);
        if self.waits() && env::var_os(TEST_THREADS).is_none() {
            let processors = thread::available_parallelism().map_or(1, usize::from);
            command.env(TEST_THREADS, (2 * processors).to_string());
        }
        command
    }

    /// Whether its tests start programs, and often sleep until these end.
    fn waits(&self) -> bool {
        ["hz3-c", "hz3-lab", "hz3-programs"].contains(&self.package)
    }

    /// Returns which of its tests cannot run here.
    fn lacking(&self) -> Result<Lacking> {
        needs::lacking(self.package, || {
            let mut command = self.command();
            command.arg("--");
            command
        })
    }

    /// Runs the suite to its end, but for the tests in `without`; the second half says what is
    /// wrong, if anything is.
    fn run(&self, without: &Lacking) -> Result<(Counts, Option<String>)> {
        let mut command = self.command();
        if !without.is_empty() {
            command.args(["--", "--exact"]);
            command.args(without.keys().flat_map(|test| ["--skip", test]));
        }
        let (counts, status) = counts::count(&mut command)?;
        let fault = counts.fault().map(str::to_owned);
        Ok((counts, fault.or_else(|| (!status.success()).then(|| status.to_string()))))
    }
}

/// Runs every suite (or those whose name contains `only`) and prints the counts. Tests whose
/// programs are not on this machine are installed first if `install`, and else named and left out.
pub(crate) fn run(install: bool, only: Option<&str>) -> Result {
    if install {
        setup::debian()?;
    }
    announce_missing();
    let suites: Vec<&Suite> =
        SUITES.iter().filter(|suite| only.is_none_or(|text| suite.name.contains(text))).collect();
    build(&suites)?;
    let mut table =
        vec!["suite                            passed  failed  not run  seconds".to_owned()];
    let (mut total, mut bad, mut left_out) = (Counts::default(), Vec::new(), Lacking::new());
    for suite in suites {
        println!("\n== {}", suite.name);
        let start = Instant::now();
        let lacking = suite.lacking()?;
        report(&lacking);
        let (counts, fault) = suite.run(&lacking)?;
        total += counts;
        let Counts { passed, failed, ignored } = counts;
        let not_run = ignored + lacking.len() as u64;
        let seconds = start.elapsed().as_secs();
        let (name, note) = (suite.name, fault.as_deref().unwrap_or_default());
        table.push(format!(
            "{name:<32} {passed:>6}  {failed:>6}  {not_run:>7}  {seconds:>7}  {note}"
        ));
        bad.extend(fault.map(|fault| format!("{name}: {fault}")));
        left_out.extend(lacking);
    }
    println!("\n{}\n", table.join("\n"));
    report(&left_out);
    println!("{} passed, {} failed, {} not run", total.passed, total.failed, left_out.len());
    if !bad.is_empty() {
        return Err(Failure::new(bad.join("; ")));
    }
    if total.passed == 0 {
        return Err(Failure::new("no suite has such a name"));
    }
    Ok(())
}

/// Builds the shipped library, with which the C API and the programs are tested, and the tests of
/// all suites. Debug and release builds run beside each other, because one crate seldom keeps two
/// processors busy.
fn build(suites: &[&Suite]) -> Result {
    let (debug, release): (Vec<&Suite>, Vec<&Suite>) =
        suites.iter().partition(|suite| !matches!(suite.build, Build::Loom));
    let tests = |suites: &[&Suite]| {
        for suite in suites {
            // A suite that does not build fails when it is run, and says why there.
            let _ = shell::run(suite.command().arg("--no-run"));
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| tests(&debug));
        shell::library()?;
        tests(&release);
        Ok(())
    })
}

fn announce_missing() {
    let missing = packages::missing();
    if !missing.is_empty() {
        println!(
            "Not on this machine: {}. Tests that need them are not run. \
             cargo xtask test --install installs them and runs everything.",
            missing.join(" ")
        );
    }
}

/// Names the tests that are not run, by what they lack.
fn report(lacking: &Lacking) {
    let kinds: BTreeSet<_> = lacking.values().collect();
    for kind in kinds {
        println!("not run for want of {}:", kind.join(", "));
        for (test, _) in lacking.iter().filter(|(_, packages)| *packages == kind) {
            println!("    {test}");
        }
    }
}

/// Runs the loom models alone, with so many preemptions of a thread.
pub(crate) fn loom(preemptions: u32) -> Result {
    let Some(suite) = SUITES.iter().find(|suite| matches!(suite.build, Build::Loom)) else {
        return Err(Failure::new("there is no suite of loom models"));
    };
    let mut command = suite.command();
    command.env("LOOM_MAX_PREEMPTIONS", preemptions.to_string());
    if preemptions > 2 {
        // Each preemption multiplies the time of the models.
        command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3");
    }
    counts::some(&mut command).map(drop)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// The folder and the `package` section of each member of the workspace.
    fn members() -> Vec<(PathBuf, toml::Table)> {
        let read = |path: PathBuf| -> toml::Table {
            std::fs::read_to_string(path).unwrap().parse().unwrap()
        };
        let manifest = read(shell::root().join("Cargo.toml"));
        let members = manifest["workspace"]["members"].as_array().unwrap();
        let folders = members.iter().map(|member| shell::root().join(member.as_str().unwrap()));
        let package = |folder: PathBuf| {
            let package = read(folder.join("Cargo.toml"))["package"].as_table().unwrap().clone();
            (folder, package)
        };
        folders.map(package).collect()
    }

    #[test]
    fn every_member_of_the_workspace_is_tested() {
        let members = members();
        assert!(!members.is_empty());
        for (_, package) in members {
            let name = package["name"].as_str().unwrap();
            assert!(SUITES.iter().any(|suite| suite.package == name), "{name} has no suite");
        }
    }

    #[test]
    fn what_is_published_has_its_licences_and_says_what_it_is() {
        let is_published = |package: &toml::Table| !package.contains_key("publish");
        let published: Vec<_> =
            members().into_iter().filter(|(_, package)| is_published(package)).collect();
        assert_eq!(published.len(), 2, "hz3 and hz3-ctl");
        for (folder, package) in published {
            for file in ["README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
                assert!(folder.join(file).is_file(), "{}: no {file}", folder.display());
            }
            for key in ["description", "readme", "keywords", "categories"] {
                assert!(package.contains_key(key), "{}: no {key}", folder.display());
            }
        }
    }

    #[test]
    fn the_loom_models_do_not_share_a_directory_with_the_shipped_library() {
        for suite in SUITES {
            let command = suite.command();
            let own = command.get_envs().any(|(name, _)| name == "CARGO_TARGET_DIR");
            assert_eq!(own, matches!(suite.build, Build::Loom), "{}", suite.name);
        }
    }
}
