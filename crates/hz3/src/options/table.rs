//! The options, one table: from it come the names, the accepted values and the messages.
//!
//! What cannot be used is named in one line on stderr, with what is accepted, and the default stays.

use core::fmt::Write;

use super::value::{background, bytes, flag, heap_limit, limit, limit_mode, report, within};
use super::{Config, Policy};
use crate::base::line::Line;

/// What a variable's name starts with when it is meant for hz3.
pub(crate) const PREFIX: &[u8] = b"HZ3_";

/// One option: its name without the prefix, what it accepts, and how it is set.
struct Setting {
    name: &'static str,
    accepted: &'static str,
    set: fn(&mut Config, &[u8]) -> bool,
}

const OPTIONS: [Setting; 25] = [
    Setting {
        name: "THREAD_CACHE",
        accepted: "a number of bytes, with K, M or G if you like",
        set: |config, value| bytes(value).map(|n| config.thread_cache_bytes = n).is_some(),
    },
    Setting {
        name: "CACHE_LENGTH",
        accepted: "a number of blocks from 2 to 256",
        set: |config, value| {
            within(value, 2..=256).map(|n| config.cache_length = Some(n)).is_some()
        },
    },
    Setting {
        name: "ARENA",
        accepted: "a number of bytes, with K, M or G if you like",
        set: |config, value| bytes(value).map(|n| config.arena_bytes = Some(n)).is_some(),
    },
    Setting {
        name: "SHARDS",
        accepted: "a number from 1 to 64",
        set: |config, value| within(value, 1..=64).map(|n| config.shards = Some(n)).is_some(),
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
        set: |config, value| Policy::named(value).map(|policy| config.policy = policy).is_some(),
    },
    Setting {
        name: "BACKGROUND",
        accepted: "auto, 1 or 0",
        set: |config, value| background(value).map(|which| config.background = which).is_some(),
    },
    Setting {
        name: "TICK",
        accepted: "a number of milliseconds from 1 to 60000",
        set: |config, value| within(value, 1..=60_000).map(|ms| config.tick_ms = ms).is_some(),
    },
    Setting {
        name: "HUGE_PAGES",
        accepted: "0 or 1",
        set: |config, value| flag(value).map(|on| config.huge_pages = on).is_some(),
    },
    Setting {
        name: "POPULATE",
        accepted: "0 or 1",
        set: |config, value| flag(value).map(|on| config.populate = on).is_some(),
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

#[cfg(test)]
mod tests {
    use super::{Config, apply};
    use crate::options::{Background, Limit, LimitMode, Report};

    #[test]
    fn good_values_are_taken() {
        let mut config = Config::new();
        for entry in ["HZ3_THREAD_CACHE=64K", "HZ3_ARENA=2G", "HZ3_SHARDS=8", "HZ3_COUNT=1"] {
            apply(&mut config, entry.as_bytes());
        }
        apply(&mut config, b"HZ3_STATS=/tmp/x");
        apply(&mut config, b"HZ3_CACHE_LENGTH=32");
        assert_eq!(config.thread_cache_bytes, 65_536);
        assert_eq!(config.cache_length, Some(32));
        assert_eq!(config.arena_bytes, Some(2 << 30));
        assert_eq!(config.shards, Some(8));
        assert!(config.count);
        assert!(matches!(config.report, Report::File(path) if path.starts_with(b"/tmp/x\0")));
    }

    #[test]
    fn background_is_one_of_three() {
        let mut config = Config::new();
        assert_eq!(config.background, Background::Auto);
        for (text, background) in [
            ("0", Background::Never),
            ("auto", Background::Auto),
            ("1", Background::Always),
            ("2", Background::Always),
            ("", Background::Always),
            ("Auto", Background::Always),
        ] {
            apply(&mut config, std::format!("HZ3_BACKGROUND={text}").as_bytes());
            assert_eq!(config.background, background, "{text}");
        }
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
            "HZ3_CACHE_LENGTH=1",
            "HZ3_CACHE_LENGTH=257",
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
        assert_eq!((config.cache_length, config.arena_bytes, config.shards), (None, None, None));
        assert!(!config.count && config.report == Report::None);
    }
}
