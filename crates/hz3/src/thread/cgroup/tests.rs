//! Hierarchies as systems and containers show them.

use super::{Group, Mount, Unread, Version, group};
use crate::options::{Limit, Within};
use core::ffi::CStr;
use std::format;

/// Returns the limit of a process on a system with these files.
fn limit(mount: &str, membership: &str, files: &'static [(&CStr, &str)]) -> Option<u64> {
    let mount = Mount::parse(mount.as_bytes()).expect("a hierarchy");
    mount.limit(membership.as_bytes(), &move |path, room| {
        let found = files.iter().find(|(name, _)| *name == path);
        let text = found.map_or("", |(_, text)| text);
        room[..text.len()].copy_from_slice(text.as_bytes());
        &room[..text.len()]
    })
}

const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
const V1: &str = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";
/// Docker on a system of version 1: the mount shows the container's group as its root.
const CONTAINER: &str =
    "901 900 0:32 /docker/4f /sys/fs/cgroup/memory ro,nosuid master:17 - cgroup cgroup rw,memory";

#[test]
fn only_mounts_of_memory_hierarchies_are_accepted() {
    let mount = |line: &'static str| Mount::parse(line.as_bytes());
    let [root, point] = [&b"/"[..], b"/sys/fs/cgroup"];
    assert_eq!(mount(V2), Some(Mount { version: Version::Two, root, point }));
    let [root, point] = [&b"/docker/4f"[..], b"/sys/fs/cgroup/memory"];
    assert_eq!(mount(CONTAINER), Some(Mount { version: Version::One, root, point }));
    for line in [
        "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu",
        "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755",
        "",
        "31 23 0:28 /",
        "31 23 0:28 / /x rw -",
    ] {
        assert_eq!(mount(line), None, "{line}");
    }
}

#[test]
fn the_group_of_the_right_version_is_found() {
    let hybrid = b"4:cpu,memory:/x\n1:name=systemd:/y\n0::/z\n";
    assert_eq!(group(hybrid, Version::Two), Some(&b"/z"[..]));
    assert_eq!(group(hybrid, Version::One), Some(&b"/x"[..]));
    assert_eq!(group(b"0::/a:b\n", Version::Two), Some(&b"/a:b"[..]));
    assert_eq!(group(b"0::/a\n", Version::One), None);
    assert_eq!(group(b"4:memory:/x\n", Version::Two), None);
    assert_eq!(group(b"", Version::One), None);
}

#[test]
fn the_lowest_limit_of_the_group_and_its_ancestors_counts() {
    const FILES: &[(&CStr, &str)] = &[
        (c"/sys/fs/cgroup/a/b/memory.max", "300\n"),
        (c"/sys/fs/cgroup/a/memory.max", "200\n"),
        (c"/sys/fs/cgroup/memory.max", "900\n"),
        (c"/sys/fs/cgroup/open/memory.max", "max\n"),
    ];
    assert_eq!(limit(V2, "0::/a/b\n", FILES), Some(200));
    assert_eq!(limit(V2, "0::/open\n", FILES), Some(900));
    assert_eq!(limit(V2, "0::/\n", FILES), Some(900));
    assert_eq!(limit(V2, "0::/open\n", &FILES[3..]), None);
    // A path that is too long is skipped; its ancestors are read.
    assert_eq!(limit(V2, &format!("0::/{}\n", "x".repeat(2000)), FILES), Some(900));
}

#[test]
fn in_version_1_the_lower_of_own_and_hierarchical_limit_counts() {
    const FILES: &[(&CStr, &str)] = &[
        (c"/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
        (c"/sys/fs/cgroup/memory/a/memory.stat", "cache 0\nhierarchical_memory_limit 700\n"),
        (c"/sys/fs/cgroup/memory/memory.limit_in_bytes", "500\n"),
        (c"/sys/fs/cgroup/memory/open/memory.limit_in_bytes", "9223372036854771712\n"),
    ];
    assert_eq!(limit(V1, "4:memory:/a\n", FILES), Some(700));
    // An ancestor's limit applies only if `hierarchical_memory_limit` contains it.
    assert_eq!(limit(V1, "4:memory:/open\n", FILES), None);
    assert_eq!(limit(V1, "0::/a\n", FILES), None);
    // The group's path lies outside the part that the container sees, or below its root.
    assert_eq!(limit(CONTAINER, "4:memory:/other\n", FILES), Some(500));
    assert_eq!(limit(CONTAINER, "4:memory:/docker/4f\n", FILES), Some(500));
    assert_eq!(limit(CONTAINER, "4:memory:/docker/4f/a\n", FILES), Some(700));
    assert_eq!(limit(CONTAINER, "4:memory:/docker/4fa\n", FILES), Some(500));
}

/// Reads the group of a process in `/a/b`, on a system of version 2 with these files.
fn read(files: &'static [(&CStr, &str)]) -> Group {
    let read: &super::TryRead<'_> = &move |path, room| {
        let own = [(c"/proc/self/cgroup", "0::/a/b\n")];
        let found = own.iter().chain(files).find(|(name, _)| *name == path);
        let text = found.map_or("", |(_, text)| text);
        room[..text.len()].copy_from_slice(text.as_bytes());
        Ok(&room[..text.len()])
    };
    read_by(read).expect("every file can be read")
}

fn read_by(read: &super::TryRead<'_>) -> Result<Group, Unread> {
    Group::read_by(read, |take| {
        take(V2.as_bytes());
        Ok(())
    })
}

#[test]
fn a_reading_that_lacks_a_file_without_a_free_descriptor_is_none() {
    let files =
        [c"/proc/self/cgroup", c"/sys/fs/cgroup/a/b/memory.max", c"/sys/fs/cgroup/memory.max"];
    for unread in files {
        let read: &super::TryRead<'_> = &|path, room| {
            let texts = files.iter().zip(["0::/a/b\n", "9000\n", "max\n"]);
            let text = texts.filter(|(name, _)| **name == path).map(|(_, text)| text).next();
            let text = text.unwrap_or_default().as_bytes();
            room[..text.len()].copy_from_slice(text);
            if path == unread { Err(Unread) } else { Ok(&room[..text.len()]) }
        };
        assert_eq!(read_by(read), Err(Unread), "{unread:?}");
    }
    let unlisted = Group::read_by(&|_, _| Ok(&[]), |_| Err(Unread));
    assert_eq!(unlisted, Err(Unread), "no list of mounts");
}

#[test]
fn a_reading_finds_both_limits_and_the_pressure() {
    const SYSTEM: (&CStr, &str) =
        (c"/proc/pressure/memory", "some avg10=0.00 total=77\nfull avg10=0.00 total=5\n");
    let group = read(&[
        (c"/sys/fs/cgroup/a/b/memory.max", "9000\n"),
        (c"/sys/fs/cgroup/a/memory.high", "7000\n"),
        (c"/sys/fs/cgroup/a/b/memory.high", "max\n"),
        (
            c"/sys/fs/cgroup/a/memory.pressure",
            "some avg10=1.50 avg60=0.10 avg300=0.00 total=1234\n",
        ),
        SYSTEM,
    ]);
    let expected = Group { limit: Some(9000), high: Some(7000), stalled_us: Some(1234) };
    assert_eq!(group, expected);
    let half = Limit::Cgroup { percent: Within::new(50).unwrap() };
    let bytes = |bytes| Limit::Bytes(core::num::NonZero::new(bytes).unwrap());
    assert_eq!(group.limits(half), (bytes(4500), Some(3500)));
    assert_eq!(group.limits(bytes(7)), (bytes(7), None), "not relative to the group");
    let of_system = read(&[SYSTEM, (c"/sys/fs/cgroup/memory.max", "100\n")]);
    let expected = Group { limit: Some(100), high: None, stalled_us: Some(77) };
    assert_eq!(of_system, expected);
    assert_eq!(of_system.limits(half), (bytes(50), None));
    assert_eq!(read(&[]), Group::default());
    assert_eq!(Group::default().limits(half), (Limit::None, None));
}
