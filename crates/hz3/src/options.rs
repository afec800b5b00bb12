//! Options: one table from which the names, the accepted values and the messages come.
//!
//! Options are read once, before the first allocation is served, from [`Config`] and then from the
//! environment, which wins. What cannot be used is named in one line on stderr, with what is
//! accepted, and the default stays.

use core::fmt::Write;

use crate::base::fatal::Line;
use crate::base::units::wide;

/// What a variable's name starts with when it is meant for hz3.
pub(crate) const PREFIX: &[u8] = b"HZ3_";
/// Longest file name for the statistics, with the terminating NUL.
pub(crate) const PATH_BYTES: usize = 256;

/// How the heap is set up. The environment overrides it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Bytes that one thread's cache may hold (`HZ3_THREAD_CACHE`). Default 8 MiB.
    pub thread_cache_bytes: usize,
    /// Address space to reserve, in bytes (`HZ3_ARENA`). Default 1 TiB, less where it is limited.
    pub arena_bytes: Option<usize>,
    /// Number of shards (`HZ3_SHARDS`). Default: the CPUs that the process may use.
    pub shards: Option<usize>,
    /// Count every call (`HZ3_COUNT`), at the price of the fast path. Default off.
    pub count: bool,
    /// Where to write statistics at exit (`HZ3_STATS`). Default nowhere.
    pub report: Report,
    /// When memory goes back to the system (`HZ3_POLICY`). Default [`Policy::Default`].
    pub policy: Policy,
    /// Limits of the policies that are made of epochs.
    pub limits: Limits,
    /// Whether a thread of the allocator's may do the work (`HZ3_BACKGROUND`). Default on; off,
    /// slow paths of the program's own threads do it.
    pub background: bool,
    /// Milliseconds between two looks at what is free (`HZ3_TICK`): what stays free over two of
    /// them goes back. Default 200.
    pub tick_ms: u32,
    /// Ask for huge pages once the heap has grown beyond 16 MiB (`HZ3_HUGE_PAGES`). Default off.
    pub huge_pages: bool,
    /// What the heap may hold (`HZ3_LIMIT`). Default [`Limit::None`].
    pub limit: Limit,
    /// What happens at the limit (`HZ3_LIMIT_MODE`). Default [`LimitMode::Fail`].
    pub limit_mode: LimitMode,
}

/// What the heap may hold: live blocks, free memory that has not gone back, its tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// What the system gives.
    None,
    /// So many bytes.
    Bytes(u64),
    /// A part of the memory that the process's control group may use (cgroup v2, `memory.max` of
    /// the group or of one above it, whichever is least), as it is at the start. No limit where
    /// there is none.
    Cgroup {
        /// From 1 to 100.
        percent: u8,
    },
}

/// What happens when the limit is reached. Either way free memory goes back first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitMode {
    /// Allocation fails, as if the system had no more.
    Fail,
    /// Allocation is served.
    Reclaim,
}

/// When memory goes back to the system by itself.
///
/// All but the first two are experiments to compare with: `docs/policies.md` describes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Never: the reference for speed. [`crate::collect`] still works.
    Off,
    /// What stayed free for two ticks goes back, from every thread state.
    Default,
    /// Segment scan: ranges of free pages at every epoch.
    S57b2,
    /// Decay of thread caches; nothing goes back to the system.
    S58,
    /// S58, and what became free is purged in the same epoch, as far as the budget goes.
    S60,
    /// Hard purge at a thread's end.
    S61,
    /// Retire and purge at a thread's end.
    S62,
    /// Cache dump, retire, and a queue that delays the purge.
    S64,
    /// S64, and a range joins the entry that it follows.
    S64P1a,
    /// P1a, and what is still free of an entry is purged, not all or nothing.
    S64P1b,
    /// P1b with a delay of 8 epochs.
    S64P1c,
}

/// The policies by their names in `HZ3_POLICY`.
const POLICIES: [(&str, Policy); 11] = [
    ("off", Policy::Off),
    ("default", Policy::Default),
    ("s57b2", Policy::S57b2),
    ("s58", Policy::S58),
    ("s60", Policy::S60),
    ("s61", Policy::S61),
    ("s62", Policy::S62),
    ("s64", Policy::S64),
    ("s64-p1a", Policy::S64P1a),
    ("s64-p1b", Policy::S64P1b),
    ("s64-p1c", Policy::S64P1c),
];

impl Policy {
    /// Its name in `HZ3_POLICY`.
    pub fn name(self) -> &'static str {
        POLICIES.iter().find(|(_, policy)| *policy == self).map_or("", |(name, _)| name)
    }
}

/// Limits of the policies that are made of epochs; `None`: the policy's own. Each has a step that
/// it belongs to, and says nothing to a policy without that step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Slow paths of one thread between two epochs (`HZ3_EPOCH_INTERVAL`); 0: by time only.
    pub epoch_interval: Option<u32>,
    /// Epochs that a queued range waits (`HZ3_PURGE_DELAY`).
    pub purge_delay: Option<u32>,
    /// Milliseconds that it waits at least (`HZ3_PURGE_DELAY_MS`).
    pub purge_delay_ms: Option<u32>,
    /// Pages purged in one epoch at most (`HZ3_PURGE_PAGES`).
    pub purge_pages: Option<u32>,
    /// Calls of madvise in one epoch at most (`HZ3_PURGE_CALLS`).
    pub purge_calls: Option<u32>,
    /// Entries of the queue, 256 at most (`HZ3_PURGE_QUEUE`).
    pub purge_queue: Option<u32>,
    /// Pages of the shortest range that a scan purges (`HZ3_MIN_RANGE`).
    pub min_range: Option<u32>,
    /// Epochs that a segment must have been left alone for a scan (`HZ3_DECAY_EPOCHS`).
    pub decay_epochs: Option<u32>,
    /// Epochs of surplus before a cache's capacity falls (`HZ3_CACHE_OVERAGES`).
    pub cache_overages: Option<u32>,
    /// Blocks that decay puts back in one epoch at most (`HZ3_RECLAIM_BUDGET`).
    pub reclaim_budget: Option<u32>,
    /// Pages queued in one epoch at most (`HZ3_RETIRE_BUDGET`).
    pub retire_budget: Option<u32>,
    /// Blocks that a dump puts back in one epoch at most (`HZ3_DUMP_BUDGET`).
    pub dump_budget: Option<u32>,
}

/// Where statistics go when the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "a process has one, and nothing to box it in")]
pub enum Report {
    /// Nowhere.
    None,
    /// One line of text on stderr.
    Text,
    /// One JSON object on stderr.
    Json,
    /// One JSON object, appended to a file: an absolute path, NUL-terminated.
    File([u8; PATH_BYTES]),
}

impl Limits {
    /// The policies' own.
    pub const fn new() -> Limits {
        Limits {
            epoch_interval: None,
            purge_delay: None,
            purge_delay_ms: None,
            purge_pages: None,
            purge_calls: None,
            purge_queue: None,
            min_range: None,
            decay_epochs: None,
            cache_overages: None,
            reclaim_budget: None,
            retire_budget: None,
            dump_budget: None,
        }
    }
}

impl Config {
    /// The defaults.
    pub const fn new() -> Config {
        Config {
            thread_cache_bytes: 8 * 1024 * 1024,
            arena_bytes: None,
            shards: None,
            count: false,
            report: Report::None,
            policy: Policy::Default,
            limits: Limits::new(),
            background: true,
            tick_ms: 125,
            huge_pages: false,
            limit: Limit::None,
            limit_mode: LimitMode::Fail,
        }
    }

    /// Sets when memory goes back to the system by itself.
    #[must_use]
    pub const fn policy(mut self, policy: Policy) -> Config {
        self.policy = policy;
        self
    }

    /// Sets the limits of the policies that are made of epochs.
    #[must_use]
    pub const fn limits(mut self, limits: Limits) -> Config {
        self.limits = limits;
        self
    }

    /// Sets whether a thread of the allocator's may give memory back.
    #[must_use]
    pub const fn background(mut self, background: bool) -> Config {
        self.background = background;
        self
    }

    /// Sets what one thread's cache may hold, in bytes.
    #[must_use]
    pub const fn thread_cache_bytes(mut self, bytes: usize) -> Config {
        self.thread_cache_bytes = bytes;
        self
    }

    /// Sets the address space to reserve, in bytes.
    #[must_use]
    pub const fn arena_bytes(mut self, bytes: usize) -> Config {
        self.arena_bytes = Some(bytes);
        self
    }

    /// Sets what the heap may hold.
    #[must_use]
    pub const fn limit(mut self, limit: Limit) -> Config {
        self.limit = limit;
        self
    }

    /// Sets the number of shards.
    #[must_use]
    pub const fn shards(mut self, shards: usize) -> Config {
        self.shards = Some(shards);
        self
    }

    /// Sets whether huge pages are asked for once the heap has grown.
    #[must_use]
    pub const fn huge_pages(mut self, huge_pages: bool) -> Config {
        self.huge_pages = huge_pages;
        self
    }

    /// Counts every call.
    #[must_use]
    pub const fn count(mut self, count: bool) -> Config {
        self.count = count;
        self
    }
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}

/// One option: its name without the prefix, what it accepts, and how it is set.
struct Setting {
    name: &'static str,
    accepted: &'static str,
    set: fn(&mut Config, &[u8]) -> bool,
}

const OPTIONS: [Setting; 23] = [
    Setting {
        name: "THREAD_CACHE",
        accepted: "a number of bytes, with K, M or G if you like",
        set: |config, value| bytes(value).map(|n| config.thread_cache_bytes = n).is_some(),
    },
    Setting {
        name: "ARENA",
        accepted: "a number of bytes, with K, M or G if you like",
        set: |config, value| bytes(value).map(|n| config.arena_bytes = Some(n)).is_some(),
    },
    Setting {
        name: "SHARDS",
        accepted: "a number from 1 to 64",
        set: |config, value| match number(value) {
            Some(n @ 1..=64) => {
                config.shards = Some(n);
                true
            }
            _ => false,
        },
    },
    Setting {
        name: "COUNT",
        accepted: "0 or 1",
        set: |config, value| flag(value).map(|on| config.count = on).is_some(),
    },
    Setting {
        name: "STATS",
        accepted: "0, 1, json, or an absolute path",
        set: |config, value| report(value).map(|report| config.report = report).is_some(),
    },
    Setting {
        name: "POLICY",
        accepted: "off, default, s57b2, s58, s60, s61, s62, s64, s64-p1a, s64-p1b or s64-p1c",
        set: |config, value| policy(value).map(|policy| config.policy = policy).is_some(),
    },
    Setting {
        name: "BACKGROUND",
        accepted: "0 or 1",
        set: |config, value| flag(value).map(|on| config.background = on).is_some(),
    },
    Setting {
        name: "TICK",
        accepted: "a number of milliseconds from 1 to 60000",
        set: |config, value| match number(value).and_then(|ms| u32::try_from(ms).ok()) {
            Some(ms @ 1..=60_000) => {
                config.tick_ms = ms;
                true
            }
            _ => false,
        },
    },
    Setting {
        name: "HUGE_PAGES",
        accepted: "0 or 1",
        set: |config, value| flag(value).map(|on| config.huge_pages = on).is_some(),
    },
    Setting {
        name: "EPOCH_INTERVAL",
        accepted: "a number of slow paths from 0 to 1000000",
        set: |config, value| limit(&mut config.limits.epoch_interval, value, 0..=1_000_000),
    },
    Setting {
        name: "PURGE_DELAY",
        accepted: "a number of epochs from 0 to 1000000",
        set: |config, value| limit(&mut config.limits.purge_delay, value, 0..=1_000_000),
    },
    Setting {
        name: "PURGE_DELAY_MS",
        accepted: "a number of milliseconds from 0 to 3600000",
        set: |config, value| limit(&mut config.limits.purge_delay_ms, value, 0..=3_600_000),
    },
    Setting {
        name: "PURGE_PAGES",
        accepted: "a number of pages of 4 KiB from 1 to 4294967295",
        set: |config, value| limit(&mut config.limits.purge_pages, value, 1..=u32::MAX),
    },
    Setting {
        name: "PURGE_CALLS",
        accepted: "a number of calls from 1 to 4294967295",
        set: |config, value| limit(&mut config.limits.purge_calls, value, 1..=u32::MAX),
    },
    Setting {
        name: "PURGE_QUEUE",
        accepted: "a number of entries from 1 to 256",
        set: |config, value| limit(&mut config.limits.purge_queue, value, 1..=256),
    },
    Setting {
        name: "MIN_RANGE",
        accepted: "a number of pages of 4 KiB from 1 to 1024",
        set: |config, value| limit(&mut config.limits.min_range, value, 1..=1024),
    },
    Setting {
        name: "DECAY_EPOCHS",
        accepted: "a number of epochs from 0 to 1000000",
        set: |config, value| limit(&mut config.limits.decay_epochs, value, 0..=1_000_000),
    },
    Setting {
        name: "CACHE_OVERAGES",
        accepted: "a number of epochs from 1 to 1000",
        set: |config, value| limit(&mut config.limits.cache_overages, value, 1..=1_000),
    },
    Setting {
        name: "RECLAIM_BUDGET",
        accepted: "a number of blocks from 1 to 4294967295",
        set: |config, value| limit(&mut config.limits.reclaim_budget, value, 1..=u32::MAX),
    },
    Setting {
        name: "RETIRE_BUDGET",
        accepted: "a number of pages of 4 KiB from 1 to 4294967295",
        set: |config, value| limit(&mut config.limits.retire_budget, value, 1..=u32::MAX),
    },
    Setting {
        name: "DUMP_BUDGET",
        accepted: "a number of blocks from 1 to 4294967295",
        set: |config, value| limit(&mut config.limits.dump_budget, value, 1..=u32::MAX),
    },
    Setting {
        name: "LIMIT",
        accepted: "0, a number of bytes, with K, M or G if you like, 1% to 100%, or auto",
        set: |config, value| heap_limit(value).map(|limit| config.limit = limit).is_some(),
    },
    Setting {
        name: "LIMIT_MODE",
        accepted: "fail or reclaim",
        set: |config, value| limit_mode(value).map(|mode| config.limit_mode = mode).is_some(),
    },
];

/// Applies one entry of the environment, `NAME=value`, if it is meant for hz3.
pub(crate) fn apply(config: &mut Config, entry: &[u8]) {
    let Some(rest) = entry.strip_prefix(PREFIX) else { return };
    let split = rest.iter().position(|&byte| byte == b'=').unwrap_or(rest.len());
    let (name, value) = (&rest[..split], rest.get(split + 1..).unwrap_or_default());
    let Some(option) = OPTIONS.iter().find(|option| option.name.as_bytes() == name) else {
        return complain_name(name);
    };
    if !(option.set)(config, value) {
        complain_value(option, value);
    }
}

#[cold]
fn complain_name(name: &[u8]) {
    let mut line = Line::<1024>::new();
    let _ = write!(line, "hz3: unknown option HZ3_");
    write_bytes(&mut line, name);
    let _ = write!(line, " is ignored; there are");
    for (index, option) in OPTIONS.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(line, "{comma} HZ3_{}", option.name);
    }
    let _ = writeln!(line);
    line.print();
}

#[cold]
fn complain_value(option: &Setting, value: &[u8]) {
    let mut line = Line::<1024>::new();
    let _ = write!(line, "hz3: HZ3_{}=", option.name);
    write_bytes(&mut line, value);
    let _ = writeln!(line, " is ignored; it takes {}", option.accepted);
    line.print();
}

/// Writes what may not be UTF-8, at most 100 bytes of it, with other than plain ASCII as `?`.
fn write_bytes<const N: usize>(line: &mut Line<N>, bytes: &[u8]) {
    for &byte in bytes.iter().take(100) {
        let shown = if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '?' };
        let _ = line.write_char(shown);
    }
}

fn number(text: &[u8]) -> Option<usize> {
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// A number of bytes: decimal digits, perhaps with a binary unit.
fn bytes(text: &[u8]) -> Option<usize> {
    let (digits, shift) = match text.split_last()? {
        (b'K' | b'k', digits) => (digits, 10),
        (b'M' | b'm', digits) => (digits, 20),
        (b'G' | b'g', digits) => (digits, 30),
        _ => (text, 0),
    };
    number(digits)?.checked_mul(1 << shift)
}

fn flag(text: &[u8]) -> Option<bool> {
    match text {
        b"0" => Some(false),
        b"1" => Some(true),
        _ => None,
    }
}

fn policy(text: &[u8]) -> Option<Policy> {
    let named = POLICIES.iter().find(|(name, _)| name.as_bytes() == text);
    named.map(|(_, policy)| *policy)
}

/// A limit of a policy: sets `place` to a number within `range`.
fn limit(place: &mut Option<u32>, value: &[u8], range: core::ops::RangeInclusive<u32>) -> bool {
    let number = number(value).and_then(|n| u32::try_from(n).ok()).filter(|n| range.contains(n));
    if number.is_some() {
        *place = number;
    }
    number.is_some()
}

/// What the heap may hold.
fn heap_limit(text: &[u8]) -> Option<Limit> {
    match text {
        b"auto" => Some(Limit::Cgroup { percent: 100 }),
        [digits @ .., b'%'] => match number(digits)? {
            percent @ 1..=100 => {
                u8::try_from(percent).ok().map(|percent| Limit::Cgroup { percent })
            }
            _ => None,
        },
        _ => match bytes(text)? {
            0 => Some(Limit::None),
            bytes => Some(Limit::Bytes(wide(bytes))),
        },
    }
}

fn limit_mode(text: &[u8]) -> Option<LimitMode> {
    match text {
        b"fail" => Some(LimitMode::Fail),
        b"reclaim" => Some(LimitMode::Reclaim),
        _ => None,
    }
}

fn report(text: &[u8]) -> Option<Report> {
    match text {
        b"0" => Some(Report::None),
        b"1" => Some(Report::Text),
        b"json" => Some(Report::Json),
        [b'/', ..] if text.len() < PATH_BYTES => {
            let mut path = [0; PATH_BYTES];
            path[..text.len()].copy_from_slice(text);
            Some(Report::File(path))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, Limit, LimitMode, Report, apply};

    #[test]
    fn good_values_are_taken() {
        let mut config = Config::new();
        for entry in ["HZ3_THREAD_CACHE=64K", "HZ3_ARENA=2G", "HZ3_SHARDS=8", "HZ3_COUNT=1"] {
            apply(&mut config, entry.as_bytes());
        }
        apply(&mut config, b"HZ3_STATS=/tmp/x");
        assert_eq!(config.thread_cache_bytes, 65_536);
        assert_eq!(config.arena_bytes, Some(2 << 30));
        assert_eq!(config.shards, Some(8));
        assert!(config.count);
        assert!(matches!(config.report, Report::File(path) if path.starts_with(b"/tmp/x\0")));
    }

    #[test]
    fn a_limit_has_three_forms() {
        for (text, limit) in [
            ("0", Limit::None),
            ("96M", Limit::Bytes(96 << 20)),
            ("75%", Limit::Cgroup { percent: 75 }),
            ("auto", Limit::Cgroup { percent: 100 }),
        ] {
            let mut config = Config::new();
            apply(&mut config, std::format!("HZ3_LIMIT={text}").as_bytes());
            assert_eq!(config.limit, limit, "{text}");
        }
        let mut config = Config::new().limit(Limit::Bytes(7));
        for text in ["", "0%", "101%", "%", "1.5G", "-1", "automatic"] {
            apply(&mut config, std::format!("HZ3_LIMIT={text}").as_bytes());
            assert_eq!(config.limit, Limit::Bytes(7), "{text}");
        }
        apply(&mut config, b"HZ3_LIMIT_MODE=reclaim");
        assert_eq!(config.limit_mode, LimitMode::Reclaim);
    }

    #[test]
    fn bad_values_leave_the_default() {
        let mut config = Config::new();
        for entry in [
            "HZ3_THREAD_CACHE=",
            "HZ3_THREAD_CACHE=-1",
            "HZ3_ARENA=99999999999G",
            "HZ3_SHARDS=0",
            "HZ3_SHARDS=65",
            "HZ3_COUNT=yes",
            "HZ3_STATS=relative",
            "HZ3_NOTHING=1",
            "HZ3_",
            "OTHER=1",
        ] {
            apply(&mut config, entry.as_bytes());
        }
        let default = Config::new();
        assert_eq!(config.thread_cache_bytes, default.thread_cache_bytes);
        assert_eq!((config.arena_bytes, config.shards), (None, None));
        assert!(!config.count && config.report == Report::None);
    }
}
