//! The heap profile of a running process, which the process itself writes into a file.
//!
//! The process's user controls every name below the process's root directory, and this program may
//! run as root. So it creates nothing there and follows no link: the process creates the file, and
//! this program reads it through one descriptor, which it checks, and removes its name.

use crate::failure::{Failure, Result};
use crate::measure::page_layout::answer;
use crate::measure::read_lossy;
use crate::measure::stats_page::{NO_PAGE, RemotePage};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, openat, unlinkat};
use rustix::io::Errno;
use std::fmt::Write;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a process may take to write its profile.
const PATIENCE: Duration = Duration::from_secs(5);
/// Directories in which the process may write, of which the first that works serves.
const DIRECTORIES: [&str; 3] = ["tmp", "var/tmp", "dev/shm"];
/// The most bytes of a profile that are read.
const MAX_BYTES: u64 = 1 << 30;

/// A profile that a process has written.
#[derive(Debug)]
pub(crate) struct Live {
    bytes: Vec<u8>,
    /// The root directory of the process.
    root: PathBuf,
}

impl Live {
    /// Has the process write its profile, and waits until it is complete.
    ///
    /// # Errors
    /// Those of [`RemotePage::find`]; the process takes no samples, or does not answer; the file is
    /// not one that the process has just created.
    pub(crate) fn take(pid: i32) -> Result<Live> {
        let remote = RemotePage::find(pid)?;
        // Before the process can answer: its user must not become root by `execve` in between.
        let user = file_user(pid)?;
        let name = new_name()?;
        let mut last = None;
        for directory in DIRECTORIES {
            let path = format!("/{directory}/{name}");
            let file = match open_directory(pid, directory) {
                Ok(directory) => Named { directory, name: &name },
                Err(error) => {
                    last = Some(Failure::io(format!("open /{directory} of process {pid}"), error));
                    continue;
                }
            };
            if order(&remote, pid, &path)? {
                let read = |error| Failure::io(format!("read {path} of process {pid}"), error);
                return Ok(Live { bytes: file.read(user).map_err(read)?, root: root(pid) });
            }
            last = Some(Failure::new(format!("process {pid} cannot write its profile to {path}")));
        }
        Err(last.unwrap_or_else(|| Failure::new(format!("process {pid} has no /tmp"))))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the directory that the process sees as `/`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}

/// Has the process write its profile to `path`. Returns false if it cannot write there.
fn order(remote: &RemotePage, pid: i32, path: &str) -> Result<bool> {
    let Some(answer) = remote.order(&format!("profile_to={path}"), PATIENCE)? else {
        remote.withdraw()?;
        let remedy = "it writes its profile at a tick or slow path, and runs none now";
        return Err(remote.silent(PATIENCE).with_remedy(remedy));
    };
    match answer {
        answer::DONE => Ok(true),
        answer::BAD_VALUE => Ok(false),
        answer::UNAVAILABLE => Err(Failure::new(format!("process {pid} takes no heap profile"))
            .with_remedy(format!(
                "`hz3 set {pid} profile=on` starts one, of what is allocated from then on"
            ))
            .with_code(NO_PAGE)),
        answer::UNKNOWN_NAME => {
            Err(Failure::new(format!("process {pid} runs a version of hz3 without this"))
                .with_remedy("`hz3 set PID profile=write` replaces the file at HZ3_PROFILE"))
        }
        _ => Err(Failure::new(format!("another program asked process {pid} too"))
            .with_remedy("try again")),
    }
}

/// The name of the file in an open directory. The name goes when this value does.
struct Named<'a> {
    directory: OwnedFd,
    name: &'a str,
}

impl Named<'_> {
    /// Reads the file.
    ///
    /// # Errors
    /// It is not a regular file with this name alone that belongs to `user`.
    fn read(&self, user: u32) -> io::Result<Vec<u8>> {
        // Without blocking: a FIFO must not keep this program waiting.
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(&self.directory, self.name, flags, Mode::empty())?;
        let (found, directory) = (fstat(&file)?, fstat(&self.directory)?);
        // A file of another file system was mounted over the name.
        let is_own = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
            && found.st_dev == directory.st_dev
            && found.st_nlink == 1
            && found.st_uid == user;
        if !is_own {
            return Err(io::Error::other("it is not the file that the process wrote"));
        }
        let mut bytes = Vec::new();
        File::from(file).take(MAX_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl Drop for Named<'_> {
    fn drop(&mut self) {
        // The process may have written no file.
        let _missing = unlinkat(&self.directory, self.name, AtFlags::empty());
    }
}

/// Opens a directory below the root directory of a process. No part of the path may be a link,
/// because its target would count from the root directory of this program.
fn open_directory(pid: i32, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, format!("/proc/{pid}/root"), flags, Mode::empty())?;
    Ok(walk(root, path)?)
}

fn walk(root: OwnedFd, path: &str) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    path.split('/').try_fold(root, |at, part| openat(at.as_fd(), part, flags, Mode::empty()))
}

/// Returns a file name that no other user can guess and take first.
fn new_name() -> Result<String> {
    let mut random = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .map_err(|error| Failure::io("read /dev/urandom", error))?;
    let mut name = "hz3-profile-".to_owned();
    for byte in random {
        // Writing to a `String` never fails.
        let _ = write!(name, "{byte:02x}");
    }
    Ok(name + ".pb.gz")
}

/// Returns a path to the root directory of a process. It is valid while the process runs, and
/// longer if the process sees the same files as this program.
fn root(pid: i32) -> PathBuf {
    let link = |path: String| fs::read_link(path).ok();
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let namespace = link(format!("/proc/{pid}/ns/mnt"));
    let is_same = namespace.is_some() && namespace == link("/proc/self/ns/mnt".to_owned());
    let is_whole = fs::read_link(&root).is_ok_and(|target| target == Path::new("/"));
    if is_same && is_whole { PathBuf::from("/") } else { root }
}

/// Returns the user to whom the files belong that a process creates.
fn file_user(pid: i32) -> Result<u32> {
    let path = format!("/proc/{pid}/status");
    let status = read_lossy(Path::new(&path));
    let status = status.map_err(|error| Failure::io(format!("read {path}"), error))?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    // Real, effective, saved, and that of file accesses.
    let user = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    user.ok_or_else(|| Failure::new(format!("{path} names no user")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn directory(path: &Path) -> OwnedFd {
        openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap()
    }

    #[test]
    fn only_a_file_that_the_process_created_is_read() {
        let place = tempfile::tempdir().unwrap();
        let secret = place.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        let user = rustix::process::geteuid().as_raw();
        let read = |name, user| {
            let read = Named { directory: directory(place.path()), name }.read(user).ok();
            assert!(!place.path().join(name).exists(), "{name} stays");
            read
        };
        let own = |name| fs::write(place.path().join(name), "profile").unwrap();
        own("own");
        assert_eq!(read("own", user).as_deref(), Some(b"profile".as_slice()));
        own("foreign");
        assert_eq!(read("foreign", user + 1), None);
        symlink(&secret, place.path().join("link")).unwrap();
        assert_eq!(read("link", user), None);
        fs::hard_link(&secret, place.path().join("second name")).unwrap();
        assert_eq!(read("second name", user), None);
        let fifo = place.path().join("fifo");
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_eq!(read("fifo", user), None);
        assert_eq!(read("nothing", user), None);
        assert_eq!(fs::read(&secret).unwrap(), b"secret");
    }

    #[test]
    fn a_directory_is_not_reached_through_a_link() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("var/tmp")).unwrap();
        symlink("/tmp", root.path().join("tmp")).unwrap();
        symlink("var", root.path().join("dev")).unwrap();
        assert!(walk(directory(root.path()), "var/tmp").is_ok());
        assert!(walk(directory(root.path()), "tmp").is_err());
        assert!(walk(directory(root.path()), "dev/tmp").is_err());
    }
}
