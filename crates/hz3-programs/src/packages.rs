//! The Debian packages that the tests and the chores need, in one table. They are named as in
//! Debian 12 and 13; where a name has the version of Python in it, the table has a `*`.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::{Failure, Result};

/// A program (or file) that the tests need, and the Debian package that brings it.
#[derive(Debug)]
pub struct Tool {
    /// The name by which tests ask for it.
    pub name: &'static str,
    /// Where the package puts it. Absolute, so that a version manager's shim is never tested
    /// instead.
    path: &'static str,
    /// The Debian package.
    package: &'static str,
}

impl Tool {
    /// Returns the file that the tests need.
    pub fn path(&self) -> PathBuf {
        versioned(self.path).into()
    }

    /// Returns the package that brings it.
    pub fn package(&self) -> String {
        versioned(self.package)
    }

    /// Returns whether the file is on this machine.
    pub fn is_present(&self) -> bool {
        self.path().exists()
    }
}

/// Returns `name` with the version of Debian's Python in place of a `*`.
fn versioned(name: &str) -> String {
    if name.contains('*') { name.replace('*', python_version()) } else { name.to_owned() }
}

/// Returns the version of `/usr/bin/python3` or, where that is not installed, of the one that would
/// be: "3.11".
fn python_version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let link = std::fs::read_link("/usr/bin/python3").unwrap_or_default();
        let installed = link.to_str().and_then(|name| name.strip_prefix("python"));
        installed.map(str::to_owned).or_else(python_of_the_archive).unwrap_or_else(|| "3".into())
    })
}

/// "3.13" where apt would install python3 3.13.5-1.
fn python_of_the_archive() -> Option<String> {
    let output = Command::new("apt-cache").args(["show", "python3"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let version = text.lines().find_map(|line| line.strip_prefix("Version: "))?;
    let mut parts = version.split('.');
    Some(format!("{}.{}", parts.next()?, parts.next()?))
}

const fn tool(name: &'static str, path: &'static str, package: &'static str) -> Tool {
    Tool { name, path, package }
}

/// Everything that `cargo xtask test` needs beyond Rust itself.
pub const TOOLS: &[Tool] = &[
    // Programs that the end-to-end tests run.
    tool("awk", "/usr/bin/awk", "mawk"),
    tool("bash", "/bin/bash", "bash"),
    tool("chromium", "/usr/bin/chromium", "chromium"),
    tool("env", "/usr/bin/env", "coreutils"),
    tool("g++", "/usr/bin/g++", "g++"),
    tool("gcc", "/usr/bin/gcc", "gcc"),
    tool("git", "/usr/bin/git", "git"),
    tool("java", "/usr/bin/java", "default-jdk-headless"),
    tool("javac", "/usr/bin/javac", "default-jdk-headless"),
    tool("nginx", "/usr/sbin/nginx", "nginx"),
    tool("node", "/usr/bin/node", "nodejs"),
    tool("perl", "/usr/bin/perl", "perl"),
    tool("python3", "/usr/bin/python3", "python3"),
    tool("redis-benchmark", "/usr/bin/redis-benchmark", "redis-tools"),
    tool("redis-cli", "/usr/bin/redis-cli", "redis-tools"),
    tool("redis-server", "/usr/bin/redis-server", "redis-server"),
    tool("sort", "/usr/bin/sort", "coreutils"),
    tool("sqlite3", "/usr/bin/sqlite3", "sqlite3"),
    tool("xz", "/usr/bin/xz", "xz-utils"),
    // Inputs of those programs.
    tool("font", "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "fonts-dejavu-core"),
    tool("json.hpp", "/usr/include/nlohmann/json.hpp", "nlohmann-json3-dev"),
    tool("regrtest", "/usr/lib/python*/test/test_pickle.py", "libpython*-testsuite"),
    tool("stb", "/usr/include/stb/stb_image.h", "libstb-dev"),
    // Tools that the chores and tests measure with, inspect with, and compare against.
    tool("gdb", "/usr/bin/gdb", "gdb"),
    tool("objdump", "/usr/bin/objdump", "binutils"),
    tool("tcmalloc", "/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
    tool("valgrind", "/usr/bin/valgrind", "valgrind"),
];

/// Returns the tool of this name, or a failure that says how to install it.
///
/// # Errors
/// When the table has no such name, or the file is not on this machine.
pub fn find(name: &str) -> Result<&'static Tool> {
    let Some(tool) = TOOLS.iter().find(|tool| tool.name == name) else {
        return Err(Failure::new(format!("{name} is not in the table of packages.rs")));
    };
    present(tool).map(|()| tool)
}

fn present(tool: &Tool) -> Result {
    if tool.is_present() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} is not on this machine; install it with: {}",
        tool.path().display(),
        apt_line(&[tool.package()])
    )))
}

/// Returns the packages whose files are not on this machine, each once, in the order of the table.
pub fn missing() -> Vec<String> {
    missing_from(TOOLS)
}

fn missing_from(tools: &[Tool]) -> Vec<String> {
    let mut packages = Vec::new();
    for tool in tools.iter().filter(|tool| !tool.is_present()) {
        let package = tool.package();
        if !packages.contains(&package) {
            packages.push(package);
        }
    }
    packages
}

/// Returns the command that installs these packages.
pub fn apt_line(packages: &[String]) -> String {
    format!("apt-get install -y --no-install-recommends {}", packages.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_paths_absolute() {
        for (index, tool) in TOOLS.iter().enumerate() {
            assert!(tool.path.starts_with('/'), "{}", tool.path);
            assert!(!tool.package.contains(char::is_whitespace), "{}", tool.package);
            let twin = TOOLS[..index].iter().find(|other| other.name == tool.name);
            assert!(twin.is_none(), "{} is listed twice", tool.name);
        }
    }

    #[test]
    fn a_missing_file_names_its_package_once() {
        let tools = [
            tool("here", "/bin/sh", "dash"),
            tool("a", "/nonexistent/a", "absent"),
            tool("b", "/nonexistent/b", "absent"),
        ];
        assert_eq!(missing_from(&tools), ["absent"]);
        assert_eq!(
            apt_line(&missing_from(&tools)),
            "apt-get install -y --no-install-recommends absent"
        );
    }

    #[test]
    fn a_program_that_is_not_there_is_a_failure_with_the_command_that_installs_it() {
        let error = present(&tool("a", "/nonexistent/a", "absent")).expect_err("is not there");
        assert!(error.to_string().ends_with("apt-get install -y --no-install-recommends absent"));
        assert!(present(&tool("here", "/bin/sh", "dash")).is_ok());
    }

    #[test]
    fn the_version_of_python_is_the_one_found() {
        let version = python_version();
        assert!(version.starts_with('3') && !version.contains('*'), "{version}");
        assert_eq!(versioned("libpython*-testsuite"), format!("libpython{version}-testsuite"));
        assert_eq!(versioned("nginx"), "nginx");
    }

    #[test]
    fn an_unknown_name_is_refused() {
        let error = find("no-such-tool").expect_err("must not be found");
        assert!(error.to_string().contains("packages.rs"));
    }
}
