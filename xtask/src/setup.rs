//! Installs the needs of tests and chores beyond a Rust toolchain and gcc. Nothing is installed
//! unless asked for, after a line that says what and how much.

use std::collections::BTreeSet;
use std::path::Path;

use hz3_programs::packages;
use hz3_tools::{Failure, Result};

use crate::services::{self, Quiet};
use crate::shell;

/// The targets that `cargo xtask targets` checks, and the one that it can also build and run for.
pub(crate) const TARGETS: [&str; 5] = [
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-gnu",
    "aarch64-unknown-linux-musl",
    "riscv64gc-unknown-linux-gnu",
    "s390x-unknown-linux-gnu",
];

/// The oldest Rust that builds hz3.
pub(crate) const OLDEST_RUST: &str = env!("CARGO_PKG_RUST_VERSION");

/// The parts of the nightly toolchain that Miri and the sanitizers need.
const NIGHTLY: [&str; 2] = ["miri", "rust-src"];

/// Installs everything: the Debian packages, the nightly toolchain, the targets.
pub(crate) fn everything() -> Result {
    debian()?;
    rust()
}

/// Installs the Debian packages whose files are missing; no service of theirs is left enabled or
/// running.
pub(crate) fn debian() -> Result {
    let missing = packages::missing();
    if missing.is_empty() {
        return Ok(());
    }
    let line = packages::apt_line(&missing);
    if !Path::new("/usr/bin/apt-get").exists() {
        return Err(Failure::new(format!(
            "only Debian's packages can be installed from here; missing: {}",
            missing.join(" ")
        )));
    }
    if shell::capture(shell::program("id").arg("-u"))?.trim() != "0" {
        return Err(Failure::new(format!(
            "packages are missing and only root can install them; type: sudo {line}"
        )));
    }
    apt(&["update", "-q"])?;
    let words: Vec<&str> = line.split(' ').skip(1).collect();
    let simulated = shell::capture(shell::program("apt-get").arg("--simulate").args(&words))?;
    let news = new_packages(&simulated);
    println!("Installing the Debian packages that the tests need: {}", missing.join(" "));
    println!("{}", size(&news)?);
    let _quiet = Quiet::begin()?;
    apt(&[&words[..], &["-q"]].concat())?;
    services::disable_all(news.iter().map(|(name, _)| *name))?;
    let still = packages::missing();
    if still.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("installed, but their files are not there: {}", still.join(" "))))
}

/// Runs apt-get, which asks no questions.
pub(crate) fn apt(arguments: &[&str]) -> Result {
    let mut command = shell::program("apt-get");
    shell::run(command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Returns the packages with their versions that a simulated run would add. A line with a version
/// in brackets before the parenthesis is an upgrade.
fn new_packages(simulated: &str) -> Vec<(&str, &str)> {
    let lines = simulated.lines().filter_map(|line| line.strip_prefix("Inst "));
    lines
        .filter_map(|line| {
            let (name, rest) = line.split_once(" (")?;
            Some((name, rest.split(' ').next()?))
        })
        .filter(|(name, _)| !name.contains(' '))
        .collect()
}

/// Returns how much the packages are, by what the archive says of each.
fn size(news: &[(&str, &str)]) -> Result<String> {
    let mut show = shell::program("apt-cache");
    show.arg("show").args(news.iter().map(|(name, version)| format!("{name}={version}")));
    let text = shell::capture(&mut show)?;
    let sum = |key: &str| -> u64 {
        let values = text.lines().filter_map(|line| line.strip_prefix(key));
        values.filter_map(|value| value.trim().parse::<u64>().ok()).sum()
    };
    let (download, kept) = (sum("Size: ") / 1_000_000, sum("Installed-Size: ") / 1_000);
    Ok(format!(
        "{} new packages with what they depend on: {download} MB to download, {kept} MB on disk",
        news.len()
    ))
}

/// Installs the nightly toolchain with its parts, and the targets.
pub(crate) fn rust() -> Result {
    if !missing_from_nightly(&NIGHTLY).is_empty() {
        println!(
            "Installing Rust's nightly toolchain with Miri and the sources: about 200 MB to download"
        );
        let mut command = shell::program("rustup");
        command.args(["toolchain", "install", "nightly", "--profile", "minimal"]);
        shell::run(command.args(NIGHTLY.iter().flat_map(|part| ["--component", part])))?;
    }
    let missing = missing_targets(&TARGETS)?;
    if missing.is_empty() {
        return Ok(());
    }
    println!(
        "Installing Rust's standard library for other targets: about 30 MB to download for each"
    );
    shell::run(shell::program("rustup").args(["target", "add"]).args(missing))
}

/// Fails unless the nightly toolchain has these parts.
pub(crate) fn require_nightly(parts: &[&str]) -> Result {
    require("the nightly toolchain lacks", &missing_from_nightly(parts))
}

/// Fails unless rustup has installed these targets.
pub(crate) fn require_targets(targets: &[&str]) -> Result {
    require("Rust has no standard library for", &missing_targets(targets)?)
}

fn require(what: &str, missing: &[String]) -> Result {
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("{what} {}; install it with: cargo xtask setup", missing.join(", "))))
}

/// Installs the oldest Rust that builds hz3, with clippy.
pub(crate) fn oldest_rust() -> Result {
    let mut found = shell::program("rustup");
    found.args(["run", OLDEST_RUST, "cargo", "clippy", "--version"]);
    if shell::capture(&mut found).is_ok() {
        return Ok(());
    }
    println!("Installing Rust {OLDEST_RUST}: about 100 MB to download");
    let mut command = shell::program("rustup");
    command.args(["toolchain", "install", OLDEST_RUST, "--profile", "minimal"]);
    shell::run(command.args(["--component", "clippy"]))
}

fn missing_from_nightly(parts: &[&str]) -> Vec<String> {
    let arguments = ["component", "list", "--installed", "--toolchain", "nightly"];
    // Without a nightly toolchain rustup fails, and every part is missing.
    let listed = shell::capture(shell::program("rustup").args(arguments)).unwrap_or_default();
    let has = |part: &str| listed.lines().any(|line| line.starts_with(part));
    parts.iter().filter(|part| !has(part)).map(|part| (*part).to_owned()).collect()
}

fn missing_targets(targets: &[&str]) -> Result<Vec<String>> {
    let listed = shell::capture(shell::program("rustup").args(["target", "list", "--installed"]))?;
    let installed: BTreeSet<&str> = listed.lines().collect();
    let missing = targets.iter().filter(|target| !installed.contains(**target));
    Ok(missing.map(|target| (*target).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_packages_are_counted() {
        let simulated = "Reading package lists...\n\
            Inst redis-tools (5:7.0.15-1 Debian:12/oldstable [amd64])\n\
            Inst libc6 [2.36-9] (2.36-10 Debian:12/oldstable [amd64])\n\
            Conf redis-tools (5:7.0.15-1 Debian:12/oldstable [amd64])\n";
        assert_eq!(new_packages(simulated), [("redis-tools", "5:7.0.15-1")]);
    }

    #[test]
    fn what_is_missing_names_the_command_that_installs_it() {
        assert!(require("lacks", &[]).is_ok());
        let error = require("lacks", &["miri".to_owned()]).expect_err("something is missing");
        assert_eq!(error.to_string(), "lacks miri; install it with: cargo xtask setup");
        assert!(require_targets(&["pdp11-unknown-unix"]).is_err());
    }
}
