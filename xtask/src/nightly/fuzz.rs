//! The fuzz targets, which need cargo-fuzz, a C++ compiler and a nightly Rust.

use std::fs;

use hz3_tools::{Failure, Result};

use super::cargo;
use crate::shell;

/// A run of the fuzzer may take this much memory, in MiB, and this long for one input, in seconds.
const LIMITS: [&str; 2] = ["-rss_limit_mb=4096", "-timeout=60"];

/// Runs every target for so many seconds, with the checks that a shipped library does not have. The
/// inputs that found new code are kept in `fuzz/corpus/`, which is not part of the repository.
pub(crate) fn all(seconds: u32) -> Result {
    for target in targets()? {
        // hz3 is the allocator under test, so no sanitizer may replace it.
        let arguments = ["fuzz", "run", "-s", "none", "--features", "check", &target, "--"];
        let mut command = cargo(&arguments);
        command.arg(format!("-max_total_time={seconds}")).args(LIMITS);
        shell::run(command.arg("-print_final_stats=1")).map_err(|failure| {
            failure.during(&format!(
                "fuzz target {target}; make the input in fuzz/artifacts/{target} a test"
            ))
        })?;
    }
    Ok(())
}

/// Returns the names of all targets.
fn targets() -> Result<Vec<String>> {
    let folder = shell::root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    if names.is_empty() { Err(Failure::new("there is no fuzz target")) } else { Ok(names) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_built() {
        let manifest = fs::read_to_string(shell::root().join("fuzz/Cargo.toml")).unwrap();
        for name in targets().unwrap() {
            let path = format!("path = \"fuzz_targets/{name}.rs\"");
            assert!(manifest.contains(&path), "{name}");
        }
    }
}
