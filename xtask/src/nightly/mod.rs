//! The long forms of the gate's steps, which take too long for every change.

mod fuzz;
mod miri;
mod sanitizers;

use std::process::Command;
use std::time::Instant;

use hz3_tools::{Failure, Result};

use crate::{attack, counts, dist, setup, shell, targets, test};

pub(crate) use miri::{Extent, miri};
pub(crate) use sanitizers::{asan, tsan};

/// How often each storm of forks forks here; 60 times in the gate.
const FORKS: &str = "2000";
/// How long `ThreadSanitizer` watches an attack on the default policy.
const TSAN_SECONDS: u32 = 300;
/// How long each fuzz target runs.
const FUZZ_SECONDS: u32 = 3600;
/// Preemptions of a thread that loom tries; 2 in the gate.
const PREEMPTIONS: u32 = 3;

/// Runs every step (or those whose name contains `only`), also after a failure. All policies
/// together are attacked for `minutes`.
pub(crate) fn run(install: bool, only: Option<&str>, minutes: u32) -> Result {
    if install {
        setup::everything()?;
        setup::oldest_rust()?;
    }
    let attack = move || attack::run(minutes, 1, None, false);
    let checked_attack = move || attack::run(minutes, 2, None, true);
    let steps: [(&str, &dyn Fn() -> Result); 18] = [
        ("core, release", &core_release),
        ("core, check build", &core_check_build),
        ("C API, check build", &c_check_build),
        ("C API, undefined", &c_undefined),
        ("programs, check build", &programs_check_build),
        ("attack, check build", &checked_attack),
        ("storms", &storms),
        ("oldest Rust", &oldest_rust),
        ("targets", &|| targets::run(true)),
        ("dependencies", &dependencies),
        ("packages, same bytes", &dist::verified),
        ("fuzz", &|| fuzz::all(FUZZ_SECONDS)),
        ("loom", &|| test::loom(PREEMPTIONS)),
        ("miri", &|| miri(Extent::Full, false, None)),
        ("miri, tree borrows", &|| miri(Extent::Full, true, None)),
        ("asan", &asan),
        ("tsan", &|| tsan(Some(TSAN_SECONDS))),
        ("attack", &attack),
    ];
    let (mut table, mut failed) = (Vec::new(), Vec::new());
    for (name, step) in steps.iter().filter(|(name, _)| only.is_none_or(|o| name.contains(o))) {
        println!("\n== {name}");
        let start = Instant::now();
        let outcome = step();
        let seconds = start.elapsed().as_secs();
        let note = outcome.as_ref().map_or_else(ToString::to_string, |()| "ok".to_owned());
        table.push(format!("{name:<22} {seconds:>6} s  {note}"));
        if outcome.is_err() {
            failed.push(*name);
        }
    }
    println!("\n{}", table.join("\n"));
    if table.is_empty() {
        return Err(Failure::new("no step has such a name"));
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(format!("failed: {}", failed.join(", "))))
    }
}

/// Runs the tests of crate hz3 as it is shipped: optimised, and without the assertions of a debug
/// build. In the gate the tests of the C API and of real programs use that code.
fn core_release() -> Result {
    let mut command = shell::cargo(&["test", "--package", "hz3", "--release"]);
    shell::quick_release(&mut command, "test-release");
    counts::some(&mut command).map(drop)
}

/// Runs the tests of crate hz3 with the checks that a shipped library does not have.
fn core_check_build() -> Result {
    counts::some(&mut shell::cargo(&["test", "--package", "hz3", "--features", "check"])).map(drop)
}

/// Runs C and C++ programs on a library that checks itself. Its code is not the one that `exports`
/// describes.
fn c_check_build() -> Result {
    let mut command = shell::cargo(&["test", "--package", "hz3-c", "--features", "check"]);
    counts::some(command.args(["--", "--skip", "exports::"])).map(drop)
}

/// Runs C and C++ programs that end at the first undefined behaviour of their own, so that no test
/// rests on it. Left out are those that access memory beside a block on purpose, and those without
/// the C++ runtime, which the sanitizer's needs.
fn c_undefined() -> Result {
    const LEFT_OUT: [&str; 4] =
        ["guard::", "cxx::new_throws_by", "cxx::plain_new_ends", "linked::cxx_programs"];
    let mut command = shell::cargo(&["test", "--package", "hz3-c", "--"]);
    command.args(LEFT_OUT.iter().flat_map(|test| ["--skip", test]));
    counts::some(command.env("HZ3_TEST_SANITIZER", "undefined")).map(drop)
}

/// Builds and tests the core and the C API on the oldest Rust that builds hz3.
fn oldest_rust() -> Result {
    // Its lints do not know the newest ones, nor that `const _: () = assert!(...)` uses a constant
    // and that a function of C is no closure.
    const ALLOWED: [&str; 3] = ["unknown_lints", "dead_code", "clippy::redundant_closure"];
    let version = format!("+{}", setup::OLDEST_RUST);
    let packages = ["--package", "hz3", "--package", "hz3-c", "--package", "hz3-ctl"];
    let mut clippy = toolchain(&version, &["clippy", "--lib"]);
    clippy.args(packages).args(["--", "-D", "warnings"]);
    shell::run(clippy.args(ALLOWED.iter().flat_map(|lint| ["-A", lint])))?;
    let mut tests = toolchain(&version, &["test", "--lib"]);
    counts::some(tests.args(packages)).map(drop)
}

/// Real programs on a library that checks itself.
fn programs_check_build() -> Result {
    let library = shell::checked_library()?;
    let mut command = shell::cargo(&["test", "--package", "hz3-programs"]);
    counts::some(command.env("PRELOAD_UNDER_TEST", library)).map(drop)
}

fn storms() -> Result {
    let mut command: Command = shell::cargo(&["test", "--package", "hz3-c", "fork_storm::"]);
    counts::some(command.env("HZ3_TEST_FORKS", FORKS)).map(drop)
}

/// Licences, known faults and sources of the dependencies, as `deny.toml` wants them. Reads the
/// advisories of `RustSec` from the network.
fn dependencies() -> Result {
    if shell::capture(&mut shell::cargo(&["deny", "--version"])).is_err() {
        return Err(Failure::new("cargo-deny is missing: cargo install cargo-deny --locked"));
    }
    shell::run(&mut shell::cargo(&["deny", "check"]))
}

/// Cargo of the nightly toolchain.
fn cargo(arguments: &[&str]) -> Command {
    toolchain("+nightly", arguments)
}

/// Cargo of another toolchain: rustup's proxy understands `+NAME`, cargo itself does not.
fn toolchain(name: &str, arguments: &[&str]) -> Command {
    let mut command = shell::program("cargo");
    // Set by the stable cargo that runs us; the other one must find its own.
    for variable in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(variable);
    }
    command.arg(name).args(arguments);
    command
}
