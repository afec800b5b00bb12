//! Links the shared library as it is shipped.
//!
//! cargo's own link gives no symbol versions: rustc passes a version script of its own, and a
//! second one is refused. So the shipped library is linked from the archive, which holds the same
//! objects: with a numbered soname, with a version for what only hz3 has, and with the versions
//! that the oldest supported glibc has instead of those of this machine.

use std::fs;
use std::path::{Path, PathBuf};

use hz3_tools::Result;

use super::platform::{Libc, Platform};
use crate::shell;

/// The name that programs linked with the library look for. It changes when one of them must be
/// linked anew.
pub(super) const SONAME: &str = "libhz3.so.0";

/// jemalloc's functions by name, to load beside the library.
pub(super) const JEMALLOC: &str = "libhz3-jemalloc.so";

/// Functions that glibc before 2.34 has in libpthread; `link/old_glibc.c` wraps them.
const WRAPPED: [&str; 7] = [
    "pthread_attr_getstack",
    "pthread_attr_setstacksize",
    "pthread_create",
    "pthread_getattr_np",
    "pthread_key_create",
    "pthread_setspecific",
    "pthread_sigmask",
];

/// Functions that glibc before 2.33 does not export; `link/old_glibc.c` has its own.
const REPLACED: [&str; 2] = ["fstat", "fstatat"];

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
            // Without this a function that is not in the list would get no version, and be missed
            // only by the processes of an older glibc.
            command.arg("-Wl,-z,defs");
            for function in WRAPPED.iter().chain(&REPLACED) {
                command.arg(format!("-Wl,--wrap={function}"));
            }
            let glibc = stand_in(platform, &sources, &folder)?;
            command.arg(sources.join("old_glibc.c")).arg(archive).arg(glibc);
            // `atexit` and `pthread_atfork`, which pass on which library called.
            command.arg("-l:libc_nonshared.a");
        }
        Libc::Musl => {
            command.args(["-nostartfiles", "-Wl,--no-as-needed"]).arg(archive);
            command.arg(musl(platform, &folder)?);
        }
    }
    shell::run(&mut command)?;
    Ok(output)
}

/// Links the archive of jemalloc's functions to a shared library beside it.
pub(super) fn link_jemalloc(platform: &Platform, archive: &Path) -> Result<PathBuf> {
    let folder = archive.with_file_name("shared-jemalloc");
    fs::create_dir_all(&folder)?;
    let output = folder.join(JEMALLOC);
    let mut command = shell::program(platform.cc);
    command.args(["-shared", "-nodefaultlibs", "-o"]).arg(&output);
    command.args([&format!("-Wl,-soname,{JEMALLOC}"), "-Wl,-z,nodelete,-z,now,-z,relro"]);
    command.args(["-Wl,--gc-sections,--build-id=sha1,--hash-style=gnu", "-Wl,--undefined=mallctl"]);
    command.arg(archive);
    match platform.libc {
        Libc::Glibc => {
            let sources = shell::root().join("crates/hz3-c/link");
            command.arg(stand_in(platform, &sources, &folder)?);
            // glibc before 2.34 has `dlsym` in a library of its own, which later ones still bring.
            let loader = shared(platform, &folder, "libdl.so.2", &function("dlsym"), None)?;
            command.arg("-Wl,--no-as-needed").arg(loader);
        }
        Libc::Musl => {
            command.args(["-nostartfiles", "-Wl,--no-as-needed"]);
            command.arg(musl(platform, &folder)?);
        }
    }
    shell::run(&mut command)?;
    Ok(output)
}

/// Returns a library that stands in for glibc while linking: all the functions that hz3 asks for,
/// each with the version that the list of the platform gives it.
fn stand_in(platform: &Platform, sources: &Path, folder: &Path) -> Result<PathBuf> {
    let map = sources.join(format!("glibc-{}.map", platform.cpu));
    let mut assembly = String::new();
    for name in names(&fs::read_to_string(&map)?) {
        if name != "environ" {
            assembly += &function(name);
        }
    }
    assembly +=
        ".data\n.globl environ\n.type environ,%object\n.size environ,8\nenviron: .8byte 0\n";
    shared(platform, folder, "libc.so.6", &assembly, Some(&map))
}

/// Returns an empty library that stands in for musl while linking. musl has no symbol versions, and
/// its loader takes every name like this one for musl itself, Alpine's too.
fn musl(platform: &Platform, folder: &Path) -> Result<PathBuf> {
    shared(platform, folder, "libc.so", "", None)
}

/// Returns an empty function in assembly.
fn function(name: &str) -> String {
    format!(".globl {name}\n.type {name},%function\n{name}: nop\n")
}

/// Makes a library to link with of assembly.
fn shared(
    platform: &Platform,
    folder: &Path,
    name: &str,
    assembly: &str,
    map: Option<&Path>,
) -> Result<PathBuf> {
    let output = folder.join(name);
    let source = output.with_extension("s");
    fs::write(&source, format!(".section .note.GNU-stack,\"\",%progbits\n.text\n{assembly}"))?;
    let mut command = shell::program(platform.cc);
    command.args(["-shared", "-nostdlib", &format!("-Wl,-soname,{name}"), "-o"]).arg(&output);
    if let Some(map) = map {
        command.arg(format!("-Wl,--version-script={}", map.display()));
    }
    shell::run(command.arg(source))?;
    Ok(output)
}

/// Returns the symbols that a version script lists.
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
