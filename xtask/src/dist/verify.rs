//! Builds packages again in another directory, and compares the bytes.

use std::fs;
use std::path::{Path, PathBuf};

use hz3_programs::{Failure, Result};

use crate::shell;

/// Builds the packages of the last commit from a clone in a directory with a longer name, and fails
/// unless each is the same as the one in `made`.
pub(super) fn same_elsewhere(targets: &[String], deb: bool, made: &[PathBuf]) -> Result {
    let changed = ["status", "--porcelain", "--untracked-files=no"];
    if !shell::capture(shell::program("git").args(changed))?.is_empty() {
        return Err(Failure::new(
            "the second build is of the last commit: commit the changes first",
        ));
    }
    let clone = shell::target().join("dist-verify/a-directory-with-a-longer-name");
    shell::empty(&clone)?;
    let out = clone.with_file_name("packages");
    shell::empty(&out)?;
    shell::run(shell::program("git").args(["clone", "--quiet", "."]).arg(&clone))?;
    let mut command = shell::cargo(&["xtask", "dist", "--out"]);
    // A build directory of its own, and of another name.
    command.arg(&out).current_dir(&clone).env_remove("CARGO_TARGET_DIR");
    command.args(targets.iter().flat_map(|target| ["--target", target]));
    command.args(deb.then_some("--deb"));
    shell::run(&mut command)?;
    let different = different(made, &out)?;
    if different.is_empty() {
        println!("{} packages have the same bytes in two directories", made.len());
        return Ok(());
    }
    Err(Failure::new(format!("built elsewhere, other bytes: {}", different.join(", "))))
}

/// Returns the names of the files that `folder` has with other bytes.
fn different(files: &[PathBuf], folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default();
        if fs::read(file)? != fs::read(folder.join(name))? {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_makes_a_difference() {
        let folder = shell::target().join("verify-test");
        let other = folder.join("other");
        shell::empty(&other).unwrap();
        let files = [folder.join("one"), folder.join("two")];
        for (file, there) in files.iter().zip(["same", "othes"]) {
            fs::write(file, if there == "same" { "same" } else { "other" }).unwrap();
            fs::write(other.join(file.file_name().unwrap()), there).unwrap();
        }
        assert_eq!(different(&files, &other).unwrap(), ["two"]);
        assert!(different(&[folder.join("missing")], &other).is_err());
    }
}
