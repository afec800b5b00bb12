//! The heap profile of a running process, which the process itself writes into a file.

use crate::failure::{Failure, Result};
use crate::measure::page_layout::answer;
use crate::measure::stats_page::{NO_PAGE, RemotePage};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::NamedTempFile;

/// How long a process may take to write its profile.
const PATIENCE: Duration = Duration::from_secs(5);
/// Directories in which the process may write, of which the first that exists serves.
const DIRECTORIES: [&str; 3] = ["tmp", "var/tmp", "dev/shm"];

/// A profile that a process has written. The file goes when this value does.
#[derive(Debug)]
pub(crate) struct Live {
    file: NamedTempFile,
    /// The root directory of the process.
    root: PathBuf,
}

impl Live {
    /// Has the process write its profile, and waits until it is complete.
    ///
    /// # Errors
    /// Those of [`RemotePage::find`]; the process takes no samples, or does not answer.
    pub(crate) fn take(pid: i32) -> Result<Live> {
        let remote = RemotePage::find(pid)?;
        let root = root(pid);
        let file = create(pid, &root)?;
        // The process may have another root, and writes where its own path leads.
        let inside = Path::new("/").join(file.path().strip_prefix(&root)?);
        let command = format!("profile_to={}", inside.display());
        let Some(answer) = remote.order(&command, PATIENCE)? else {
            remote.withdraw()?;
            let remedy = "it writes its profile at a tick or slow path, and runs none now";
            return Err(remote.silent(PATIENCE).with_remedy(remedy));
        };
        match answer {
            answer::DONE => Ok(Live { file, root }),
            answer::UNAVAILABLE => {
                Err(Failure::new(format!("process {pid} takes no heap profile"))
                    .with_remedy(format!(
                        "`hz3 set {pid} profile=on` starts one, of what is allocated from then on"
                    ))
                    .with_code(NO_PAGE))
            }
            answer::UNKNOWN_NAME => {
                Err(Failure::new(format!("process {pid} runs a version of hz3 without this"))
                    .with_remedy("`hz3 set PID profile=write` replaces the file at HZ3_PROFILE"))
            }
            answer::BAD_VALUE => {
                let path = inside.display();
                Err(Failure::new(format!("process {pid} cannot write its profile to {path}")))
            }
            _ => Err(Failure::new(format!("another program asked process {pid} too"))
                .with_remedy("try again")),
        }
    }

    pub(crate) fn file(&self) -> &Path {
        self.file.path()
    }

    /// Returns the directory that the process sees as `/`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
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

/// Creates the file: new, so that it is nobody else's, and for the user of the process alone.
fn create(pid: i32, root: &Path) -> Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("hz3-profile-").suffix(".pb.gz").permissions(PermissionsExt::from_mode(0o600));
    let mut last = None;
    for directory in DIRECTORIES {
        match builder.tempfile_in(root.join(directory)) {
            Ok(file) => {
                let user = effective_user(pid);
                if let Some(user) = user.filter(|&user| user != rustix::process::geteuid().as_raw())
                {
                    let failed = |error| Failure::io("give the file to the process's user", error);
                    chown(file.path(), Some(user), None).map_err(failed)?;
                }
                return Ok(file);
            }
            Err(error) => last = Some(error),
        }
    }
    let what = format!("create a file in /tmp of process {pid}");
    Err(last.map_or_else(|| Failure::new(what.clone()), |error| Failure::io(&what, error)))
}

/// Returns the user with whose rights a process opens files.
fn effective_user(pid: i32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    // Real, effective, saved, and that of file accesses.
    line.split_whitespace().nth(3)?.parse().ok()
}
