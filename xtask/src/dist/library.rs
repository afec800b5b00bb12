//! Links the shared library as it is shipped.
//!
//! cargo's own link gives no symbol versions: rustc passes a version script of its own, and a
//! second one is refused. So the shipped library is linked from the archive, which holds the same
//! objects: with a numbered soname, with a version for what only hz3 has, and with the versions
//! that the oldest supported glibc has instead of those of this machine.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use hz3_programs::Result;

use super::platform::{Libc, Platform};
use crate::shell;

/// The name that programs linked with the library look for. It changes when one of them must be
/// linked anew.
pub(super) const SONAME: &str = "libhz3.so.0";

/// Functions that glibc before 2.34 has in libpthread; `link/old_glibc.c` wraps them.
const WRAPPED: [&str; 4] =
    ["pthread_attr_getstack", "pthread_getattr_np", "pthread_key_create", "pthread_setspecific"];

/// Links the archive to a shared library beside it.
pub(super) fn link(platform: &Platform, archive: &Path) -> Result<PathBuf> {
    let folder = archive.with_file_name("shared");
    fs::create_dir_all(&folder)?;
    let output = folder.join(SONAME);
    let sources = shell::root().join("crates/hz3-c/link");
    let mut command = shell::program(platform.cc);
    command.args(["-shared", "-O2", "-fPIC", "-fno-lto", "-Wall", "-Wextra", "-Werror"]);
    command.args(["-nodefaultlibs", "-o"]).arg(&output);
    // The same as build.rs gives cargo's link, which says why.
    command.args([&format!("-Wl,-soname,{SONAME}"), "-Wl,-z,nodelete,-z,initfirst,-z,now"]);
    command.args(["-Wl,-z,relro,--gc-sections,--build-id=sha1,--hash-style=gnu"]);
    command.arg(format!("-Wl,--version-script={}", sources.join("hz3.map").display()));
    // One object has all of hz3: it is taken for the sake of one function.
    command.args(["-Wl,--undefined=malloc"]);
    match platform.libc {
        Libc::Glibc => {
            for function in WRAPPED {
                command.arg(format!("-Wl,--wrap={function}"));
            }
            let glibc = stand_in(platform, &sources, &folder)?;
            command.arg(sources.join("old_glibc.c")).arg(archive).arg(glibc);
            // `atexit` and `pthread_atfork`, which pass on which library called.
            command.arg("-l:libc_nonshared.a");
        }
        Libc::Musl => {
            command.arg(archive).arg("-lc");
        }
    }
    shell::run(&mut command)?;
    Ok(output)
}

/// A library that stands in for glibc while linking: all the functions that hz3 asks for, each with
/// the version that the list of the platform gives it.
fn stand_in(platform: &Platform, sources: &Path, folder: &Path) -> Result<PathBuf> {
    let map = sources.join(format!("glibc-{}.map", platform.cpu));
    let mut assembly = String::from(".section .note.GNU-stack,\"\",%progbits\n.text\n");
    for name in names(&fs::read_to_string(&map)?) {
        if name != "environ" {
            let _ = writeln!(assembly, ".globl {name}\n.type {name},%function\n{name}: nop");
        }
    }
    assembly +=
        ".data\n.globl environ\n.type environ,%object\n.size environ,8\nenviron: .8byte 0\n";
    let source = folder.join("glibc.s");
    fs::write(&source, assembly)?;
    let output = folder.join("libc.so.6");
    let mut command = shell::program(platform.cc);
    command.args(["-shared", "-nostdlib", "-Wl,-soname,libc.so.6", "-o"]).arg(&output);
    command.arg(format!("-Wl,--version-script={}", map.display())).arg(source);
    shell::run(&mut command)?;
    Ok(output)
}

/// The symbols that a version script lists.
fn names(map: &str) -> Vec<&str> {
    let code = map.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = code.flat_map(|line| line.split([' ', '{', '}']));
    words
        .filter_map(|word| word.trim().strip_suffix(';'))
        .filter(|word| !word.is_empty())
        .filter(|word| !word.starts_with("GLIBC_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_version_script_is_read() {
        let map = "# A note; of two words;\nV_1 {\n    a;\n    b;\n};\nV_2 { c; } V_1;\n";
        assert_eq!(names(&map.replace("V_", "GLIBC_")), ["a", "b", "c"]);
    }

    #[test]
    fn both_processors_ask_for_the_same_functions() {
        let sources = shell::root().join("crates/hz3-c/link");
        let list = |cpu| {
            let text = fs::read_to_string(sources.join(format!("glibc-{cpu}.map"))).unwrap();
            names(&text).into_iter().map(str::to_owned).collect::<BTreeSet<_>>()
        };
        assert_eq!(list("x86_64"), list("aarch64"));
        for function in WRAPPED {
            assert!(list("x86_64").contains(function), "{function}");
        }
    }
}
