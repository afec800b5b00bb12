//! Debian packages of a tree that `layout` made: the library, what developers need, the tool.
//!
//! `dpkg-deb` packs them. The packages are hz3's own, not Debian's: they follow its layout, so that
//! they install beside others, upgrade and go away without a trace.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hz3_tools::{Failure, Result};

use super::archive;
use super::build::VERSION;
use super::platform::{Libc, Platform};
use crate::shell;

/// One package: its name, what it is, what it needs, and which files of the tree it takes.
struct Package {
    name: &'static str,
    section: &'static str,
    depends: &'static str,
    summary: &'static str,
    text: &'static str,
    /// Beginnings of paths in the tree.
    files: &'static [&'static str],
}

/// A library that others may be linked with is found by its number.
const RUN_TIME: &str = "libhz3-0";

const PACKAGES: [Package; 3] = [
    Package {
        name: RUN_TIME,
        section: "libs",
        depends: "libc6 (>= 2.31)",
        summary: "memory allocator that gives memory back",
        text: " A malloc for programs as they are, preloaded or linked. Memory that the program\n \
               no longer holds goes back to the kernel in the background.",
        files: &["lib/libhz3.so.", "lib/libhz3-jemalloc.so", "share/man/man7/"],
    },
    Package {
        name: "libhz3-dev",
        section: "libdevel",
        depends: "libhz3-0 (= @VERSION@)",
        summary: "memory allocator that gives memory back (development)",
        text: " The header, the archive, and the files for pkg-config and CMake.",
        files: &["lib/libhz3.so", "lib/libhz3.a", "include/", "lib/pkgconfig/", "lib/cmake/"],
    },
    Package {
        name: "hz3-tools",
        section: "utils",
        depends: "libhz3-0 (= @VERSION@), libc6 (>= @LIBC@)",
        summary: "runs programs on the hz3 memory allocator, measures and compares allocators",
        text: " The program hz3: one command on two allocators side by side, benchmarks, and\n \
               memory watched from outside.",
        files: &["bin/", "share/man/man1/", "share/bash-completion/", "share/fish/", "share/zsh/"],
    },
];

/// Builds every package of the platform from `tree`, in `scratch`, and puts them into `out`.
pub(super) fn packages(
    platform: &Platform,
    tree: &Path,
    scratch: &Path,
    out: &Path,
) -> Result<Vec<PathBuf>> {
    let Some((architecture, triplet)) = platform.debian.filter(|_| platform.libc == Libc::Glibc)
    else {
        println!("{}: no Debian packages", platform.triple);
        return Ok(Vec::new());
    };
    let files = files(tree)?;
    let libc = newest_glibc(&tree.join("bin/hz3"))?;
    let mut taken = 0;
    let mut made = Vec::new();
    for package in &PACKAGES {
        let root = scratch.join(package.name);
        shell::empty(&root)?;
        for file in files.iter().filter(|file| owner(file) == Some(package.name)) {
            taken += 1;
            copy(&tree.join(file), &root.join(place(file, triplet, package.name)))?;
        }
        documents(tree, &root, package.name)?;
        let size = installed_kib(&root)?;
        control(package, architecture, &libc, size, &root)?;
        made.push(pack(package.name, architecture, &root, out)?);
    }
    let documents = files.iter().filter(|file| file.starts_with("share/doc/")).count();
    if taken + documents != files.len() {
        return Err(Failure::new("a file of the tree is in none of the Debian packages"));
    }
    Ok(made)
}

/// Returns the package that has a file of the tree: the one with the longest beginning of its path,
/// as `libhz3.so` is the developers' and `libhz3.so.0` is not.
fn owner(file: &str) -> Option<&'static str> {
    let all = PACKAGES
        .iter()
        .flat_map(|package| package.files.iter().map(|start| (start.len(), *start, package.name)));
    all.filter(|(_, start, _)| file.starts_with(start)).max().map(|(_, _, name)| name)
}

/// Returns where Debian has a file of the tree.
fn place(file: &str, triplet: &str, package: &str) -> String {
    if let Some(library) = file.strip_prefix("lib/") {
        return format!("usr/lib/{triplet}/{library}");
    }
    let file = file.replace("share/zsh/site-functions", "share/zsh/vendor-completions");
    format!("usr/{}", file.replace("share/doc/hz3", &format!("share/doc/{package}")))
}

/// Adds the documents: the licences go with every package, the pages with the tool.
fn documents(tree: &Path, root: &Path, package: &str) -> Result {
    let target = root.join("usr/share/doc").join(package);
    fs::create_dir_all(&target)?;
    let mut text = String::from(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: hz3\n\nFiles: *\nCopyright: the hz3 authors\nLicense: MIT or Apache-2.0\n",
    );
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        let words = fs::read_to_string(tree.join("share/doc/hz3").join(licence))?;
        text.extend(["\n", licence, ":\n\n", &words]);
    }
    fs::write(target.join("copyright"), text)?;
    let names: &[&str] = match package {
        "hz3-tools" => &["README.md", "CHANGELOG.md"],
        RUN_TIME => &["tuning.md", "CHANGELOG.md"],
        _ => &["CHANGELOG.md"],
    };
    for name in names {
        copy(&tree.join("share/doc/hz3").join(name), &target.join(name))?;
    }
    Ok(())
}

/// Writes what dpkg reads.
fn control(package: &Package, architecture: &str, libc: &str, size: u64, root: &Path) -> Result {
    let folder = root.join("DEBIAN");
    fs::create_dir_all(&folder)?;
    let depends = package.depends.replace("@VERSION@", VERSION).replace("@LIBC@", libc);
    let homepage = match env!("CARGO_PKG_REPOSITORY") {
        "" => String::new(),
        address => format!("Homepage: {address}\n"),
    };
    let Package { name, section, summary, text, .. } = package;
    let control = format!(
        "Package: {name}\nVersion: {VERSION}\nArchitecture: {architecture}\nMulti-Arch: {}\n\
         Maintainer: {}\nSection: {section}\nPriority: optional\nInstalled-Size: {size}\n\
         Depends: {depends}\n{homepage}Description: {summary}\n{text}\n",
        if *name == "hz3-tools" { "foreign" } else { "same" },
        env!("CARGO_PKG_AUTHORS"),
    );
    fs::write(folder.join("control"), control)?;
    if *name == RUN_TIME {
        // The loader's list of libraries is renewed when this one comes or goes.
        fs::write(folder.join("triggers"), "activate-noawait ldconfig\n")?;
        let shlibs = format!("libhz3 0 {RUN_TIME} (>= {VERSION})\n");
        fs::write(folder.join("shlibs"), shlibs)?;
    }
    Ok(())
}

fn pack(name: &str, architecture: &str, root: &Path, out: &Path) -> Result<PathBuf> {
    normalise(root)?;
    let file = out.join(format!("{name}_{VERSION}_{architecture}.deb"));
    let mut command = shell::program("dpkg-deb");
    command.env("SOURCE_DATE_EPOCH", archive::time());
    // One thread, as in the tarball.
    command.args(["--root-owner-group", "--threads-max=1", "-Zxz", "--build"]);
    shell::run(command.arg(root).arg(&file))?;
    Ok(file)
}

/// Gives every directory the mode that dpkg expects, whatever the user's umask is.
fn normalise(directory: &Path) -> Result {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            normalise(&entry.path())?;
        } else if kind.is_file() {
            let runs = entry.metadata()?.permissions().mode() & 0o111 != 0;
            let library = entry.file_name().to_string_lossy().contains(".so");
            let mode = if runs && !library { 0o755 } else { 0o644 };
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}

/// Returns every file and link below `tree`, by its path from there.
fn files(tree: &Path) -> Result<Vec<String>> {
    fn walk(tree: &Path, directory: &Path, found: &mut Vec<String>) -> Result {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                walk(tree, &entry.path(), found)?;
            } else if let Ok(path) = entry.path().strip_prefix(tree) {
                found.push(path.display().to_string());
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(tree, tree, &mut found)?;
    found.sort();
    Ok(found)
}

fn copy(source: &Path, target: &Path) -> Result {
    fs::create_dir_all(target.parent().unwrap_or(target))?;
    let mut command = shell::program("cp");
    shell::capture(command.args(["--no-dereference", "--preserve=mode"]).arg(source).arg(target))?;
    Ok(())
}

/// Returns the space that the files take, in KiB, each rounded up.
fn installed_kib(root: &Path) -> Result<u64> {
    let mut sum = 0;
    for file in files(root)? {
        sum += root.join(file).symlink_metadata()?.len().div_ceil(1024);
    }
    Ok(sum)
}

/// Returns the newest version of glibc that a program asks for, as `2.34`.
fn newest_glibc(program: &Path) -> Result<String> {
    let table = shell::capture(shell::program("objdump").arg("-T").arg(program))?;
    let versions = table.split("GLIBC_2.").skip(1);
    let minor = versions.filter_map(|text| {
        text.split(|c: char| !c.is_ascii_digit()).next().and_then(|text| text.parse::<u32>().ok())
    });
    let newest = minor.max().ok_or_else(|| Failure::new("the program asks for no glibc"))?;
    Ok(format!("2.{newest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_name_the_library_where_its_package_has_it() {
        let at = format!("/{}", place("lib/libhz3.so.0", "x86_64-linux-gnu", RUN_TIME));
        for page in ["README.md", "docs/guides/observe.md"] {
            let text = fs::read_to_string(shell::root().join(page)).unwrap();
            let words = text.split(|c: char| c.is_whitespace() || "`'\"=:".contains(c));
            let is_of_system = |word: &&str| word.starts_with("/usr/lib") && word.contains("hz3");
            let named: Vec<&str> = words.filter(is_of_system).collect();
            assert!(
                !named.is_empty() && named.iter().all(|path| **path == at),
                "{page}: {named:?}"
            );
        }
    }

    #[test]
    fn each_file_has_its_package_and_its_place() {
        for (file, package, at) in [
            ("lib/libhz3.so.0", "libhz3-0", "usr/lib/T/libhz3.so.0"),
            ("lib/libhz3-jemalloc.so", "libhz3-0", "usr/lib/T/libhz3-jemalloc.so"),
            ("lib/libhz3.so", "libhz3-dev", "usr/lib/T/libhz3.so"),
            ("lib/libhz3.a", "libhz3-dev", "usr/lib/T/libhz3.a"),
            ("lib/pkgconfig/hz3.pc", "libhz3-dev", "usr/lib/T/pkgconfig/hz3.pc"),
            ("bin/hz3", "hz3-tools", "usr/bin/hz3"),
            ("share/zsh/site-functions/_hz3", "hz3-tools", "usr/share/zsh/vendor-completions/_hz3"),
        ] {
            assert_eq!(owner(file), Some(package));
            assert_eq!(place(file, "T", package), at);
        }
        assert_eq!(owner("share/doc/hz3/README.md"), None);
    }

    #[test]
    fn the_glibc_of_a_program_is_read_from_it() {
        let version = newest_glibc(&std::env::current_exe().unwrap()).unwrap();
        assert!(version.starts_with("2."), "{version}");
    }
}
