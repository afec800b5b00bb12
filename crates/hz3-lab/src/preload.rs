//! Finds an allocator library and composes `LD_PRELOAD`.

use crate::failure::{Failure, Result, WRONG_USAGE};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The file names of hz3's library: as cargo builds it, and as packages install it.
pub(crate) const LIBRARIES: [&str; 2] = ["libhz3.so", "libhz3.so.0"];
/// Directories searched for it, relative to that of this program: the same, a build's, an
/// installation's.
const DIRECTORIES: [&str; 4] = ["", "../release", "../lib", DEBIAN_DIRECTORY];
#[cfg(target_arch = "aarch64")]
const DEBIAN_DIRECTORY: &str = "../lib/aarch64-linux-gnu";
#[cfg(not(target_arch = "aarch64"))]
const DEBIAN_DIRECTORY: &str = "../lib/x86_64-linux-gnu";
/// The variable that the loader reads.
pub(crate) const VARIABLE: &str = "LD_PRELOAD";
/// The command that builds the library.
pub(crate) const BUILD: &str = "cargo build --release -p hz3-c";

/// Returns the named library, or `libhz3.so` where a build or a package puts it.
pub(crate) fn find(named: Option<&Path>) -> Result<PathBuf> {
    let exe = std::env::current_exe().map_err(|e| Failure::io("find this program's path", e))?;
    match named {
        Some(path) => named_by_user(path).map_err(|failure| failure.during("--lib")),
        None => find_beside(&exe),
    }
}

fn find_beside(exe: &Path) -> Result<PathBuf> {
    let directory = exe.parent().unwrap_or(Path::new("."));
    let places = DIRECTORIES.map(|place| directory.join(place));
    let mut files = places.iter().flat_map(|place| LIBRARIES.map(|library| place.join(library)));
    if let Some(found) = files.find(|file| file.is_file()) {
        return usable(&found);
    }
    let looked = places.map(|place| place.display().to_string());
    Err(Failure::new(format!("no {} in {}", LIBRARIES.join(" or "), looked.join(", ")))
        .with_remedy(format!("build it with `{BUILD}`, or name a library with --lib PATH")))
}

/// As [`usable`], for a path that the user named: one that the loader refuses is wrong usage.
pub(crate) fn named_by_user(path: &Path) -> Result<PathBuf> {
    usable(path).map_err(|failure| failure.with_code(WRONG_USAGE))
}

/// Checks that the loader accepts `path`, and makes it absolute because the command may change its
/// directory before it starts a child.
pub(crate) fn usable(path: &Path) -> Result<PathBuf> {
    let full = path
        .canonicalize()
        .map_err(|e| Failure::io(format!("use the library {}", path.display()), e))?;
    if !is_shared_object(&full) {
        return Err(Failure::new(format!("{} is not a shared library (ELF)", full.display())));
    }
    if full.as_os_str().as_bytes().iter().any(|byte| b" :\t\n".contains(byte)) {
        return Err(Failure::new(format!(
            "{}: the loader splits {VARIABLE} at spaces and colons",
            full.display()
        ))
        .with_remedy("copy the library to a path without them and name it with --lib PATH"));
    }
    Ok(full)
}

/// Names the allocator in `library`: `hz3`, or the file name up to its first dot.
pub(crate) fn name(library: &Path) -> String {
    let file = library.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    let stem = file.split('.').next().unwrap_or_default();
    stem.strip_prefix("lib").filter(|name| !name.is_empty()).unwrap_or(stem).to_owned()
}

fn is_shared_object(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0; 4];
    std::fs::File::open(path).and_then(|mut f| f.read_exact(&mut magic)).is_ok()
        && magic == *b"\x7fELF"
}

/// Returns `LD_PRELOAD` for the system's malloc: the user's value without hz3. `None` means that
/// the variable must not be set.
pub(crate) fn without_hz3(current: Option<&OsStr>) -> Option<OsString> {
    let kept: Vec<&[u8]> = entries(current).filter(|entry| !is_hz3(entry)).collect();
    (!kept.is_empty()).then(|| OsStr::from_bytes(&kept.join(&b':')).to_owned())
}

/// Returns `LD_PRELOAD` for a run on `library`: the library first, then the user's value.
pub(crate) fn with_library(library: &Path, current: Option<&OsStr>) -> OsString {
    let mut value = library.as_os_str().to_owned();
    if let Some(rest) = without_hz3(current) {
        value.push(":");
        value.push(rest);
    }
    value
}

fn entries(current: Option<&OsStr>) -> impl Iterator<Item = &[u8]> {
    let bytes = current.map_or(&b""[..], OsStr::as_bytes);
    bytes.split(|byte| b" :\t\n".contains(byte)).filter(|entry| !entry.is_empty())
}

fn is_hz3(entry: &[u8]) -> bool {
    let file = Path::new(OsStr::from_bytes(entry)).file_name().unwrap_or_default();
    let numbered = file.as_bytes().strip_prefix(LIBRARIES[0].as_bytes());
    numbered.is_some_and(|number| number.is_empty() || number.starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_preloads_are_kept_and_hz3_is_dropped_from_the_system_run() {
        let set = OsStr::new("/x/libhz3.so:/y/libfaketime.so /z/libother.so");
        assert_eq!(without_hz3(Some(set)).unwrap(), "/y/libfaketime.so:/z/libother.so");
        for name in ["libhz3.so", "libhz3.so.0", "libhz3.so.0.1.0"] {
            assert_eq!(without_hz3(Some(OsStr::new(name))), None);
        }
        assert!(without_hz3(Some(OsStr::new("libhz3.sorry"))).is_some());
        assert_eq!(without_hz3(None), None);
    }

    #[test]
    fn the_library_comes_first_and_once() {
        let set = OsStr::new("/old/libhz3.so:/y/a.so");
        assert_eq!(with_library(Path::new("/new/libhz3.so"), Some(set)), "/new/libhz3.so:/y/a.so");
        assert_eq!(with_library(Path::new("/new/libhz3.so"), None), "/new/libhz3.so");
    }

    #[test]
    fn an_allocator_is_called_by_its_file() {
        for (path, expected) in
            [("/x/libhz3.so", "hz3"), ("libfoo_min.so.4.5", "foo_min"), ("a", "a")]
        {
            assert_eq!(name(Path::new(path)), expected);
        }
    }

    #[test]
    fn a_missing_library_names_every_place_and_the_build_command() {
        let message = find_beside(Path::new("/nowhere/bin/hz3")).unwrap_err().to_string();
        assert!(message.starts_with("no libhz3.so or libhz3.so.0 in /nowhere/bin/, "), "{message}");
        assert!(message.contains(" /nowhere/bin/../lib, "), "{message}");
        assert!(message.contains(BUILD), "{message}");
    }

    #[test]
    fn a_path_that_the_loader_would_split_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lib with space.so");
        std::fs::write(&path, b"\x7fELF and more").unwrap();
        assert!(usable(&path).unwrap_err().to_string().contains("spaces"));
        let text = directory.path().join("text.so");
        std::fs::write(&text, b"no library").unwrap();
        assert!(usable(&text).unwrap_err().to_string().contains("not a shared library"));
    }
}
