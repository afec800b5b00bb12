use super::{Config, apply};
use super::{
    Message, Value, nearest, options, write_refused, write_unknown, write_unread,
    write_without_effect,
};
use crate::options::{Background, Limit, LimitMode, Report, ReportPath, Within};
use core::num::NonZero;
use std::string::String;

fn bytes(bytes: u64) -> Limit {
    Limit::Bytes(NonZero::new(bytes).unwrap())
}

#[test]
fn valid_values_are_stored() {
    let mut config = Config::new();
    for entry in ["HZ3_THREAD_CACHE=64K", "HZ3_ARENA=2G", "HZ3_SHARDS=8", "HZ3_COUNT=1"] {
        apply(&mut config, entry.as_bytes());
    }
    apply(&mut config, b"HZ3_STATS=/tmp/x");
    apply(&mut config, b"HZ3_CACHE_LENGTH=32");
    assert_eq!(config.thread_cache_bytes, 65_536);
    assert_eq!(config.cache_length, Within::new(32));
    assert_eq!(config.arena_bytes, Some(2 << 30));
    assert_eq!(config.shards, Within::new(8));
    assert!(config.count);
    assert_eq!(config.report, Report::File(ReportPath::new("/tmp/x").unwrap()));
}

#[test]
fn background_accepts_three_values() {
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
        ("96M", bytes(96 << 20)),
        ("75%", Limit::Cgroup { percent: Within::new(75).unwrap() }),
        ("auto", Limit::Cgroup { percent: Within::new(100).unwrap() }),
    ] {
        let mut config = Config::new();
        apply(&mut config, std::format!("HZ3_LIMIT={text}").as_bytes());
        assert_eq!(config.limit, limit, "{text}");
    }
    let mut config = Config::new().limit(bytes(7));
    for text in ["", "0%", "101%", "%", "1.5G", "-1", "automatic"] {
        apply(&mut config, std::format!("HZ3_LIMIT={text}").as_bytes());
        assert_eq!(config.limit, bytes(7), "{text}");
    }
    apply(&mut config, b"HZ3_LIMIT_MODE=reclaim");
    assert_eq!(config.limit_mode, LimitMode::Reclaim);
}

#[test]
fn invalid_values_do_not_change_the_configuration() {
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

#[test]
fn a_message_names_the_refused_the_accepted_and_the_used_value() {
    let mut config = Config::new();
    let mut message = |name: &str, text: &[u8]| {
        let option = options().find(|option| option.name == name).unwrap();
        let value: &mut dyn Value = (option.field)(&mut config);
        assert!(!value.set(text));
        let mut line = String::new();
        write_refused(&mut line, option, text, value).unwrap();
        line
    };
    for (name, text, line) in [
        ("TICK", "abc", "TICK=abc: expected milliseconds from 1 to 60000; using 125\n"),
        ("SHARDS", "+8", "SHARDS=+8: expected a number from 1 to 64; using the default\n"),
        ("COUNT", "", "COUNT=: expected 0 or 1; using 0\n"),
        (
            "ARENA",
            "1P",
            "ARENA=1P: expected bytes, with suffix K, M, G, T or none; using the default\n",
        ),
        (
            "LIMIT",
            "0%",
            "LIMIT=0%: expected 0, auto, 1% to 100%, or bytes, with suffix K, M, G, T or none; \
             using 0\n",
        ),
        #[cfg(feature = "experiments")]
        (
            "POLICY",
            "x",
            "POLICY=x: expected off, default, s57b2, s58, s60, s61, s62, s64, s64-p1a, s64-p1b or \
             s64-p1c; using default\n",
        ),
        (
            "STATS",
            "a\u{7}",
            "STATS=a?: expected 0, 1, json, or an absolute path of at most 255 bytes; using 0\n",
        ),
    ] {
        assert_eq!(message(name, text.as_bytes()), std::format!("hz3: HZ3_{line}"));
    }
}

#[test]
fn every_option_shows_a_value_that_it_accepts() {
    for option in options() {
        let mut config = Config::new();
        let value = (option.field)(&mut config);
        let mut shown = String::new();
        value.write(&mut shown).unwrap();
        assert!(shown == "the default" || value.set(shown.as_bytes()), "{}={shown}", option.name);
    }
}

#[test]
fn the_message_for_an_unknown_option_names_the_nearest_one() {
    for (typed, wanted) in [
        ("TIC", "TICK"),
        ("STAT", "STATS"),
        ("stats", "STATS"),
        ("BACKGROUD_", "BACKGROUND"),
        #[cfg(feature = "experiments")]
        ("PURGE_DELAYMS", "PURGE_DELAY_MS"),
        ("HUGEPAGES", "HUGE_PAGES"),
        ("LIMITMODE", "LIMIT_MODE"),
        ("TCIK", "TICK"),
        ("POLCIY", "POLICY"),
    ] {
        assert_eq!(nearest(typed.as_bytes()), Some(wanted), "{typed}");
    }
    for far in ["", "FOO", "STAY", "CACHE", "LOG_LEVEL", "VERSION_CHECK", &"X".repeat(900)] {
        assert_eq!(nearest(far.as_bytes()), None, "{far}");
    }
    let mut line = String::new();
    write_unknown(&mut line, b"TIC").unwrap();
    assert_eq!(line, "hz3: HZ3_TIC: no such option, the nearest is HZ3_TICK; ignored\n");
    let mut line = String::new();
    write_unknown(&mut line, b"FOO").unwrap();
    let expected = "hz3: HZ3_FOO: no such option, see libhz3(7) or docs/tuning.md; ignored\n";
    assert_eq!(line, expected);
}

#[test]
fn an_option_without_effect_says_what_it_lacks() {
    let said = |entries: &[&str], entry: &str| {
        let mut config = Config::new();
        entries.iter().chain([&entry]).for_each(|entry| {
            apply(&mut config, entry.as_bytes());
        });
        let mut message = Message::new();
        write_without_effect(&mut config, entry.as_bytes(), &mut message);
        String::from_utf8(message.as_bytes().to_vec()).unwrap()
    };
    for (entry, lacks) in [
        ("HZ3_PROFILE_RATE=4K", "HZ3_PROFILE"),
        ("HZ3_PROFILE_SIGNAL=12", "HZ3_PROFILE"),
        ("HZ3_PROFILE_GROWTH=64M", "HZ3_PROFILE"),
        ("HZ3_METRICS_MS=500", "HZ3_METRICS"),
        ("HZ3_LIMIT_MODE=reclaim", "HZ3_LIMIT"),
    ] {
        let line = said(&[], entry);
        let start = std::format!("hz3: {entry}: {lacks} is not set; no effect");
        assert!(line.starts_with(&start) && line.ends_with('\n'), "{line}");
        let value = if lacks == "HZ3_LIMIT" { "1G" } else { "/x" };
        assert_eq!(said(&[&std::format!("{lacks}={value}")], entry), "");
    }
    for entry in [
        "HZ3_PROFILE_RATE=none",
        "HZ3_PROFILE_SIGNAL=0",
        "HZ3_LIMIT_MODE=fail",
        "HZ3_TICK=9",
        "HZ3_FOO=1",
        "OTHER=1",
    ] {
        assert_eq!(said(&[], entry), "");
    }
    assert_eq!(said(&["HZ3_GUARD=1"], "HZ3_PROFILE_RATE=1"), "");
    assert_eq!(said(&["HZ3_PROFILE_LEAKS=1"], "HZ3_PROFILE_RATE=1"), "");
}

#[test]
fn odd_entries_are_accepted_whole_or_refused_in_one_line() {
    let long = "x".repeat(5000);
    let values = [
        "",
        "0",
        "1",
        "00",
        "+1",
        "-1",
        " 1",
        "1 ",
        "1K",
        "1KK",
        "K",
        "99999999999999999999",
        "16T",
        "17179869184G",
        "50%",
        "%",
        "auto",
        "json",
        "/a",
        "/a\nb",
        "/a;b",
        "a=b",
        "\0",
        "\u{e9}",
        &long,
    ];
    let mut accepted = 0;
    for option in
        options().map(|option| option.name).chain(["", "TICKS", "LIMIT MODE", "\n", &long])
    {
        assert!(!super::oracle::check(std::format!("HZ3_{option}").as_bytes()));
        assert!(!super::oracle::check(std::format!("HZ4_{option}=1").as_bytes()));
        for value in values {
            accepted +=
                usize::from(super::oracle::check(std::format!("HZ3_{option}={value}").as_bytes()));
        }
    }
    assert!(accepted > 30, "{accepted}");
    assert!(!super::oracle::check(b"HZ3_STATS=\xff"));
    assert!(super::oracle::check(b"HZ3_STATS=/\xff"));
}

#[test]
fn options_of_jemalloc_are_named_with_the_place_of_those_of_hz3() {
    assert!(super::is_of_jemalloc(b"MALLOC_CONF=") && !super::is_of_jemalloc(b"MALLOC_CONFS=x"));
    let mut line = Message::new();
    write_unread(&mut line, b"MALLOC_CONF=narenas:1\x1b");
    let expected = "hz3: MALLOC_CONF=narenas:1?: hz3 does not read it; expected HZ3_ variables, \
                    see libhz3(7) or docs/tuning.md; ignored\n";
    assert_eq!(core::str::from_utf8(line.as_bytes()), Ok(expected));
}
