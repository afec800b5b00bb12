//! `ThreadSanitizer` and `AddressSanitizer` on the tests of crate hz3.

use std::process::Command;

use hz3_tools::Result;

use super::cargo;
use crate::{counts, setup, shell};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Runs the tests of crate hz3 whose name contains `stress`; then, if `attack` says for how many
/// seconds, an attack on the default policy.
pub(crate) fn tsan(attack: Option<u32>) -> Result {
    setup::require_nightly(&["rust-src"])?;
    watched(None)?;
    attack.map_or(Ok(()), |seconds| watched(Some(seconds)))
}

fn watched(attack: Option<u32>) -> Result {
    let mut command = tests("thread", "--cfg tsan");
    if let Some(seconds) = attack {
        command.args(["no_policy_takes_a_page", "--", "--nocapture"]);
        command.env("HZ3_ATTACK", format!("default 1 {seconds}"));
    } else {
        command.arg("stress");
    }
    counts::some(command.env("TSAN_OPTIONS", "halt_on_error=1")).map(drop)
}

/// Runs the tests of crate hz3, except those of the unwinder: it reads whatever can be read, also
/// what the sanitizer closed. The heaps of the tests lie in memory of the fake system.
pub(crate) fn asan() -> Result {
    setup::require_nightly(&["rust-src"])?;
    counts::some(tests("address", "").args(["--", "--skip", "profiler::unwind::"])).map(drop)
}

/// The tests of crate hz3 and the standard library, built with a sanitizer.
fn tests(sanitizer: &str, more: &str) -> Command {
    let mut command = cargo(&["test", "--release", "--package", "hz3", "-Zbuild-std"]);
    command.args(["--target", TARGET, "--lib"]);
    shell::quick_release(&mut command, sanitizer);
    // Tests unwind; a shipped profile that aborts would build the standard library twice.
    command.env("CARGO_PROFILE_RELEASE_PANIC", "unwind");
    command.env("RUSTFLAGS", format!("-Zsanitizer={sanitizer} {more}"));
    command
}
