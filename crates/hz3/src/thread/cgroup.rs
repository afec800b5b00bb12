//! The memory that the process's control group may use, from the files of cgroup v2; read at the
//! start, without allocating.

use core::ffi::CStr;

use super::file::read_start;
use crate::options::Limit;

const ROOT: &[u8] = b"/sys/fs/cgroup";
const FILE: &[u8] = b"/memory.max";
/// Longest path that is looked at, in bytes; what is longer has no limit.
const PATH_BYTES: usize = 1024;

/// The limit in bytes, if it is one of the control group's and there is one.
pub(super) fn resolve(limit: Limit) -> Limit {
    let Limit::Cgroup { percent } = limit else { return limit };
    let mut membership = [0; 4096];
    let membership = read_start(c"/proc/self/cgroup", &mut membership);
    match group(membership).and_then(|group| least(group, memory_max)) {
        Some(bytes) => Limit::Bytes(bytes / 100 * u64::from(percent)),
        None => Limit::None,
    }
}

/// The group's path in `/proc/self/cgroup`: version 2 has the line that begins with `0::`.
fn group(membership: &[u8]) -> Option<&[u8]> {
    membership.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))
}

/// The least limit of a group and of all groups above it, each of which binds. `limit_in` reads a
/// file.
fn least(group: &[u8], limit_in: impl Fn(&CStr) -> Option<u64>) -> Option<u64> {
    let mut group = group.strip_suffix(b"/").unwrap_or(group);
    let mut least = None;
    loop {
        let mut path = [0; PATH_BYTES];
        if let Some(path) = join(&mut path, group)
            && let Some(limit) = limit_in(path)
        {
            least = Some(least.map_or(limit, |least: u64| least.min(limit)));
        }
        let Some(slash) = group.iter().rposition(|&byte| byte == b'/') else { return least };
        group = &group[..slash];
    }
}

/// The path of a group's limit.
fn join<'a>(path: &'a mut [u8; PATH_BYTES], group: &[u8]) -> Option<&'a CStr> {
    let mut at = 0;
    for part in [ROOT, group, FILE, b"\0"] {
        path.get_mut(at..at + part.len())?.copy_from_slice(part);
        at += part.len();
    }
    CStr::from_bytes_with_nul(&path[..at]).ok()
}

/// The number in a file; `None` when it says "max", or is not there.
fn memory_max(path: &CStr) -> Option<u64> {
    let mut text = [0; 32];
    core::str::from_utf8(read_start(path, &mut text).trim_ascii()).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{group, least};
    use core::ffi::CStr;
    use std::vec;

    /// The least limit where the files are these.
    fn among(files: &[(&CStr, u64)], of: &[u8]) -> (Option<u64>, usize) {
        let looked = core::cell::Cell::new(0);
        let limit_in = |path: &CStr| {
            looked.set(looked.get() + 1);
            files.iter().find(|(name, _)| *name == path).map(|&(_, limit)| limit)
        };
        (least(of, limit_in), looked.get())
    }

    #[test]
    fn the_group_is_that_of_version_2() {
        assert_eq!(group(b"0::/a/b\n"), Some(&b"/a/b"[..]));
        assert_eq!(group(b"4:memory:/x\n1:name=systemd:/y\n0::/z\n"), Some(&b"/z"[..]));
        assert_eq!(group(b"4:memory:/x\n"), None);
        assert_eq!(group(b""), None);
    }

    #[test]
    fn the_least_limit_on_the_way_up_counts() {
        let files = [
            (c"/sys/fs/cgroup/a/b/memory.max", 300),
            (c"/sys/fs/cgroup/a/memory.max", 200),
            (c"/sys/fs/cgroup/memory.max", 900),
        ];
        assert_eq!(among(&files, b"/a/b"), (Some(200), 3));
        assert_eq!(among(&files, b"/a"), (Some(200), 2));
        assert_eq!(among(&files, b"/other"), (Some(900), 2));
        assert_eq!(among(&files, b"/"), (Some(900), 1));
        assert_eq!(among(&files[..1], b"/"), (None, 1));
        // Too long a path is passed over; those above it are not.
        assert_eq!(among(&files, &vec![b'/'; 2000]).0, Some(900));
    }
}
