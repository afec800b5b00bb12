//! Writes results without destroying other files.
//!
//! A regular file of ours is replaced by renaming, so that a reader never sees half of it. A link,
//! a device, a pipe or another user's file stays, and the bytes are written through it. A file's
//! directory is never made, because a missing one is usually a misspelt one.

use crate::failure::{BROKEN_PIPE, Failure, Result, WRONG_USAGE};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Fails if no file can have this path, because its directory does not exist.
pub(crate) fn needs_directory(path: &Path) -> Result<()> {
    let directory = directory_of(path);
    let shown = directory.display();
    match std::fs::metadata(directory) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(Failure::usage(format!("{shown} is no directory"))),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            Err(Failure::usage(format!("the directory {shown} does not exist"))
                .with_remedy(format!("`mkdir -p {shown}` creates it")))
        }
        Err(e) => Err(Failure::io(format!("use the directory {shown}"), e)),
    }
}

/// Fails if `path` is no directory and cannot become one, because its parent does not exist.
pub(crate) fn may_make_directory(path: &Path) -> Result<()> {
    needs_directory(path)?;
    if path.exists() && !path.is_dir() {
        return Err(Failure::usage(format!("{} is no directory", path.display())));
    }
    Ok(())
}

/// Makes a directory that an option names, unless it is there. Its parent must exist.
pub(crate) fn make_directory(directory: &Path) -> Result<()> {
    may_make_directory(directory)?;
    match std::fs::create_dir(directory) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => {
            Err(Failure::io(format!("make the directory {}", directory.display()), e))
        }
        _ => Ok(()),
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns whether the path stands for the standard output.
pub(crate) fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// Fails if `path` cannot be that of a file.
pub(crate) fn can_be_file(path: &Path) -> Result<()> {
    if is_stdout(path) {
        return Err(Failure::usage("`-`: expected the name of a file")
            .with_remedy("./- is a file of that name"));
    }
    needs_directory(path)?;
    if path.is_dir() || path.as_os_str().as_bytes().ends_with(b"/") {
        return Err(Failure::usage(format!("{} is a directory", path.display())));
    }
    Ok(())
}

/// Fails if `path` cannot be that of a page or a picture, or is a file with other contents: those
/// of a wrong name would be lost.
pub(crate) fn may_draw(path: &Path) -> Result<()> {
    can_be_file(path)?;
    if std::fs::metadata(path).is_ok_and(|found| found.is_file()) && !is_markup(path)? {
        return Err(Failure::usage(format!("{} exists and is no page", path.display()))
            .with_remedy("name another file, or remove it first"));
    }
    Ok(())
}

/// Returns whether the file is empty, or begins as HTML and SVG do.
fn is_markup(path: &Path) -> Result<bool> {
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(64).read_to_end(&mut start))
        .map_err(|e| Failure::io(format!("read {}", path.display()), e))?;
    Ok(start.is_empty() || start.trim_ascii_start().starts_with(b"<"))
}

/// Fails if `path` cannot be that of a file, or has contents and `force` is not set.
pub(crate) fn may_write(path: &Path, force: bool) -> Result<()> {
    can_be_file(path)?;
    let exists = std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() > 0);
    if exists && !force {
        return Err(Failure::usage(format!("{} exists already", path.display()))
            .with_remedy("--force overwrites it; or name another file"));
    }
    Ok(())
}

/// Opens `path` for writing from its beginning.
pub(crate) fn create(path: &Path, force: bool) -> Result<File> {
    may_write(path, force)?;
    File::create(path).map_err(|e| Failure::io(format!("write {}", path.display()), e))
}

/// Reads a whole file. A name that leads to none is wrong usage.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| {
        let failure = Failure::io(format!("read {}", path.display()), &e);
        match e.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
                failure.with_code(WRONG_USAGE)
            }
            _ => failure,
        }
    })
}

/// Returns whether both paths lead to the same file.
pub(crate) fn are_same(a: &Path, b: &Path) -> bool {
    let identity = |path: &Path| Some(std::fs::metadata(path).ok()?).map(|f| (f.dev(), f.ino()));
    identity(a).is_some_and(|identity_of_a| identity(b) == Some(identity_of_a))
}

/// Writes `bytes` to `path`, by renaming a new file over it or through it.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed =
        |e: std::io::Error| Failure::io(format!("write {}", path.display()), without_path(&e));
    let written = match std::fs::symlink_metadata(path) {
        Ok(found) if is_ours(&found) => replace(path, bytes, found.permissions().mode() & 0o777),
        Ok(_) => through(path, bytes),
        Err(e) if e.kind() == ErrorKind::NotFound => replace(path, bytes, 0o644),
        Err(e) => Err(e),
    };
    // A directory that went after the start is no wrong usage.
    written.map_err(|e| match needs_directory(path) {
        Ok(()) if e.kind() == ErrorKind::BrokenPipe => Failure::quiet(BROKEN_PIPE),
        Ok(()) => failed(e),
        Err(missing) => missing.during(&format!("cannot write {}", path.display())).with_code(125),
    })
}

/// Returns the system's error without the name of the temporary file, which `tempfile` adds.
fn without_path(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" at path \"").next().unwrap_or_default().to_owned()
}

/// Returns whether renaming a new file over this one changes nothing but the contents.
fn is_ours(found: &Metadata) -> bool {
    found.is_file() && found.nlink() == 1 && found.uid() == rustix::process::geteuid().as_raw()
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix(".hz3-")
        .permissions(PermissionsExt::from_mode(mode))
        .tempfile_in(directory_of(path))?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

fn through(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).truncate(true).open(path)?;
    file.write_all(bytes)
}

/// Returns the JSON and the CSV file of `--out`: `x.json` and `x.csv` for either of these names,
/// `x` and `x.csv` for another name.
pub(crate) fn json_and_csv(out: &Path) -> (PathBuf, PathBuf) {
    let ending = out.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if ending == "json" || ending == "csv" {
        return (out.with_extension("json"), out.with_extension("csv"));
    }
    let mut csv = out.as_os_str().to_owned();
    csv.push(".csv");
    (out.to_owned(), csv.into())
}

/// Returns whether a program of this name is on the `PATH`.
pub(crate) fn is_on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| is_executable(&directory.join(name)))
}

fn is_executable(file: &Path) -> bool {
    std::fs::metadata(file)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn links_keep_pointing_and_hard_links_stay_joined() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        std::fs::write(place("target"), "a longer text").unwrap();
        std::os::unix::fs::symlink(place("target"), place("link")).unwrap();
        write(&place("link"), b"new").unwrap();
        assert!(std::fs::symlink_metadata(place("link")).unwrap().is_symlink());
        assert_eq!(std::fs::read(place("target")).unwrap(), b"new");
        std::fs::hard_link(place("target"), place("twin")).unwrap();
        write(&place("twin"), b"both").unwrap();
        assert_eq!(std::fs::read(place("target")).unwrap(), b"both");
    }

    #[test]
    fn a_device_stays_a_device() {
        write(Path::new("/dev/null"), b"nothing").unwrap();
        let found = std::fs::metadata("/dev/null").unwrap();
        assert!(!found.is_file());
        let full = write(Path::new("/dev/full"), b"too much").unwrap_err().to_string();
        assert!(full.contains("/dev/full") && full.contains("No space"), "{full}");
    }

    #[test]
    fn a_failure_names_the_file_of_the_user_alone() {
        let said = write(Path::new("/proc/x.json"), b"x").unwrap_err().to_string();
        assert!(said.contains("/proc/x.json") && !said.contains(".hz3-"), "{said}");
    }

    #[test]
    fn no_directory_is_created() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("missing/x.json");
        let early = may_write(&file, true).unwrap_err();
        assert_eq!(early.code(), 2, "{early}");
        assert!(early.to_string().contains("missing does not exist; `mkdir -p "), "{early}");
        let late = write(&file, b"x").unwrap_err();
        assert_eq!(late.code(), 125, "{late}");
        assert!(late.to_string().contains("x.json: the directory "), "{late}");
        std::fs::write(place.path().join("missing"), "a file").unwrap();
        assert!(may_write(&file, true).unwrap_err().to_string().contains("is no directory"));
        assert!(may_write(place.path(), true).unwrap_err().to_string().contains("is a directory"));
        assert!(may_write(Path::new("x.json"), true).is_ok());

        let named = place.path().join("named");
        assert!(make_directory(&named).is_ok() && named.is_dir() && make_directory(&named).is_ok());
        assert!(make_directory(&place.path().join("missing")).is_err(), "it is a file");
        assert_eq!(make_directory(&place.path().join("a/b")).unwrap_err().code(), 2);
    }

    #[test]
    fn a_reader_who_has_gone_is_no_failure_to_talk_about() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let failure = write(Path::new(&path), b"x").unwrap_err();
        assert!(failure.is_quiet() && failure.code() == BROKEN_PIPE, "{failure}");
    }

    #[test]
    fn results_are_not_overwritten_without_force() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(may_write(file.path(), false).is_ok(), "an empty file holds nothing");
        std::fs::write(file.path(), "results").unwrap();
        assert_eq!(may_write(file.path(), false).unwrap_err().code(), 2);
        assert!(may_write(file.path(), true).is_ok());
    }

    #[test]
    fn json_and_csv_are_two_files_whatever_the_name() {
        for (out, json, csv) in [
            ("x.json", "x.json", "x.csv"),
            ("x.csv", "x.json", "x.csv"),
            ("x", "x", "x.csv"),
            ("night.1", "night.1", "night.1.csv"),
        ] {
            assert_eq!(json_and_csv(Path::new(out)), (json.into(), csv.into()), "{out}");
        }
    }
}
