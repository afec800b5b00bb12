//! Running other programs, visibly.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use hz3_programs::packages;
use hz3_tools::{Failure, Result, line};
pub(crate) use hz3_tools::{capture, succeeded};

use crate::heartbeat::Heartbeat;

/// Returns the root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Returns the directory of build results.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Returns a program in the root of the workspace, without what `cargo run` put into the
/// environment for us.
pub(crate) fn program(name: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(name);
    command.current_dir(root()).env_remove("LD_LIBRARY_PATH");
    command
}

/// Cargo of the toolchain that runs us.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = program(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

/// Lets a debug build unwind after a panic, as tests always do, or abort, as the libraries without
/// the standard library must. A build that does both needs every dependency twice.
pub(crate) fn debug_panic(command: &mut Command, unwinds: bool) {
    command.env("CARGO_PROFILE_DEV_PANIC", if unwinds { "unwind" } else { "abort" });
}

/// Release builds for tests: the shipped profile but for link-time optimisation, which costs a
/// minute a test binary. They live in a directory of their own, so that libhz3.so stays as shipped.
pub(crate) fn quick_release(command: &mut Command, directory: &str) {
    command
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_TARGET_DIR", target().join(directory));
}

/// Builds `libhz3.so` as it is shipped, and returns its path.
pub(crate) fn library() -> Result<PathBuf> {
    run(&mut cargo(&["build", "--release", "--package", "hz3-c"]))?;
    Ok(target().join("release/libhz3.so"))
}

/// Builds `libhz3-check.so`, the library that checks itself, and returns its path.
pub(crate) fn checked_library() -> Result<PathBuf> {
    let build = ["build", "--profile", "checked", "--package", "hz3-c", "--features", "check"];
    run(&mut cargo(&build))?;
    let built = target().join("checked/libhz3.so");
    let library = built.with_file_name("libhz3-check.so");
    // Programs may have the last one mapped: a new file takes its place.
    let fresh = built.with_file_name("libhz3-check.so.new");
    std::fs::copy(&built, &fresh)?;
    std::fs::rename(&fresh, &library)?;
    Ok(library)
}

/// Compiles a C program of the repository with gcc.
pub(crate) fn compile(source: &str, flags: &[&str], program: &Path) -> Result {
    let mut compiler = self::program(packages::find("gcc")?.path());
    // Without -fno-builtin gcc may remove an allocation.
    compiler.args(flags).args(["-fno-builtin", "-o"]).arg(program).arg(source);
    capture(&mut compiler).map(drop)
}

/// Makes `directory` exist and hold nothing.
pub(crate) fn empty(directory: &Path) -> Result {
    if directory.exists() {
        std::fs::remove_dir_all(directory)?;
    }
    Ok(std::fs::create_dir_all(directory)?)
}

/// Says what is run, runs it, fails when it fails.
pub(crate) fn run(command: &mut Command) -> Result {
    announce(command);
    let _heartbeat = Heartbeat::start(name(command));
    let status = command.status().map_err(|error| Failure::from(error).during(&line(command)))?;
    succeeded(command, status)
}

/// Says what is run, passes its standard output on line by line, and shows each line to `look`.
pub(crate) fn watch(command: &mut Command, mut look: impl FnMut(&str)) -> Result<ExitStatus> {
    announce(command);
    let heartbeat = Heartbeat::start(name(command));
    let started = command.stdout(Stdio::piped()).spawn();
    let mut child = started.map_err(|error| Failure::from(error).during(&line(command)))?;
    if let Some(stdout) = child.stdout.take() {
        let mut reader = BufReader::new(stdout);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes)? > 0 {
            // A test may print anything: what is not UTF-8 is shown as well as it can be.
            let text = String::from_utf8_lossy(&bytes);
            print!("{text}");
            heartbeat.heard();
            look(text.trim_end());
            bytes.clear();
        }
    }
    Ok(child.wait()?)
}

fn announce(command: &Command) {
    println!("$ {}", line(command));
}

fn name(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    program.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_the_workspace() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }

    #[test]
    fn lines_are_seen_and_a_failure_is_one() {
        let mut seen = Vec::new();
        let mut command = program("/bin/sh");
        command.args(["-c", "echo one; echo two; exit 3"]);
        let status = watch(&mut command, |line| seen.push(line.to_owned())).unwrap();
        assert_eq!(seen, ["one", "two"]);
        assert!(succeeded(&command, status).is_err());
        assert!(run(program("/bin/sh").args(["-c", "exit 1"])).is_err());
    }
}
