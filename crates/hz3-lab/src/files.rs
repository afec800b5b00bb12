//! Writes results without destroying other files.
//!
//! A regular file of ours is replaced by renaming, so that a reader never sees half of it. A link,
//! a device, a pipe or another user's file stays, and the bytes are written through it.

use crate::failure::{Failure, Result};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Fails if `path` has contents, unless `force` is set.
pub(crate) fn may_write(path: &Path, force: bool) -> Result<()> {
    let exists = std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() > 0);
    if exists && !force {
        return Err(Failure::usage(format!("{} exists already", path.display()))
            .with_remedy("--force overwrites it, --out FILE names another one"));
    }
    Ok(())
}

/// Opens `path` for writing from its beginning.
pub(crate) fn create(path: &Path, force: bool) -> Result<File> {
    may_write(path, force)?;
    File::create(path).map_err(|e| Failure::io(format!("write {}", path.display()), e))
}

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Failure::io(format!("read {}", path.display()), e))
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
    written.map_err(failed)
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
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let mut file = tempfile::Builder::new()
        .prefix(".hz3-")
        .permissions(PermissionsExt::from_mode(mode))
        .tempfile_in(directory)?;
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

#[cfg(test)]
mod tests {
    use super::*;

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
