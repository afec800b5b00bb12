//! What only a nightly toolchain can do: Miri and `ThreadSanitizer` on crate hz3.

use std::num::NonZero;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use hz3_programs::{Failure, Result};

use crate::{counts, shell};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Parts of the tests for each of Miri's processes: several, as some tests take a hundred times as long as
/// others, and few, as the start of each takes seconds.
const PARTS: usize = 6;

/// Runs the tests of crate hz3 under Miri: in as many processes as there are processors, as one process
/// interprets one thread at a time.
pub(crate) fn miri(tree_borrows: bool, filter: Option<&str>) -> Result {
    ensure("miri")?;
    // The tests read no file and no clock, but proptest asks for the working directory.
    let mut flags = String::from(
        "-Zmiri-strict-provenance -Zmiri-symbolic-alignment-check -Zmiri-disable-isolation",
    );
    if tree_borrows {
        flags.push_str(" -Zmiri-tree-borrows");
    }
    let harness = |words: &[&str]| {
        let mut command = cargo(&["miri", "test", "--package", "hz3", "--lib", "--"]);
        command.args(words).env("MIRIFLAGS", &flags);
        command
    };
    let listed = shell::capture(harness(&["--list", "--format", "terse"]).args(filter))?;
    let tests: Vec<&str> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    let processes = thread::available_parallelism().map_or(1, NonZero::get);
    let parts = (processes * PARTS).min(tests.len());
    let next = AtomicUsize::new(0);
    let worker = || -> Result<u64> {
        let mut done = 0;
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= parts {
                return Ok(done);
            }
            // Dealt out in turn: tests of one module take about the same time.
            let names: Vec<&str> = tests.iter().copied().skip(part).step_by(parts).collect();
            let words = ["--exact", "-Zunstable-options", "--report-time"];
            let counts = counts::some(harness(&words).args(names))?;
            // What is ignored under Miri says why in its source.
            done += counts.passed + counts.ignored;
        }
    };
    let done = thread::scope(|scope| {
        let workers: Vec<_> = (0..processes).map(|_| scope.spawn(worker)).collect();
        let lost = |_| Err(Failure::new("a worker panicked"));
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(lost)).sum::<Result<u64>>()
    })?;
    match tests.len() as u64 {
        0 => Err(Failure::new("no test ran")),
        all if all == done => Ok(()),
        all => Err(Failure::new(format!("of {all} tests {done} ran"))),
    }
}

/// Runs the tests of crate hz3 whose name contains `stress` under `ThreadSanitizer`.
pub(crate) fn tsan() -> Result {
    ensure("rust-src")?;
    let mut command = cargo(&["test", "--release", "--package", "hz3", "-Zbuild-std"]);
    command.args(["--target", TARGET, "--lib", "stress"]);
    shell::quick_release(&mut command, "tsan");
    // Tests unwind; a shipped profile that aborts would build the standard library twice.
    command.env("CARGO_PROFILE_RELEASE_PANIC", "unwind");
    counts::some(
        command
            .env("RUSTFLAGS", "-Zsanitizer=thread --cfg tsan")
            .env("TSAN_OPTIONS", "halt_on_error=1"),
    )?;
    Ok(())
}

/// Cargo of the nightly toolchain: rustup's proxy understands `+nightly`, cargo itself does not.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = shell::program("cargo");
    // Set by the stable cargo that runs us; the nightly one must find its own.
    for name in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(name);
    }
    command.arg("+nightly").args(arguments);
    command
}

/// Installs the nightly toolchain with this component (and the sources) unless it is there.
fn ensure(component: &str) -> Result {
    let listed = shell::capture(shell::program("rustup").args([
        "component",
        "list",
        "--installed",
        "--toolchain",
        "nightly",
    ]));
    let has = |name: &str, list: &str| list.lines().any(|line| line.starts_with(name));
    if listed.is_ok_and(|list| has(component, &list) && has("rust-src", &list)) {
        return Ok(());
    }
    let mut command = shell::program("rustup");
    command.args(["toolchain", "install", "nightly", "--profile", "minimal"]);
    shell::run(command.args(["--component", component, "--component", "rust-src"]))
}
