//! One sample of a process tree: the sums of the figures in `/proc`.

use super::tree::Tree;
use procfs::ProcError;
use procfs::process::{MMapPath, Process};
use serde::Serialize;
use std::path::Path;
use std::time::Instant;

/// The sums over all living processes of the tree at one moment.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Sample {
    /// Milliseconds from the start of the command to just before the sample.
    pub(crate) t_ms: f64,
    /// Milliseconds to just after it. A sample takes long when this program waits for a processor,
    /// and its values may be of any moment between the two.
    #[serde(skip)]
    pub(crate) until_ms: f64,
    /// Resident set in KiB. A page that processes share counts once for each of them.
    pub(crate) rss_kb: u64,
    /// Address space.
    pub(crate) vms_kb: u64,
    /// The figures of `smaps_rollup`. Not every sample has them, because reading them walks the
    /// page tables.
    #[serde(flatten)]
    pub(crate) detail: Option<Detail>,
    /// Page faults so far, including those of children that were waited for.
    pub(crate) faults: u64,
    /// Number of living processes.
    pub(crate) processes: usize,
    /// KiB charged to the control group of this program, if readable.
    pub(crate) cgroup_kb: Option<u64>,
}

/// The part of a sample that comes from `smaps_rollup`.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[allow(clippy::struct_field_names, reason = "the names are those of the CSV columns")]
pub(crate) struct Detail {
    /// Proportional set: a shared page counts by its share.
    pub(crate) pss_kb: u64,
    /// Unique set: pages that no other process has.
    pub(crate) uss_kb: u64,
    /// Pages given back lazily (`MADV_FREE`): resident until the kernel needs them.
    pub(crate) lazyfree_kb: u64,
    /// Anonymous memory on huge pages.
    pub(crate) anon_huge_kb: u64,
}

/// Samples every process of `tree`, whose root started at `start`; `None` if none is alive.
pub(crate) fn take(tree: &mut Tree, start: Instant, detailed: bool) -> Option<Sample> {
    let now_ms = || start.elapsed().as_secs_f64() * 1e3;
    let mut sum = Sample { t_ms: now_ms(), ..Sample::default() };
    let mut detail = Detail::default();
    let mut is_readable = true;
    for pid in tree.members() {
        // A process may end between two reads. It has no memory left to count then.
        let Ok(process) = Process::new(pid) else { continue };
        let Ok(stat) = process.stat() else { continue };
        if stat.rss == 0 {
            continue;
        }
        sum.processes += 1;
        sum.rss_kb += stat.rss * procfs::page_size() / 1024;
        sum.vms_kb += stat.vsize / 1024;
        sum.faults += stat.minflt + stat.majflt + stat.cminflt + stat.cmajflt;
        if detailed {
            is_readable &= add_rollup(&mut detail, &process);
        }
    }
    sum.detail = (detailed && is_readable).then_some(detail);
    sum.cgroup_kb = super::cgroup::current_kb();
    sum.until_ms = now_ms();
    (sum.processes > 0).then_some(sum)
}

/// Adds the figures of a process. Returns false if this program may not read them, for instance
/// because the process belongs to another user.
fn add_rollup(detail: &mut Detail, process: &Process) -> bool {
    let rollup = match process.smaps_rollup() {
        Ok(rollup) => rollup,
        Err(error) => return !matches!(error, ProcError::PermissionDenied(_)),
    };
    for map in &rollup.memory_map_rollup {
        let kb = |key: &str| map.extension.map.get(key).copied().unwrap_or(0) / 1024;
        detail.pss_kb += kb("Pss");
        detail.uss_kb += kb("Private_Clean") + kb("Private_Dirty");
        detail.lazyfree_kb += kb("LazyFree");
        detail.anon_huge_kb += kb("AnonHugePages");
    }
    true
}

/// Returns whether process `pid` has `library` mapped. `None` if the process is gone or its loader
/// is not that far yet: the loader maps preloaded libraries before the C library.
pub(crate) fn maps_library(pid: i32, library: &Path) -> Option<bool> {
    let maps = Process::new(pid).and_then(|process| process.maps()).ok()?;
    let mut files = maps.iter().filter_map(|map| match &map.pathname {
        MMapPath::Path(path) => Some(path),
        _ => None,
    });
    if files.clone().any(|file| file == library) {
        return Some(true);
    }
    files.any(|file| is_c_library(file)).then_some(false)
}

/// Returns whether this is the file of a C library, by its usual names.
pub(crate) fn is_c_library(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with("libc.so") || name.starts_with("libc-") || name.starts_with("ld-musl")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::tree::Before;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    #[test]
    fn this_process_has_a_resident_set_and_a_unique_part() {
        let me = i32::try_from(std::process::id()).unwrap();
        let sample = take(&mut Tree::of(me, Before::now()), Instant::now(), true).unwrap();
        let detail = sample.detail.unwrap();
        assert!(0.0 < sample.t_ms && sample.t_ms < sample.until_ms);
        assert!(sample.rss_kb > 0 && sample.vms_kb >= sample.rss_kb);
        assert!(detail.uss_kb > 0 && detail.uss_kb <= sample.rss_kb);
        assert!(sample.faults > 0 && sample.processes >= 1);
    }

    #[test]
    fn the_memory_of_several_processes_is_added_up() {
        // Each `tail` holds its 30 MB until its input ends, and that is until we close the pipe.
        let script = "exec 3<&0; \
             hold() { (head -c 30000000 /dev/zero; cat <&3) | tail -c 30000000 >/dev/null; }; \
             hold & hold & wait";
        let before = Before::now();
        let mut child =
            Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
        let mut tree = Tree::of(i32::try_from(child.id()).unwrap(), before);
        let start = Instant::now();
        let mut last = Sample::default();
        let has_all = hz3_tools::wait_until(Duration::from_secs(60), || {
            // A process that is being replaced by its program has no memory for a moment.
            last = take(&mut tree, start, false).unwrap_or_default();
            last.rss_kb > 57_000
        });
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(has_all, "{last:?}");
    }

    #[test]
    fn a_mapped_library_is_seen_and_an_unmapped_one_is_not() {
        let me = i32::try_from(std::process::id()).unwrap();
        let own = std::env::current_exe().unwrap().canonicalize().unwrap();
        assert_eq!(maps_library(me, &own), Some(true));
        assert_eq!(maps_library(me, Path::new("/nonexistent.so")), Some(false));
    }
}
