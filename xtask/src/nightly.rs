//! What only a nightly toolchain can do: Miri and `ThreadSanitizer` on crate hz3.

use std::process::Command;

use hz3_programs::Result;

use crate::{counts, shell};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Runs the tests of crate hz3 under Miri.
pub(crate) fn miri(tree_borrows: bool, filter: Option<&str>) -> Result {
    ensure("miri")?;
    // The tests read no file and no clock, but proptest asks for the working directory.
    let mut flags = String::from(
        "-Zmiri-strict-provenance -Zmiri-symbolic-alignment-check -Zmiri-disable-isolation",
    );
    if tree_borrows {
        flags.push_str(" -Zmiri-tree-borrows");
    }
    let mut command = cargo(&["miri", "test", "--package", "hz3", "--lib"]);
    counts::some(command.args(filter).env("MIRIFLAGS", flags))
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
        command.env("RUSTFLAGS", "-Zsanitizer=thread").env("TSAN_OPTIONS", "halt_on_error=1"),
    )
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
