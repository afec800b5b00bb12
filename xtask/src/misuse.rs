//! Writes `docs/misuse.md`: what hz3 and other allocators do when a program misuses the heap.
//!
//! Each case is an argument of `crates/hz3-c/tests/c/misuse.c` and runs in a process of its own on
//! each allocator.

use std::fmt::Write;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use hz3_tools::{Failure, Result};

use crate::shell;

const PAGE: &str = "docs/misuse.md";
const SOURCE: &str = "crates/hz3-c/tests/c/misuse.c";
/// The operators of C++ are there on every allocator.
const FLAGS: [&str; 9] = [
    "-std=gnu11",
    "-O1",
    "-pthread",
    "-w",
    "-DANY_ALLOCATOR",
    "-DDYNAMIC",
    "-Icrates/hz3-c/include",
    "-Wl,--no-as-needed",
    "-lstdc++",
];
/// Seconds after which a process counts as hanging.
const PATIENCE: &str = "20";
/// Status of `timeout` when it had to kill.
const KILLED: i32 = 137;

/// A misuse: the program's argument, and what the reader is told.
const CASES: [(&str, &str); 19] = [
    ("double", "free a small block twice"),
    ("double-behind-another", "free a small block twice, another one in between"),
    ("double-reused", "free a small block twice after `malloc` has handed it out again"),
    ("double-later", "free a small block twice, 100 calls in between"),
    ("large-double", "free 100 kB twice"),
    ("huge-double", "free 300 MiB twice"),
    ("large-realloc", "`realloc` a freed block of 100 kB"),
    ("huge-realloc", "`realloc` a freed block of 300 MiB"),
    ("misaligned", "free one byte behind the start of a block"),
    ("interior-aligned", "free an address inside a small block"),
    ("never-handed-out", "free an address where a block could start, but was never handed out"),
    ("large-interior", "free an address inside a block of 100 kB"),
    ("huge-interior", "free an address inside a block of 300 MiB"),
    ("stack", "free a local variable"),
    ("global", "free a global variable"),
    ("wrong-size", "`delete` 72 bytes as 8 (sized delete)"),
    ("size-0", "write to a block of size 0"),
    ("overflow", "write 100 bytes past the end of a block, then free it"),
    ("write-after-free", "write to a small block after its free"),
];

/// An allocator with its Debian package and its library; no library is the C library's own malloc.
const OTHERS: [(&str, &str, Option<&str>); 4] = [
    ("glibc", "libc6", None),
    ("mimalloc", "libmimalloc2.0", Some("libmimalloc.so.2")),
    ("jemalloc", "libjemalloc2", Some("libjemalloc.so.2")),
    ("tcmalloc", "libtcmalloc-minimal4", Some("libtcmalloc_minimal.so.4")),
];

/// An allocator of this machine.
struct Allocator {
    name: &'static str,
    version: String,
    preload: Option<PathBuf>,
}

/// Runs all cases and writes the page. Fails when one of the allocators is not installed.
pub(crate) fn run() -> Result {
    let hz3 = shell::library()?;
    let program = shell::target().join("misuse");
    shell::compile(SOURCE, &FLAGS, &program)?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let mut allocators = vec![Allocator { name: "hz3", version, preload: Some(hz3) }];
    for (name, package, library) in OTHERS {
        allocators.push(installed(name, package, library)?);
    }
    let page = page(&program, &allocators)?;
    fs::write(shell::root().join(PAGE), page)?;
    println!("wrote {PAGE}");
    Ok(())
}

fn installed(name: &'static str, package: &str, library: Option<&str>) -> Result<Allocator> {
    let query = ["-W", "-f", "${Version}\n${Architecture}", package];
    let missing = |_| Failure::new(format!("{name} is missing: apt-get install {package}"));
    let answer = shell::capture(shell::program("dpkg-query").args(query)).map_err(missing)?;
    let version = answer.lines().next().unwrap_or_default();
    let version = format!("{package} {version}");
    let Some(library) = library else { return Ok(Allocator { name, version, preload: None }) };
    let files = shell::capture(shell::program("dpkg-query").args(["-L", package]))?;
    let path = files.lines().find(|line| line.ends_with(&format!("/{library}")));
    let path = path.ok_or_else(|| Failure::new(format!("{package} has no {library}")))?;
    Ok(Allocator { name, version, preload: Some(path.into()) })
}

/// Runs one case on one allocator.
fn misuse(program: &Path, case: &str, allocator: &Allocator) -> Result<Output> {
    let mut command = shell::program("timeout");
    command.args(["-s", "KILL", PATIENCE, "env"]);
    if let Some(library) = &allocator.preload {
        command.arg(format!("LD_PRELOAD={}", library.display()));
    }
    Ok(command.arg(program).arg(case).output()?)
}

/// Returns how a case ended, in a few words.
fn verdict(output: &Output) -> &'static str {
    let silent = output.stderr.is_empty();
    // `timeout` ends by the signal that ended its child, or with 128 and its number.
    let signal = output.status.signal().or_else(|| output.status.code().map(|code| code - 128));
    match (output.status.code(), signal) {
        (Some(KILLED), _) | (_, Some(signals::KILL)) => "hangs",
        (Some(0), _) if silent => "goes on",
        (Some(0), _) => "complains and goes on",
        (_, Some(signals::SEGV | signals::BUS)) if silent => "crashes",
        _ if silent => "stops, says nothing",
        _ => "**says why**",
    }
}

/// Numbers of signals, which are the same on every Linux that hz3 runs on.
mod signals {
    pub(super) const BUS: i32 = 7;
    pub(super) const KILL: i32 = 9;
    pub(super) const SEGV: i32 = 11;
}

fn page(program: &Path, allocators: &[Allocator]) -> Result<String> {
    let mut table = String::new();
    for (case, told) in CASES {
        write!(table, "| {told} |")?;
        for allocator in allocators {
            let output = misuse(program, case, allocator)?;
            write!(table, " {} |", verdict(&output))?;
        }
        table.push('\n');
    }
    let names: Vec<&str> = allocators.iter().map(|allocator| allocator.name).collect();
    let versions: Vec<String> = allocators
        .iter()
        .map(|allocator| format!("{} ({})", allocator.name, allocator.version))
        .collect();
    Ok(format!(
        "# Misuse of the heap\n\n\
         <!-- Written by `cargo xtask misuse`; do not edit. -->\n\n\
         Each line is a C program that breaks one rule, run once on each allocator, as packaged\n\
         and without options. The cases are those of `{SOURCE}`.\n\n\
         | the program | {} |\n|---|{}\n{table}\n\
         - \"says why\": a line on stderr, then the process ends.\n\
         - \"crashes\": the processor stops the process (SIGSEGV or SIGBUS); nothing is said.\n\
         - \"goes on\": nothing was noticed; what happens later depends on the program.\n\n\
         Without `HZ3_GUARD=1` hz3 does not notice writes past the end of a block, or to a freed\n\
         block. A double free in a cache is seen at the latest when the blocks return to their\n\
         slab. A block of size 0 has 16 bytes: programs that write to one run on every other\n\
         allocator of this table, so hz3 does not stop them either.\n\n\
         Allocators: {}.\n",
        names.join(" | "),
        "---|".repeat(names.len()),
        versions.join(", "),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::ExitStatus;

    fn ended(status: i32, stderr: &str) -> Output {
        let status = ExitStatus::from_raw(status);
        Output { status, stdout: Vec::new(), stderr: stderr.as_bytes().to_vec() }
    }

    #[test]
    fn verdicts_tell_silence_from_words() {
        assert_eq!(verdict(&ended(0, "")), "goes on");
        assert_eq!(verdict(&ended(0, "oh\n")), "complains and goes on");
        assert_eq!(verdict(&ended(11, "")), "crashes");
        assert_eq!(verdict(&ended(139 << 8, "")), "crashes");
        assert_eq!(verdict(&ended(134 << 8, "x: 1\n")), "**says why**");
        assert_eq!(verdict(&ended(137 << 8, "")), "hangs");
    }
}
