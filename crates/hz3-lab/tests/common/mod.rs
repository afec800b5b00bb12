//! Shared by the integration tests: the program, and libraries to preload that need no hz3.
#![allow(dead_code, reason = "each test file uses its own part of this module")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

/// The program under test.
pub(crate) fn hz3() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hz3"));
    command.env_remove("LD_PRELOAD");
    command
}

/// A preload library that serves by the C library's malloc, and reports 41 requests of its process
/// at exit in the way hz3 does, when hz3's options ask for it.
pub(crate) fn stand_in() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| library("stand_in"))
}

/// The preload library of `tests/common/NAME.rs`, built by the compiler that built this test.
pub(crate) fn library(name: &str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().expect("no build has panicked");
    built.entry(name.to_owned()).or_insert_with(|| build(name)).clone()
}

fn build(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/common/{name}.rs"));
    // Test binaries run side by side: each builds in its own place (the compiler names its passing
    // files by the crate), and none replaces a library that another has mapped.
    let own_place = tempfile::tempdir_in(directory).expect("a directory");
    let own = own_place.path().join("built.so");
    let library = directory.join(format!("lib{name}.so"));
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let built = Command::new(rustc)
        .args(["--edition=2024", "--crate-type=cdylib", "-Cpanic=abort", "-O", "-o"])
        .args([&own, &source])
        .arg(format!("--crate-name={name}"))
        .status()
        .expect("the compiler runs");
    assert!(built.success(), "the library {name} builds");
    let read = |path: &Path| std::fs::read(path).unwrap_or_default();
    if read(&own) != read(&library) {
        std::fs::rename(&own, &library).expect("the library moves to its place");
    }
    library
}

/// Waits until `ready` says yes. A minute without it is a hang, on the slowest machine.
pub(crate) fn wait_until(what: &str, ready: impl FnMut() -> bool) {
    assert!(hz3_tools::wait_until(Duration::from_secs(60), ready), "never {what}");
}

/// Standard output as text.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}
