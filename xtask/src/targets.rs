//! Other targets: checks for musl, aarch64, riscv64 and s390x, a static musl program that runs, and
//! the proof that crate hz3 needs no C compiler. riscv64 and s390x have no reclaimer, and leave the
//! operators of C++ to the C++ runtime.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use hz3_tools::{Failure, Result};

use crate::{setup, shell};

const MUSL: &str = "x86_64-unknown-linux-musl";

/// The program that has hz3 as its global allocator.
const EXAMPLE: &str = "global";

/// Checks every target; `with_musl` also builds and runs a static program.
pub(crate) fn run(with_musl: bool) -> Result {
    setup::require_targets(&setup::TARGETS)?;
    for target in setup::TARGETS {
        let packages = ["--package", "hz3", "--package", "hz3-c"];
        let mut check = shell::cargo(&["check", "--target", target]);
        shell::debug_panic(&mut check, false);
        shell::run(check.args(packages))?;
    }
    if with_musl {
        static_program()?;
    }
    without_compiler()
}

/// Builds the example for musl, checks that it is static, and runs it.
fn static_program() -> Result {
    let build =
        ["build", "--release", "--package", "hz3-programs", "--example", EXAMPLE, "--target", MUSL];
    shell::run(&mut shell::cargo(&build))?;
    let program = shell::target().join(MUSL).join("release/examples").join(EXAMPLE);
    let headers = shell::capture(shell::program("readelf").arg("--program-headers").arg(&program))?;
    if is_dynamic(&headers) {
        return Err(Failure::new(format!("{} is not static", program.display())));
    }
    shell::run(&mut shell::program(&program))
}

/// Returns whether the program headers ask for a dynamic loader.
fn is_dynamic(headers: &str) -> bool {
    headers.lines().any(|line| line.trim_start().starts_with("INTERP"))
}

/// Builds crate hz3 from nothing with a `cc` that links (rustc needs that for build scripts) and
/// refuses to compile, and with no other compiler in reach; and looks that no dependency is one
/// that compiles C.
fn without_compiler() -> Result {
    let tree = ["tree", "--package", "hz3", "--edges", "normal,build", "--prefix", "none"];
    let tree = shell::capture(&mut shell::cargo(&tree))?;
    if let Some(guilty) = compiling_crate(&tree) {
        return Err(Failure::new(format!("crate hz3 depends on {guilty}, which compiles C")));
    }
    let folder = shell::target().join("no-compiler");
    shell::empty(&folder)?;
    let bin = folder.join("bin");
    fs::create_dir_all(&bin)?;
    let shim = bin.join("cc");
    fs::write(&shim, linker_only(&which("cc")?))?;
    fs::set_permissions(&shim, fs::Permissions::from_mode(0o755))?;
    refuses_to_compile(&shim, &folder)?;
    let mut command = shell::cargo(&["check", "--package", "hz3"]);
    command.env("PATH", &bin).env("CARGO_TARGET_DIR", folder.join("target"));
    // Told where rustc is, since PATH has the shim alone.
    command.env("RUSTC", rustc()?);
    shell::run(&mut command)
}

/// Returns a shell script that passes a link on to the real compiler driver and fails on anything
/// else.
fn linker_only(real: &str) -> String {
    format!(
        "#!/bin/sh\nfor argument in \"$@\"; do\n  case $argument in\n    \
         -c|-S|-E|*.c|*.cc|*.cpp|*.s|*.S) echo 'no C compiler here' >&2; exit 1;;\n  esac\ndone\n\
         PATH=/usr/bin:/bin exec {real} \"$@\"\n"
    )
}

/// Checks that the shim refuses to compile: otherwise the build shows nothing.
fn refuses_to_compile(shim: &Path, folder: &Path) -> Result {
    let source = folder.join("probe.c");
    fs::write(&source, "int main(void) { return 0; }\n")?;
    let status = Command::new(shim).arg(&source).current_dir(folder).output()?.status;
    if status.success() { Err(Failure::new("the cc without a compiler compiled")) } else { Ok(()) }
}

/// Returns a crate in the listing of `cargo tree` whose purpose is to compile C.
fn compiling_crate(tree: &str) -> Option<&str> {
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    names.into_iter().find(|name| ["cc", "cmake", "bindgen", "autotools"].contains(name))
}

fn rustc() -> Result<String> {
    let sysroot = shell::capture(shell::program("rustc").args(["--print", "sysroot"]))?;
    Ok(format!("{}/bin/rustc", sysroot.trim()))
}

fn which(name: &str) -> Result<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    let found = found.ok_or_else(|| Failure::new(format!("{name} is not in PATH")))?;
    Ok(found.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_a_loader_is_dynamic() {
        assert!(is_dynamic("Program Headers:\n  INTERP         0x000318\n"));
        assert!(!is_dynamic("Program Headers:\n  LOAD           0x000000\n"));
        let own =
            shell::capture(shell::program("readelf").arg("-l").arg(env::current_exe().unwrap()));
        assert!(is_dynamic(&own.unwrap()));
    }

    #[test]
    fn a_dependency_that_compiles_c_is_found() {
        assert_eq!(compiling_crate("hz3 v0.1.0 (/x)\nlibc v0.2.1\ncc v1.0.0\n"), Some("cc"));
        assert_eq!(compiling_crate("hz3 v0.1.0 (/x)\nlibc v0.2.1\n"), None);
    }
}
