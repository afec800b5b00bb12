//! An invalid option in the environment causes one line that names it, and nothing else.

use crate::harness::{Link, command, on_hz3, preloaded, program, run, shared_library};

/// Asserts that the program works and that hz3 writes one line that contains all of `words`.
#[track_caller]
fn complains(variable: &str, value: &str, words: &[&str]) {
    let mut command = on_hz3("options.c");
    let outcome = run(command.env(variable, value));
    assert!(outcome.status.success() && outcome.stdout == "ok\n", "{outcome}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{variable}={value}: {outcome}");
    assert!(outcome.stderr.starts_with("hz3: ") && outcome.stderr.ends_with('\n'), "{outcome}");
    for word in words {
        assert!(outcome.stderr.contains(word), "{variable}={value}: no {word}: {outcome}");
    }
}

#[test]
fn the_message_for_an_unknown_option_names_the_nearest_one() {
    for (name, nearest) in [
        ("HZ3_STAT", "HZ3_STATS;"),
        ("HZ3_stats", "HZ3_STATS;"),
        ("HZ3_TICKS", "HZ3_TICK;"),
        ("HZ3_", "HZ3_"),
    ] {
        complains(name, "1", &[name, nearest, "no such option"]);
    }
    complains("HZ3_FOO", "1", &["HZ3_FOO: no such option, see libhz3(7) or docs/tuning.md;"]);
}

#[test]
fn an_option_without_the_one_that_it_needs_says_that_it_has_no_effect() {
    for (name, value, needed) in [
        ("HZ3_PROFILE_RATE", "64K", "HZ3_PROFILE is not set"),
        ("HZ3_PROFILE_SIGNAL", "12", "HZ3_PROFILE is not set"),
        ("HZ3_PROFILE_GROWTH", "1M", "HZ3_PROFILE is not set"),
        ("HZ3_METRICS_MS", "500", "HZ3_METRICS is not set"),
        ("HZ3_LIMIT_MODE", "reclaim", "HZ3_LIMIT is not set"),
    ] {
        complains(name, value, &[&format!("hz3: {name}={value}: {needed}; no effect")]);
    }
    // In either order.
    for both in
        [["HZ3_LIMIT=1G", "HZ3_LIMIT_MODE=reclaim"], ["HZ3_LIMIT_MODE=reclaim", "HZ3_LIMIT=1G"]]
    {
        let mut command = command("env");
        command.arg("-i").args(both);
        command.arg(format!("LD_PRELOAD={}", shared_library().display()));
        run(command.arg(program("options.c", Link::None))).expect_ok();
    }
}

#[test]
fn the_message_for_a_malformed_value_says_what_is_accepted() {
    for value in ["", "yes", "2", "-1", "1 "] {
        complains("HZ3_COUNT", value, &["HZ3_COUNT", "0 or 1"]);
    }
    for value in ["relative/path", "2", "JSON", ""] {
        complains("HZ3_STATS", value, &["HZ3_STATS", "json", "path"]);
    }
    for value in ["", "lots", "-5", "1P", "99999999999999999999", "99999999999G", "1.5M", "K"] {
        complains("HZ3_THREAD_CACHE", value, &["HZ3_THREAD_CACHE", "bytes"]);
        complains("HZ3_ARENA", value, &["HZ3_ARENA", "bytes"]);
    }
    for value in ["0", "65", "two", ""] {
        complains("HZ3_SHARDS", value, &["HZ3_SHARDS", "1 to 64"]);
    }
    for value in ["0", "1", "257", "32K", ""] {
        complains("HZ3_CACHE_LENGTH", value, &["HZ3_CACHE_LENGTH", "2 to 256"]);
    }
    for value in ["", "0%", "101%", "most"] {
        complains("HZ3_LIMIT", value, &["HZ3_LIMIT", "1% to 100%", "auto"]);
    }
    complains("HZ3_LIMIT_MODE", "never", &["HZ3_LIMIT_MODE", "fail or reclaim"]);
}

#[test]
fn the_message_for_a_value_with_control_characters_is_one_line() {
    complains("HZ3_COUNT", "a\nb\u{1b}[31m", &["HZ3_COUNT"]);
    complains("HZ3_COUNT", &"x".repeat(900), &["HZ3_COUNT", "0 or 1"]);
    complains(&format!("HZ3_{}", "Y".repeat(900)), "1", &["HZ3_YYY"]);
}

#[test]
fn valid_values_cause_no_message() {
    let good = [
        ("HZ3_STATS", "0"),
        ("HZ3_COUNT", "0"),
        ("HZ3_COUNT", "1"),
        ("HZ3_THREAD_CACHE", "0"),
        ("HZ3_THREAD_CACHE", "64K"),
        ("HZ3_THREAD_CACHE", "1G"),
        ("HZ3_CACHE_LENGTH", "2"),
        ("HZ3_CACHE_LENGTH", "256"),
        ("HZ3_ARENA", "4G"),
        ("HZ3_ARENA", "1T"),
        ("HZ3_SHARDS", "1"),
        ("HZ3_SHARDS", "64"),
        ("HZ3_BACKGROUND", "auto"),
        ("HZ3_BACKGROUND", "0"),
        ("HZ3_LIMIT", "0"),
        ("HZ3_LIMIT", "1G"),
        ("HZ3_LIMIT_MODE", "fail"),
        ("HZ3_PROFILE_SIGNAL", "0"),
        // Not options of hz3: the prefix ends with an underscore.
        ("HZ3", "anything"),
        ("hz3_count", "anything"),
    ];
    for (name, value) in good {
        run(on_hz3("options.c").env(name, value)).expect_ok();
    }
}

#[test]
fn each_invalid_option_causes_its_own_line() {
    let mut command = on_hz3("options.c");
    let outcome =
        run(command.env("HZ3_COUNT", "no").env("HZ3_NONSENSE", "1").env("HZ3_SHARDS", "1"));
    assert!(outcome.status.success() && outcome.stdout == "ok\n", "{outcome}");
    assert_eq!(outcome.stderr.lines().count(), 2, "{outcome}");
    assert!(outcome.stderr.contains("HZ3_NONSENSE"), "{outcome}");
    assert!(outcome.stderr.contains("HZ3_COUNT"), "{outcome}");
}

#[test]
fn options_of_jemalloc_are_mentioned_once_and_only_on_request() {
    let program = program("options.c", Link::None);
    for first in ["HZ3_VERBOSE=1 MALLOC_CONF=narenas:1", "MALLOC_CONF=narenas:1 HZ3_VERBOSE=1"] {
        let mut command = command("env");
        command.arg("-i").args(first.split(' '));
        command.arg(format!("LD_PRELOAD={}", shared_library().display())).arg(&program);
        let outcome = run(&mut command);
        assert!(outcome.status.success() && outcome.stdout == "ok\n", "{outcome}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome}");
        assert!(outcome.stderr.starts_with("hz3: MALLOC_CONF=narenas:1: "), "{outcome}");
        assert!(outcome.stderr.contains("docs/tuning.md"), "{outcome}");
    }
    run(preloaded(&program).env("MALLOC_CONF", "narenas:1")).expect_ok();
    run(preloaded(&program).env("HZ3_VERBOSE", "1")).expect_ok();
}

#[test]
fn statistics_are_written_where_the_option_says() {
    let program = program("options.c", Link::None);
    let json = run(preloaded(&program).env("HZ3_STATS", "json"));
    assert!(json.status.success() && json.stdout == "ok\n", "{json}");
    assert!(json.stderr.starts_with("{\"") && json.stderr.ends_with("}\n"), "{json}");
    assert_eq!(json.stderr.lines().count(), 1, "{json}");

    let text = run(preloaded(&program).env("HZ3_STATS", "1"));
    assert!(text.status.success() && text.stdout == "ok\n", "{text}");
    assert_eq!(text.stderr.lines().count(), 1, "{text}");
    assert!(text.stderr.contains("allocated"), "{text}");

    let path = format!("{}/statistics-{}.json", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    for lines in 1..=2 {
        run(preloaded(&program).env("HZ3_STATS", &path)).expect_ok();
        let written = std::fs::read_to_string(&path).expect("the file was written");
        assert_eq!(written.lines().count(), lines, "{written}");
        assert!(
            written.lines().all(|line| line.starts_with("{\"") && line.ends_with('}')),
            "{written}"
        );
    }
    std::fs::remove_file(&path).expect("the file is ours");
}

#[test]
fn statistics_are_written_to_regular_files_only() {
    let program = program("options.c", Link::None);
    let place = |name| format!("{}/{name}-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let (target, link) = (place("target"), place("link"));
    std::os::unix::fs::symlink(&target, &link).expect("a link");
    let fifo = place("fifo");
    assert!(run(command("mkfifo").arg(&fifo)).status.success(), "a FIFO");
    for (path, reason) in [
        (link.as_str(), "it is a symbolic link"),
        (&fifo, "it is not a regular file"),
        (env!("CARGO_TARGET_TMPDIR"), "it is not a regular file"),
        ("/dev/null", "it is not a regular file"),
        ("/dev/full", "it is not a regular file"),
        ("/nonexistent/statistics", "its directory does not exist"),
    ] {
        let line = format!(
            "hz3: HZ3_STATS={}: {reason}; expected a regular file to append to; wrote nothing\n",
            path.chars().take(100).collect::<String>()
        );
        let outcome = run(preloaded(&program).env("HZ3_STATS", path));
        assert!(outcome.status.success() && outcome.stdout == "ok\n", "{outcome}");
        assert_eq!(outcome.stderr, line);
    }
    assert!(!std::path::Path::new(&target).exists(), "a link was followed");
    for path in [link, fifo] {
        std::fs::remove_file(path).expect("the file is ours");
    }
}
