//! `hz3 top`, `hz3 why`, `hz3 metrics` and `hz3 profile PID` on a process that plays the library:
//! this one.
//!
//! Another test reads the library's own page: `crates/hz3-c/tests/c_abi/page.rs`.

mod common;
#[path = "common/page.rs"]
mod page;

use common::{hz3, stderr, stdout};
use page::VALUES;
use serde_json::Value;
use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

/// Puts a page into this process and answers its requests.
fn page() -> u32 {
    static PAGE: OnceLock<usize> = OnceLock::new();
    static ANSWERS: OnceLock<()> = OnceLock::new();
    let page = *PAGE.get_or_init(page::put);
    let word = |at: usize| {
        let word = std::ptr::with_exposed_provenance::<AtomicU32>(page + at);
        // SAFETY: a word of the page, which stays.
        unsafe { &*word }
    };
    ANSWERS.get_or_init(|| {
        let (answered, number, answer) = (word(72), word(76), word(84));
        let command = std::ptr::with_exposed_provenance::<[AtomicU8; 112]>(page + 88);
        // SAFETY: the bytes of the command, in the page, which stays.
        let command = unsafe { &*command };
        std::thread::spawn(move || {
            loop {
                // Another process writes the command before the number, through `/proc/PID/mem`.
                let asked = number.load(Ordering::Acquire);
                let text = command.each_ref().map(|byte| byte.load(Ordering::Relaxed));
                let end = text.iter().position(|&byte| byte == 0).unwrap_or(0);
                if asked != answered.load(Ordering::Relaxed) && end > 0 {
                    answer.store(obey(&text[..end]), Ordering::Relaxed);
                    command[0].store(0, Ordering::Relaxed);
                }
                // It reads the answer after this number, through the same file.
                answered.store(asked, Ordering::Release);
                std::thread::yield_now();
            }
        });
    });
    std::process::id()
}

/// A profile: its sample type, a sample of 640 bytes, a location, a function, and the strings.
const PROFILE: &[u8] = b"\x0a\x04\x08\x01\x10\x02\
                         \x12\x07\x0a\x01\x01\x12\x02\x80\x05\
                         \x22\x06\x08\x01\x22\x02\x08\x01\
                         \x2a\x04\x08\x01\x10\x03\
                         \x32\x00\x32\x0binuse_space\x32\x05bytes\x32\x05keeps";
/// Whether the process takes a profile.
static TAKES_PROFILE: AtomicBool = AtomicBool::new(false);

/// Obeys a command as the library does, and returns the answer.
fn obey(command: &[u8]) -> u32 {
    let path = command.strip_prefix(b"profile_to=").map(OsStr::from_bytes);
    match path {
        None => 2,
        Some(_) if !TAKES_PROFILE.load(Ordering::Relaxed) => 4,
        Some(path) => std::fs::write(path, PROFILE).map_or(3, |()| 1),
    }
}

#[test]
fn top_prints_the_parts_of_the_memory_once() {
    let output = hz3().args(["top", "--once", &page().to_string()]).output().unwrap();
    let text = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    for words in ["live", "6.0 MiB", "pinned", "3.0 MiB", "cached, idle", "   112     49,900"] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn json_has_every_value_class_and_thread() {
    let output = hz3().args(["top", "--json", &page().to_string()]).output().unwrap();
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    for (name, value) in VALUES {
        assert_eq!(json["values"][name], value, "{name}");
    }
    assert_eq!(json["classes"][0]["live"], 49_900);
    assert_eq!(json["threads"][0]["slow_paths"], 321);
    assert_eq!(json["threads"][0]["id"], std::process::id());
    assert_eq!((&json["answered"], &json["own"]), (&true.into(), &true.into()));
    assert!(json["resident"].as_u64().unwrap() > 1 << 20);
}

#[test]
fn why_says_what_is_pinned_and_what_goes_by_itself() {
    let output = hz3().args(["why", &page().to_string()]).output().unwrap();
    let text = stdout(&output);
    for sentence in [
        "holds 6.0 MiB in live blocks.",
        "The size class of 112 bytes holds most: 5.3 MiB in 49,900 blocks.",
        "3.0 MiB are pinned: free, but in pages that also hold live blocks.",
        "5.0 MiB are in caches of idle threads: they go by themselves if they stay unused, within \
         250.0 ms to 875.0 ms.",
        "hz3::collect()",
    ] {
        assert!(text.contains(sentence), "{sentence} is not in\n{text}");
    }
}

#[test]
fn metrics_are_open_metrics() {
    let output = hz3().args(["metrics", &page().to_string()]).output().unwrap();
    let text = stdout(&output);
    for lines in [
        "# TYPE hz3_allocated_bytes gauge\nhz3_allocated_bytes 6291456\n",
        "# TYPE hz3_refills counter\nhz3_refills_total 7\n",
        "# TYPE hz3_time_seconds counter\nhz3_time_seconds_total 1.500000000\n",
        "hz3_class_live_blocks{size=\"112\"} 49900\n",
        "# TYPE hz3_mapped_bytes gauge\nhz3_mapped_bytes 17825792\n",
    ] {
        assert!(text.contains(lines), "{lines} is not in\n{text}");
    }
    assert!(text.ends_with("\n# EOF\n"), "{text}");
    // The page has some of the values only. A test of the library has all, in the same file.
    let mut all = include_str!("../../../contrib/metrics.txt").lines();
    for metric in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        assert!(
            all.any(|listed| listed == metric),
            "{metric}: not listed, or out of order\n{text}"
        );
    }
}

#[test]
fn names_of_any_bytes_are_shown_and_do_not_control_the_terminal() {
    let pid = page().to_string();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(OsStr::from_bytes(b"lib\xff\n"));
    std::fs::write(&file, "mapped").unwrap();
    let mapped = std::fs::File::open(&file).unwrap();
    // SAFETY: a new mapping of a file that is not changed.
    let start = unsafe {
        let (bytes, flags) = (6, libc::MAP_PRIVATE);
        libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ, flags, mapped.as_raw_fd(), 0)
    };
    assert_ne!(start, libc::MAP_FAILED);
    std::fs::write("/proc/self/comm", b"h\xffz\x1b3").unwrap();
    for words in [&["top", "--once"][..], &["why"], &["metrics"], &["top", "--json"]] {
        let output = hz3().args(words).arg(&pid).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", stderr(&output));
        let text = stdout(&output);
        assert!(words == ["metrics"] || text.contains("h\u{fffd}z?3"), "{words:?}: {text}");
        assert!(!text.contains('\u{1b}'), "{words:?}: {text}");
    }
}

#[test]
fn a_process_without_hz3_and_one_that_is_gone_are_told_apart() {
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    let pid = child.id().to_string();
    for command in ["top", "why", "metrics", "profile"] {
        let output = hz3().args([command, &pid]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert!(stderr(&output).contains("shows no statistics of hz3"), "{}", stderr(&output));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let output = hz3().args(["why", &pid]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains(&format!("no process has the number {pid}")));
}

#[test]
fn without_a_terminal_top_says_how_to_look_once() {
    let output = hz3().args(["top", &page().to_string()]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--once"), "{}", stderr(&output));
}

#[test]
fn an_option_without_a_value_is_refused_before_the_process_is_asked() {
    let output = hz3().args(["set", &page().to_string(), "tick_ms"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("expected NAME=VALUE"), "{}", stderr(&output));
}

#[test]
fn a_running_process_writes_its_profile_or_says_how_to_take_one() {
    let pid = page().to_string();
    let profile = |words: &[&str]| hz3().args(["profile", &pid]).args(words).output().unwrap();
    let output = profile(&[]);
    assert_eq!(output.status.code(), Some(1));
    let expected = format!(
        "hz3: process {pid} takes no heap profile; `hz3 set {pid} profile=on` starts one, of what \
         is allocated from then on\n"
    );
    assert_eq!(stderr(&output), expected);
    TAKES_PROFILE.store(true, Ordering::Relaxed);
    let directory = tempfile::tempdir().unwrap();
    let saved = directory.path().join("saved.pb");
    let saved = saved.to_str().unwrap();
    let text = stdout(&profile(&["--save", saved]));
    assert!(text.starts_with(&format!("inuse_space of process {pid}: 640 B\n")), "{text}");
    assert!(text.lines().any(|line| line.ends_with(" keeps")), "{text}");
    assert_eq!(std::fs::read(saved).unwrap(), PROFILE);
    let text = stdout(&profile(&["--base", saved, "--json"]));
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&json["total"], &json["base_total"]), (&640.into(), &640.into()));
    let left = std::fs::read_dir("/tmp").unwrap().flatten();
    let left = left.filter(|entry| {
        let is_ours = entry.file_name().as_bytes().starts_with(b"hz3-profile-");
        is_ours && std::fs::read(entry.path()).is_ok_and(|bytes| bytes == PROFILE)
    });
    assert_eq!(left.count(), 0, "files are left");
}

#[test]
fn only_a_process_has_a_profile_to_save() {
    let output = hz3().args(["profile", "./1", "--save", "x"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("needs the number of a process"), "{}", stderr(&output));
}

#[test]
fn the_dashboard_asks_for_metrics_that_exist() {
    let dashboard = include_str!("../../../contrib/grafana.json");
    let json: Value = serde_json::from_str(dashboard).unwrap();
    let listed = include_str!("../../../contrib/metrics.txt").lines();
    let series = listed.map(|line| match line.split_once(' ').unwrap() {
        (name, "counter") => format!("{name}_total"),
        (name, _) => name.to_owned(),
    });
    let series: std::collections::BTreeSet<String> = series.collect();
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = dashboard.split(|c: char| !is_of_name(c));
    for word in words.filter(|word| word.starts_with("hz3_")) {
        assert!(series.contains(word), "{word} is not in contrib/metrics.txt");
    }
    let panels = json["panels"].as_array().unwrap();
    let queries = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let queries = queries.filter(|query| query["expr"].as_str().unwrap().contains("hz3_"));
    assert!(queries.count() >= panels.len(), "a panel shows no metric");
}
