//! One look at a running process: its page, its entries in `/proc`, its control group.

use crate::failure::Result;
use crate::measure::read_lossy;
use crate::measure::stats_page::{RemotePage, Snapshot, ended};
use crate::text;
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a process may take to answer. A tick is 125 ms, and slow paths look every 64th time.
const PATIENCE: Duration = Duration::from_millis(700);

/// One look at a process.
#[derive(Debug)]
pub(super) struct Observation {
    pub(super) pid: i32,
    pub(super) name: String,
    pub(super) page: Snapshot,
    /// Whether the process answered, so that all figures are of now.
    pub(super) has_answered: bool,
    /// Nanoseconds since the page was updated.
    pub(super) age_ns: u64,
    /// The resident set, in bytes.
    pub(super) resident: u64,
    pub(super) swapped: u64,
    /// Page faults so far.
    pub(super) faults: u64,
    pub(super) group: Option<Group>,
    /// The names of threads by their id in their own namespace.
    pub(super) thread_names: BTreeMap<u64, String>,
}

/// The control group of the process.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Group {
    /// The lowest limit of the group and its ancestors, in bytes.
    pub(super) limit: Option<u64>,
    /// The lowest `memory.high`, in bytes.
    pub(super) high: Option<u64>,
    pub(super) current: Option<u64>,
    /// Part of the last ten seconds in which a task of the group waited for memory, in percent.
    pub(super) pressure: Option<f64>,
}

/// A part of the resident memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) bytes: u64,
    pub(super) note: &'static str,
}

impl Observation {
    /// Looks at the process. The page was found before, so a failure means that it has ended.
    pub(super) fn take(remote: &RemotePage, pid: i32) -> Result<Observation> {
        let has_answered = remote.ask(PATIENCE)?;
        let page = remote.read()?;
        let status = read(&proc(pid, "status")).ok_or_else(|| ended(pid))?;
        let kib = |key: &str| field(&status, key).and_then(number).unwrap_or(0) * 1024;
        let now = clock_gettime(ClockId::Monotonic);
        let now_ns = u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000
            + u64::try_from(now.tv_nsec).unwrap_or(0);
        Ok(Observation {
            pid,
            name: name(&status).unwrap_or_else(|| "?".to_owned()),
            has_answered,
            age_ns: now_ns.saturating_sub(page.value("updated_ns")),
            resident: kib("VmRSS:"),
            swapped: kib("VmSwap:"),
            faults: faults(&read(&proc(pid, "stat")).unwrap_or_default()),
            group: read(&proc(pid, "cgroup")).and_then(|text| Group::of(&text)),
            thread_names: thread_names(pid),
            page,
        })
    }

    /// Returns the age of the figures for a reader.
    pub(super) fn age(&self) -> String {
        match self.age_ns as f64 / 1e9 {
            seconds if seconds < 60.0 => text::seconds(seconds),
            seconds => text::about(seconds),
        }
    }

    /// Returns whether the page is that of the process itself, and not of the one that forked it.
    pub(super) fn is_own(&self) -> bool {
        let status = read(&proc(self.pid, "status")).unwrap_or_default();
        let own = field(&status, "NSpid:").and_then(|pids| pids.split_whitespace().last());
        own.is_none_or(|own| own.parse() == Ok(self.page.writer))
    }

    /// Returns the resident memory by its use. The parts add up to the resident set, unless live
    /// blocks have pages that were never touched.
    pub(super) fn parts(&self) -> Vec<Part> {
        let page = |name| self.page.value(name);
        let part = |name, bytes, note| Part { name, bytes, note };
        let mut parts = vec![
            part("live", page("allocated"), "held by the program"),
            part("pinned", page("slack_shared"), "free, in pages of live blocks"),
            part("holes", page("slack_holes"), "free pages of slabs in use"),
            part("waiting", page("dirty"), "free pages"),
            part("cached, running", page("cached_running"), "of threads that work"),
            part("cached, idle", page("cached_idle"), "of threads that do not"),
            part("cached, between", page("cached_transfer"), "on the way between threads"),
            part("tables", page("metadata_resident"), "of hz3"),
        ];
        let sum: u64 = parts.iter().map(|part| part.bytes).sum();
        parts.push(part("not heap", self.resident.saturating_sub(sum), "code, stacks, files"));
        parts
    }

    /// Returns the bytes of hz3's that are accounted for beyond the resident set: live blocks that
    /// the program never wrote to.
    pub(super) fn untouched(&self) -> u64 {
        let parts = self.parts();
        parts.iter().map(|part| part.bytes).sum::<u64>().saturating_sub(self.resident)
    }
}

impl Group {
    /// Reads the group of `/proc/PID/cgroup`: version 2, or the controller of version 1.
    fn of(membership: &str) -> Option<Group> {
        membership.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            match controllers {
                "" => Group::version_2(Path::new("/sys/fs/cgroup"), path),
                c if c.split(',').any(|c| c == "memory") => {
                    Group::version_1(Path::new("/sys/fs/cgroup/memory"), path)
                }
                _ => None,
            }
        })
    }

    fn version_2(mount: &Path, path: &str) -> Option<Group> {
        let own = mount.join(path.trim_start_matches('/'));
        let up = || own.ancestors().take_while(|group| group.starts_with(mount));
        let least = |file: &str| up().filter_map(|group| number(&read(&group.join(file))?)).min();
        let pressure = up().find_map(|group| read(&group.join("memory.pressure")));
        let group = Group {
            limit: least("memory.max"),
            high: least("memory.high"),
            current: up().find_map(|group| number(&read(&group.join("memory.current"))?)),
            pressure: pressure.and_then(|text| average(&text)),
        };
        (group != Group::default()).then_some(group)
    }

    fn version_1(mount: &Path, path: &str) -> Option<Group> {
        let own = mount.join(path.trim_start_matches('/'));
        let at = |file: &str| number(&read(&own.join(file)).or_else(|| read(&mount.join(file)))?);
        let limit = at("memory.limit_in_bytes").filter(|&limit| limit < 1 << 62);
        let group = Group { limit, current: at("memory.usage_in_bytes"), ..Group::default() };
        (group != Group::default()).then_some(group)
    }
}

fn proc(pid: i32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

fn read(path: &Path) -> Option<String> {
    read_lossy(path).ok()
}

/// Returns the name in `/proc/PID/status`. A program may choose any bytes, also those that move the
/// cursor of a terminal.
fn name(status: &str) -> Option<String> {
    field(status, "Name:").map(|name| text::one_line(name.trim()))
}

fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key))
}

/// Parses the first word; `None` for `max`.
fn number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Returns the minor and major faults of `/proc/PID/stat`, whose name field may hold blanks.
fn faults(stat: &str) -> u64 {
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let at = |index| fields.split_whitespace().nth(index).and_then(|word| word.parse().ok());
    at(7).unwrap_or(0_u64) + at(9).unwrap_or(0_u64)
}

/// Returns `avg10` of the line `some` of a pressure file.
fn average(text: &str) -> Option<f64> {
    let line = field(text, "some ")?;
    line.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?.parse().ok()
}

fn thread_names(pid: i32) -> BTreeMap<u64, String> {
    let tasks = std::fs::read_dir(proc(pid, "task"));
    let named = tasks.into_iter().flatten().flatten().filter_map(|task| {
        let status = read(&task.path().join("status"))?;
        let id = field(&status, "NSpid:")?.split_whitespace().last()?.parse().ok()?;
        Some((id, name(&status)?))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::{Group, average, faults, name};

    #[test]
    fn the_lowest_limit_of_the_ancestors_counts() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("a/b");
        std::fs::create_dir_all(&own).unwrap();
        let write = |path: &str, text: &str| std::fs::write(root.path().join(path), text).unwrap();
        write("a/memory.max", "1000\n");
        write("a/b/memory.max", "max\n");
        write("a/b/memory.high", "900\n");
        write("a/b/memory.current", "70\n");
        write("a/b/memory.pressure", "some avg10=1.50 avg60=0.00 avg300=0.00 total=5\n");
        let group = Group::version_2(root.path(), "/a/b").unwrap();
        let expected =
            Group { limit: Some(1000), high: Some(900), current: Some(70), pressure: Some(1.5) };
        assert_eq!(group, expected);
        assert_eq!(Group::version_2(root.path(), "/other"), None);
    }

    #[test]
    fn a_name_does_not_control_the_terminal() {
        let shown = name("Name:\t\u{1b}[2Jx\u{fffd}\nUmask:\t0022\n");
        assert_eq!(shown.as_deref(), Some("?[2Jx\u{fffd}"));
    }

    #[test]
    fn faults_are_read_behind_any_name() {
        assert_eq!(faults("7 (a) b) S 1 2 3 4 5 6 70 8 9 0"), 79);
        assert_eq!(average("full avg10=2.00\n"), None);
    }
}
