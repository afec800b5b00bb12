//! Reads the memory limit of the process's control group (cgroup v2 and v1), without allocating.
//!
//! A system may have both versions at once, with the memory controller in one of them. So hz3 reads
//! every mounted hierarchy, and the lowest limit counts.

use core::ffi::CStr;
use core::fmt::Write;
use core::num::NonZero;

use super::file::{each_line, read_start};
use crate::base::fixed_buffer::FixedBuffer;
use crate::options::Limit;

/// The longest path that is read, in bytes. A group with a longer path counts as unlimited.
const PATH_BYTES: usize = 1024;
/// The smallest number that means "no limit" in cgroup v1, in bytes.
const UNLIMITED: u64 = 1 << 62;

/// Reads the start of a file into the buffer and returns it; returns nothing if there is no file.
type Read = dyn for<'a> Fn(&CStr, &'a mut [u8]) -> &'a [u8];

/// Converts a limit in percent of the control group's limit to bytes; returns other limits
/// unchanged.
///
/// If the control group has no limit, writes a line to stderr and returns [`Limit::None`].
pub(super) fn resolve(limit: Limit) -> Limit {
    let Limit::Cgroup { percent } = limit else { return limit };
    let percent = u64::from(percent.get());
    let mut room = [0; 4096];
    let membership = read_start(c"/proc/self/cgroup", &mut room);
    let mut least = None;
    each_line(c"/proc/self/mountinfo", |line| {
        let limit = Mount::parse(line).and_then(|mount| mount.limit(membership, &read_start));
        least = lesser(least, limit);
    });
    if let Some(least) = least {
        return Limit::Bytes(NonZero::new(least / 100 * percent).unwrap_or(NonZero::<u64>::MIN));
    }
    let mut message = FixedBuffer::<128>::new();
    // Writing to a `FixedBuffer` never fails.
    let _ =
        write!(message, "hz3: HZ3_LIMIT={percent}%: expected a memory limit of this process's ");
    let _ = writeln!(message, "control group, found none; using 0");
    message.print();
    Limit::None
}

/// Returns the lower of two limits, each of which may be absent.
fn lesser(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A mounted hierarchy that may limit memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mount<'a> {
    version: Version,
    /// The group that the mount shows as its root.
    root: &'a [u8],
    point: &'a [u8],
}

impl<'a> Mount<'a> {
    /// Parses a line of `/proc/self/mountinfo`; returns `None` if it is not such a hierarchy.
    ///
    /// The fields are: number, parent, device, root, point, options, any number of optional fields,
    /// a dash, type, source, options.
    fn parse(line: &'a [u8]) -> Option<Mount<'a>> {
        let mut fields = line.split(|&byte| byte == b' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let mut fields = fields.skip_while(|&field| field != b"-").skip(1);
        let version = match fields.next()? {
            b"cgroup2" => Version::Two,
            b"cgroup" if has(fields.nth(1)?, b"memory") => Version::One,
            _ => return None,
        };
        Some(Mount { version, root, point })
    }

    /// Returns the limit of the process's group, in bytes. `membership` is `/proc/self/cgroup`.
    fn limit(&self, membership: &[u8], read: &Read) -> Option<u64> {
        let group = group(membership, self.version)?;
        let group = group.strip_suffix(b"/").unwrap_or(group);
        // In a container the mount may show only a part of the hierarchy, or `membership` may have
        // paths of another namespace.
        let below = match group.strip_prefix(self.root) {
            _ if self.root == b"/" => group,
            Some(below) if below.is_empty() || below.starts_with(b"/") => below,
            _ => b"",
        };
        match self.version {
            Version::Two => self.least(below, read),
            Version::One => self.nearest(below, read),
        }
    }

    /// Version 2: returns the lowest limit of a group and of all its ancestors, each of which
    /// applies.
    fn least(&self, below: &[u8], read: &Read) -> Option<u64> {
        upwards(below).fold(None, |least, group| {
            let mut room = [0; 32];
            lesser(least, number(self.read(group, b"/memory.max", &mut room, read)))
        })
    }

    /// Version 1: returns the lower of a group's own limit and its hierarchical limit. The latter
    /// is the lowest limit of the ancestors that apply to it. Uses the nearest group that is
    /// visible.
    fn nearest(&self, below: &[u8], read: &Read) -> Option<u64> {
        let limit = upwards(below).find_map(|group| {
            let mut room = [0; 32];
            let own = number(self.read(group, b"/memory.limit_in_bytes", &mut room, read))?;
            let mut room = [0; 4096];
            let statistics = self.read(group, b"/memory.stat", &mut room, read);
            let of_all = statistics
                .split(|&byte| byte == b'\n')
                .find_map(|line| number(line.strip_prefix(b"hierarchical_memory_limit ")?));
            lesser(Some(own), of_all)
        });
        limit.filter(|&limit| limit < UNLIMITED)
    }

    /// Reads the start of a file of a group.
    fn read<'b>(&self, group: &[u8], file: &[u8], room: &'b mut [u8], read: &Read) -> &'b [u8] {
        let mut path = [0; PATH_BYTES];
        let mut at = 0;
        for part in [self.point, group, file, b"\0"] {
            let Some(place) = path.get_mut(at..at + part.len()) else { return &[] };
            place.copy_from_slice(part);
            at += part.len();
        }
        CStr::from_bytes_with_nul(&path[..at]).map_or(&[], |path| read(path, room))
    }
}

/// Returns whether a comma-separated list contains the word.
fn has(list: &[u8], word: &[u8]) -> bool {
    list.split(|&byte| byte == b',').any(|item| item == word)
}

/// Returns the group's path from `/proc/self/cgroup`, whose lines are `number:controllers:path`.
fn group(membership: &[u8], version: Version) -> Option<&[u8]> {
    membership.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.splitn(3, |&byte| byte == b':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let is_it = match version {
            Version::Two => number == b"0" && controllers.is_empty(),
            Version::One => has(controllers, b"memory"),
        };
        is_it.then_some(path)
    })
}

/// Iterates over a group's path and the paths of its ancestors; the last one is empty.
fn upwards(group: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::successors(Some(group), |group| {
        group.iter().rposition(|&byte| byte == b'/').map(|slash| &group[..slash])
    })
}

/// Parses the number in a text; returns `None` for "max" and for an empty text.
fn number(text: &[u8]) -> Option<u64> {
    core::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
