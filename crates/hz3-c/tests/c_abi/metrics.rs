//! The file of metrics that the library writes while a program runs.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use hz3_tools::{Group, wait_until};

use crate::harness::{command, on_hz3, run};

fn place(name: &str) -> PathBuf {
    let directory = format!("{}/metrics-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    fs::create_dir_all(&directory).expect("a directory");
    Path::new(&directory).join(name)
}

/// Starts a program that has then written its file and runs until it is dropped.
fn start(path: &Path, mode: &str, period_ms: &str) -> Group {
    let mut command = on_hz3("metrics.c");
    command.arg(path).arg(mode).env("HZ3_METRICS", path).env("HZ3_METRICS_MS", period_ms);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = Group::start(&mut command).expect("the program starts");
    let mut line = String::new();
    let output = running.child().stdout.as_mut().expect("a pipe");
    BufReader::new(output).read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    running
}

/// Returns the names and types of a text, in its order, and checks its form.
fn types(text: &str) -> Vec<String> {
    assert!(text.ends_with("\n# EOF\n"), "a part of a text: {text}");
    let series: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let names = series.iter().map(|line| line.rsplit_once(' ').expect("a value").0);
    assert_eq!(names.collect::<BTreeSet<_>>().len(), series.len(), "a series twice: {text}");
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(str::to_owned).collect()
}

fn value(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
}

/// The names and types of all metrics, in their order. A test of the tool compares what
/// `hz3 metrics` prints with the same list.
const ALL: &str = include_str!("../../../../contrib/metrics.txt");

#[test]
fn the_file_is_whole_and_has_the_names_that_the_tool_prints() {
    let path = place("works.prom");
    let _running = start(&path, "works", "100");
    for _ in 0..1000 {
        let text = fs::read_to_string(&path).expect("a file");
        assert!(!types(&text).is_empty());
    }
    let text = fs::read_to_string(&path).expect("a file");
    assert_eq!(types(&text), ALL.lines().collect::<Vec<_>>());
    // Large is what is active less what slabs hold. The two are read one after the other, while the
    // program allocates and frees 5000 blocks of 3072 bytes.
    assert!(value(&text, "hz3_large_bytes") + 5000 * 3072 >= 24 << 20, "{text}");
    assert!(value(&text, "hz3_resident_bytes") >= 24 << 20, "{text}");
    assert!(text.contains("\nhz3_class_slabs{size=\"3072\"} "), "{text}");
}

#[test]
fn a_reclaimer_that_rests_has_written_what_it_did() {
    let path = place("rests.prom");
    let _running = start(&path, "rests", "86400000");
    let mut text = String::new();
    // A minute is a hang, on the slowest machine.
    let has_rested = wait_until(Duration::from_secs(60), || {
        text = fs::read_to_string(&path).expect("a file");
        value(&text, "hz3_dirty_bytes") == 0 && value(&text, "hz3_large_bytes") < 24 << 20
    });
    assert!(has_rested, "{text}");
}

#[test]
fn a_forked_child_writes_a_file_of_its_own_with_a_label() {
    let path = place("forks.prom");
    let mut command = on_hz3("metrics.c");
    let outcome = run(command.arg(&path).arg("forks").env("HZ3_METRICS", &path));
    assert!(outcome.status.success() && outcome.stderr.is_empty(), "{outcome}");
    let child = outcome.stdout.trim();
    let text = fs::read_to_string(format!("{}.{child}", path.display())).expect("a file");
    assert!(text.contains(&format!("\nhz3_allocated_bytes{{pid=\"{child}\"}} ")), "{text}");
    assert!(text.contains(&format!("\nhz3_class_slabs{{pid=\"{child}\",size=")), "{text}");
    let of_parent = fs::read_to_string(&path).expect("a file");
    assert!(!of_parent.contains("pid="), "{of_parent}");
    assert_eq!(types(&text), types(&of_parent));
}

#[test]
fn only_regular_files_are_replaced_and_one_line_says_why_not() {
    let (target, link, fifo) = (place("target"), place("link"), place("fifo"));
    fs::write(&target, "kept").expect("a file");
    std::os::unix::fs::symlink(&target, &link).expect("a link");
    assert!(run(command("mkfifo").arg(&fifo)).status.success(), "a FIFO");
    for (path, reason) in [
        (link.as_path(), "it is a symbolic link"),
        (&fifo, "it is not a regular file"),
        (Path::new("/dev/null"), "it is not a regular file"),
        (Path::new("/nonexistent/x.prom"), "its directory does not exist"),
    ] {
        let mut command = on_hz3("metrics.c");
        command.args(["-", "fails"]).env("HZ3_METRICS", path).env("HZ3_METRICS_MS", "100");
        let outcome = run(command.env("HZ3_TICK", "1"));
        assert!(outcome.status.success(), "{outcome}");
        let name: String = path.to_string_lossy().chars().take(100).collect();
        let line = format!(
            "hz3: HZ3_METRICS={name}: {reason}; expected a regular file; wrote nothing, will try \
             again\n"
        );
        assert_eq!(outcome.stderr, line);
    }
    assert_eq!(fs::read_to_string(&target).expect("a file"), "kept");
    assert!(link.is_symlink() && fs::metadata(&fifo).is_ok_and(|fifo| !fifo.is_file()));
}
