//! Compiles what is packaged, with nothing of this machine in it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use hz3_tools::{Failure, Result};

use super::library;
use super::platform::{Libc, PLATFORMS, Platform};
use crate::{setup, shell};

/// The version of every package: all members of the workspace share it.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The files built for a platform.
#[derive(Debug)]
pub(super) struct Built {
    /// The shared library, stripped.
    pub(super) shared: PathBuf,
    /// The shared library of jemalloc's functions, stripped.
    pub(super) jemalloc: PathBuf,
    /// The archive, without debug information.
    pub(super) archive: PathBuf,
    /// The command-line tool; glibc's only, as it measures preloaded libraries.
    pub(super) tools: Option<Tools>,
}

/// The command-line tool, built.
#[derive(Debug)]
pub(super) struct Tools {
    /// For the platform, stripped.
    pub(super) packaged: PathBuf,
    /// For this machine; it writes its own man pages.
    pub(super) native: PathBuf,
}

/// Builds the library and the tool.
pub(super) fn build(platform: &Platform) -> Result<Built> {
    setup::require_targets(&[platform.triple])?;
    let directory = shell::target().join("dist-build");
    let cargo = |arguments: &[&str]| -> Result<Command> {
        let mut command = shell::cargo(arguments);
        command.env("CARGO_TARGET_DIR", &directory).env("RUSTFLAGS", remapping()?);
        command.env_remove("CARGO_ENCODED_RUSTFLAGS");
        // Those of all platforms: with another linker cargo would build the tool for this machine
        // anew for each platform.
        for Platform { triple, cc, .. } in &PLATFORMS {
            let variable = triple.to_uppercase().replace('-', "_");
            command.env(format!("CARGO_TARGET_{variable}_LINKER"), cc);
        }
        Ok(command)
    };
    require_program(platform.cc, platform.packages)?;
    for package in ["hz3-c", "hz3-jemalloc"] {
        let library = ["rustc", "--locked", "--release", "--package", package, "--lib"];
        let mut command = cargo(&library)?;
        command.args(["--target", platform.triple, "--crate-type", "staticlib"]);
        // musl's target links statically by itself, and then says so in the objects.
        if platform.libc == Libc::Musl {
            command.env("RUSTFLAGS", format!("{} -Ctarget-feature=-crt-static", remapping()?));
        }
        shell::run(&mut command)?;
    }
    let results = |triple: &str, profile: &str| directory.join(triple).join(profile);
    let tools = match platform.libc {
        Libc::Musl => None,
        Libc::Glibc => {
            let tool = ["build", "--locked", "--profile", "tool", "--package", "hz3-lab"];
            let native = super::platform::host()?;
            shell::run(cargo(&tool)?.args(["--target", &native]))?;
            if platform.triple != native {
                shell::run(cargo(&tool)?.args(["--target", platform.triple]))?;
            }
            let built = results(platform.triple, "tool").join("hz3");
            Some(Tools {
                packaged: stripped(platform, &built, "--strip-all")?,
                native: results(&native, "tool").join("hz3"),
            })
        }
    };
    let archive = results(platform.triple, "release").join("libhz3.a");
    let shared = library::link(platform, &archive)?;
    let jemalloc = archive.with_file_name("libhz3_jemalloc.a");
    let jemalloc = library::link_jemalloc(platform, &jemalloc)?;
    Ok(Built {
        shared: stripped(platform, &shared, "--strip-unneeded")?,
        jemalloc: stripped(platform, &jemalloc, "--strip-unneeded")?,
        archive: stripped(platform, &archive, "--strip-debug")?,
        tools,
    })
}

/// Fails unless a program is on this machine; `packages` bring it.
pub(super) fn require_program(name: &str, packages: &str) -> Result {
    if Command::new(name).arg("--version").output().is_ok() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{name} is not on this machine; install it with: apt-get install {packages}"
    )))
}

/// Flags that replace this machine's paths in messages and debug information.
fn remapping() -> Result<String> {
    let home = env::var("CARGO_HOME")
        .or_else(|_| env::var("HOME").map(|home| format!("{home}/.cargo")))
        .map_err(|_| Failure::new("neither CARGO_HOME nor HOME is set"))?;
    let root = shell::root();
    Ok(format!("--remap-path-prefix={}=/hz3 --remap-path-prefix={home}=/cargo", root.display()))
}

/// Returns a copy without what only a debugger reads.
fn stripped(platform: &Platform, file: &Path, how: &str) -> Result<PathBuf> {
    let name = file.file_name().unwrap_or_default();
    let folder = file.with_file_name("stripped");
    std::fs::create_dir_all(&folder)?;
    let output = folder.join(name);
    // Deterministic archives: no times, no owners.
    let mut command = shell::program(platform.strip);
    command.args(["--enable-deterministic-archives", how, "-o"]).arg(&output).arg(file);
    shell::capture(&mut command)?;
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_what_brings_it() {
        assert!(require_program("cargo", "").is_ok());
        let error = require_program("hz3-no-such-program", "some-package").expect_err("is missing");
        assert!(error.to_string().ends_with("apt-get install some-package"), "{error}");
    }
}
