//! Packs a directory so that the same files give the same bytes.

use std::path::{Path, PathBuf};

use hz3_tools::Result;

use crate::shell;

/// Returns the time that packed files carry, in seconds since 1970: `SOURCE_DATE_EPOCH` if that is
/// set, else the time of the last commit; outside a repository a fixed one.
pub(super) fn time() -> String {
    let set = std::env::var("SOURCE_DATE_EPOCH").ok().filter(|text| text.parse::<u64>().is_ok());
    let committed =
        || shell::capture(shell::program("git").args(["log", "-1", "--format=%ct"])).ok();
    let time = set.or_else(committed).map(|text| text.trim().to_owned());
    time.filter(|text| !text.is_empty()).unwrap_or_else(|| "1700000000".to_owned())
}

/// Packs `folder/name` as `out/name.tar.xz`.
pub(super) fn pack(folder: &Path, name: &str, out: &Path) -> Result<PathBuf> {
    let file = out.join(format!("{name}.tar.xz"));
    let mut command = shell::program("tar");
    command.arg("--create").arg("--file").arg(&file).arg("--directory").arg(folder);
    command.args(["--sort=name", "--format=ustar", "--owner=0", "--group=0", "--numeric-owner"]);
    command.arg(format!("--mtime=@{}", time()));
    // One thread: what several threads write depends on how many there are.
    command.args(["--use-compress-program", "xz -9 --threads=1", name]);
    shell::run(&mut command)?;
    Ok(file)
}
