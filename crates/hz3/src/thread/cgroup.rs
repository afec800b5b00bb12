//! Reads the memory limits of the process's control group (cgroup v2 and v1) and the pressure on
//! its memory, without allocating.
//!
//! A system may have both versions at once, with the memory controller in one of them. So hz3 reads
//! every mounted hierarchy, and the lowest limit counts.

use core::cell::Cell;
use core::ffi::CStr;
use core::fmt::Write;
use core::num::NonZero;

use super::file::{Unread, try_each_line, try_read_start};
use crate::base::fixed_buffer::FixedBuffer;
use crate::options::Limit;

/// The longest path that is read, in bytes. A group with a longer path counts as unlimited.
const PATH_BYTES: usize = 1024;
/// The smallest number that means "no limit" in cgroup v1, in bytes.
const UNLIMITED: u64 = 1 << 62;

/// Reads the start of a file into the buffer and returns it; returns nothing if there is no file.
type Read<'r> = dyn for<'a> Fn(&CStr, &'a mut [u8]) -> &'a [u8] + 'r;
/// A [`Read`] that tells a file that was not read from one that does not exist.
type TryRead<'r> = dyn for<'a> Fn(&CStr, &'a mut [u8]) -> Result<&'a [u8], Unread> + 'r;

/// The limits of the process's group and the pressure on its memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// The lowest hard limit of the group and its ancestors, in bytes.
    limit: Option<u64>,
    /// The lowest `memory.high`, above which the kernel slows the group down, in bytes.
    high: Option<u64>,
    /// Microseconds in which a task of the group, or of the system, waited for memory so far.
    pub(super) stalled_us: Option<u64>,
}

impl Group {
    /// Reads the files of this process's group.
    ///
    /// # Errors
    /// A file could not be read, because no descriptor or no memory was left. It may have a limit.
    pub(super) fn read() -> Result<Group, Unread> {
        Group::read_by(&try_read_start, |take| try_each_line(c"/proc/self/mountinfo", take))
    }

    /// Reads files by `read`. `each_mount` passes on the lines of `/proc/self/mountinfo`.
    fn read_by(
        read: &TryRead<'_>,
        each_mount: impl FnOnce(&mut dyn FnMut(&[u8])) -> Result<(), Unread>,
    ) -> Result<Group, Unread> {
        let is_short = Cell::new(false);
        let read: &Read<'_> = &|path, room| {
            read(path, room).unwrap_or_else(|Unread| {
                is_short.set(true);
                &[]
            })
        };
        let mut room = [0; 4096];
        let membership = read(c"/proc/self/cgroup", &mut room);
        let mut found = Group::default();
        each_mount(&mut |line| {
            let Some(mount) = Mount::parse(line) else { return };
            found.limit = lesser(found.limit, mount.limit(membership, read));
            found.high = lesser(found.high, mount.high(membership, read));
            found.stalled_us = found.stalled_us.or_else(|| mount.stalled_us(membership, read));
        })?;
        let of_system = || stalled_us(read(c"/proc/pressure/memory", &mut [0; 256]));
        found.stalled_us = found.stalled_us.or_else(of_system);
        if is_short.get() { Err(Unread) } else { Ok(found) }
    }

    /// Returns the limit that a configured one stands for, and the bytes from which on memory is
    /// short though requests are served. Other limits than relative ones are returned unchanged.
    pub(super) fn limits(&self, limit: Limit) -> (Limit, Option<u64>) {
        let Limit::Cgroup { percent } = limit else { return (limit, None) };
        let part = |bytes: u64| bytes / 100 * u64::from(percent.get());
        let bytes = |bytes| NonZero::new(part(bytes)).unwrap_or(NonZero::<u64>::MIN);
        let limit = self.limit.map_or(Limit::None, |limit| Limit::Bytes(bytes(limit)));
        (limit, self.high.map(part))
    }
}

/// Returns the limits that a configured one stands for; see [`Group::limits`].
///
/// If it is relative and the control group has none, writes a line to stderr.
///
/// # Errors
/// As for [`Group::read`].
pub(super) fn resolve(limit: Limit) -> Result<(Limit, Option<u64>), Unread> {
    if !matches!(limit, Limit::Cgroup { .. }) {
        return Ok((limit, None));
    }
    let group = Group::read()?;
    if group.limit.is_none() && group.high.is_none() {
        complain(limit, "found none; using 0");
    }
    Ok(group.limits(limit))
}

/// Resolves a limit as [`resolve`] does. One that cannot be read now is none, until the reclaimer
/// reads it.
pub(super) fn resolve_at_start(limit: Limit) -> (Limit, Option<u64>) {
    resolve(limit).unwrap_or_else(|Unread| {
        complain(limit, "cannot read it yet; using 0");
        (Limit::None, None)
    })
}

fn complain(limit: Limit, outcome: &str) {
    let Limit::Cgroup { percent } = limit else { return };
    let percent = percent.get();
    let mut message = FixedBuffer::<144>::new();
    // Writing to a `FixedBuffer` never fails.
    let _ =
        write!(message, "hz3: HZ3_LIMIT={percent}%: expected a memory limit of this process's ");
    let _ = writeln!(message, "control group, {outcome}");
    message.print();
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

    /// Returns the process's group below the mount. `membership` is `/proc/self/cgroup`.
    fn below<'b>(&self, membership: &'b [u8]) -> Option<&'b [u8]> {
        let group = group(membership, self.version)?;
        let group = group.strip_suffix(b"/").unwrap_or(group);
        // In a container the mount may show only a part of the hierarchy, or `membership` may have
        // paths of another namespace.
        Some(match group.strip_prefix(self.root) {
            _ if self.root == b"/" => group,
            Some(below) if below.is_empty() || below.starts_with(b"/") => below,
            _ => b"",
        })
    }

    /// Returns the limit of the process's group, in bytes.
    fn limit(&self, membership: &[u8], read: &Read<'_>) -> Option<u64> {
        let below = self.below(membership)?;
        match self.version {
            Version::Two => self.least(below, b"/memory.max", read),
            Version::One => self.nearest(below, read),
        }
    }

    /// Version 2: returns the lowest `memory.high` that applies to the process's group, in bytes.
    fn high(&self, membership: &[u8], read: &Read<'_>) -> Option<u64> {
        let is_known = self.version == Version::Two;
        is_known.then_some(self.least(self.below(membership)?, b"/memory.high", read))?
    }

    /// Version 2: returns the microseconds in which a task of the process's group, or of the
    /// nearest one with such a file, waited for memory so far.
    fn stalled_us(&self, membership: &[u8], read: &Read<'_>) -> Option<u64> {
        let below = self.below(membership).filter(|_| self.version == Version::Two)?;
        upwards(below).find_map(|group| {
            stalled_us(self.read(group, b"/memory.pressure", &mut [0; 256], read))
        })
    }

    /// Version 2: returns the lowest limit of a group and of all its ancestors, each of which
    /// applies.
    fn least(&self, below: &[u8], file: &[u8], read: &Read<'_>) -> Option<u64> {
        upwards(below).fold(None, |least, group| {
            let mut room = [0; 32];
            lesser(least, number(self.read(group, file, &mut room, read)))
        })
    }

    /// Version 1: returns the lower of a group's own limit and its hierarchical limit. The latter
    /// is the lowest limit of the ancestors that apply to it. Uses the nearest group that is
    /// visible.
    fn nearest(&self, below: &[u8], read: &Read<'_>) -> Option<u64> {
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
    fn read<'b>(&self, group: &[u8], file: &[u8], room: &'b mut [u8], read: &Read<'_>) -> &'b [u8] {
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

/// Returns the total of the line `some avg10=A avg60=B avg300=C total=MICROSECONDS` of a pressure
/// file.
fn stalled_us(text: &[u8]) -> Option<u64> {
    let line = text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"some "))?;
    let total = |field: &'_ [u8]| number(field.strip_prefix(b"total=")?);
    line.split(|&byte| byte == b' ').find_map(total)
}

/// Parses the number in a text; returns `None` for "max" and for an empty text.
fn number(text: &[u8]) -> Option<u64> {
    core::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
