//! `hz3 watch` on real commands.

use crate::common::{hz3, stderr, stdout, wait_until};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn rows(path: &Path) -> Vec<csv::StringRecord> {
    let mut reader = csv::Reader::from_path(path).expect("the CSV exists");
    reader.records().collect::<Result<_, _>>().expect("the CSV is well formed")
}

#[test]
fn samples_are_written_in_the_seeds_columns_and_summed_up() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("out.csv");
    let script = "(head -c 30000000 /dev/zero; sleep 2) | tail -c 30000000 > /dev/null; exit 5";
    let output = hz3()
        .args(["watch", "--interval", "20", "--pss-every", "2", "--out"])
        .arg(&file)
        .args(["--", "sh", "-c", script])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));

    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("t_ms,rss_kb,vms_kb,pss_kb,uss_kb,"), "{text}");
    let rows = rows(&file);
    assert!(rows.len() >= 5, "{text}");
    let number = |row: &csv::StringRecord, i: usize| row[i].parse::<f64>().unwrap();
    assert!(rows.windows(2).all(|pair| number(&pair[0], 0) < number(&pair[1], 0)), "{text}");
    let peak = rows.iter().map(|row| number(row, 1)).fold(0.0, f64::max);
    assert!(peak > 28_000.0, "{text}");
    // Every second look reads it; a look at which no process was there yet leaves no row.
    let detailed = rows.iter().filter(|row| !row[3].is_empty()).count();
    assert!(detailed.abs_diff(rows.len() - detailed) <= 2, "{text}");

    let summary = stderr(&output);
    let line = summary.lines().last().unwrap();
    assert!(line.contains("rc=5") && line.contains(&format!("n={}", rows.len())), "{line}");
    assert!(line.contains(&format!("max_kb={peak}")), "{line}");
}

#[test]
fn the_command_keeps_its_streams_and_json_has_the_summary() {
    let directory = tempfile::tempdir().unwrap();
    let output = hz3()
        .args(["watch", "--json", "--interval", "10"])
        .args(["--", "sh", "-c", "echo hello; sleep 0.2"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    let text = stdout(&output);
    let (hello, json) = text.split_once('\n').unwrap();
    assert_eq!(hello, "hello");
    let report: Value = serde_json::from_str(json).unwrap();
    assert_eq!(report["exit_code"], 0);
    assert_eq!(report["quantities"][0]["quantity"], "rss");
    assert!(report["max_rss_kb"].as_u64().unwrap() > 0);
    assert!(directory.path().join("hz3-watch.csv").is_file());
}

/// A process that sleeps, and a watch of it that has written three samples to `file`.
fn watched(file: &Path) -> [Child; 2] {
    let sleeper = Command::new("sleep").arg("600").spawn().expect("a process");
    let mut watch = hz3();
    watch.args(["watch", "--interval", "10", "--pid", &sleeper.id().to_string(), "--out"]);
    let watch = watch.arg(file).stderr(Stdio::piped()).spawn().expect("hz3 starts");
    // The samples are there while the watch goes on.
    wait_until("three samples", || {
        std::fs::read_to_string(file).unwrap_or_default().lines().count() > 3
    });
    [sleeper, watch]
}

fn kill(mut child: Child) {
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

#[test]
fn a_running_process_is_watched_until_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("out.csv");
    let [sleeper, mut watch] = watched(&file);
    kill(sleeper);
    assert_eq!(watch.wait().unwrap().code(), Some(0));
    assert!(!rows(&file).is_empty());
}

#[test]
fn a_watch_that_is_killed_leaves_its_samples() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("out.csv");
    let [sleeper, watch] = watched(&file);
    kill(watch);
    kill(sleeper);
    assert!(rows(&file).len() >= 3);
}

#[test]
fn a_path_that_cannot_be_written_is_reported_before_the_command_runs() {
    let output =
        hz3().args(["watch", "--out", "/nowhere/x.csv", "--", "echo", "ran"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stdout(&output), "");
    assert!(
        stderr(&output).contains("the directory /nowhere does not exist"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_command_that_cannot_start_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("w.csv");
    for (command, code) in [("no-such-command", 127), ("/", 126)] {
        let output = hz3().args(["watch", "--out"]).arg(&file).args(["--", command]).output();
        assert_eq!(output.unwrap().status.code(), Some(code), "{command}");
        assert!(!file.exists(), "{command}");
    }
    std::fs::write(&file, "results").unwrap();
    let mut again = hz3();
    again.args(["watch", "--force", "--out"]).arg(&file).args(["--", "no-such-command"]);
    assert_eq!(again.output().unwrap().status.code(), Some(127));
    assert!(file.exists(), "it was there before");
}

#[test]
fn a_process_that_waits_for_its_parent_is_not_said_to_be_no_process() {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id().to_string();
    wait_until("the end", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains(") Z ")
    });
    let output = hz3().args(["watch", "--out", "-", "--pid", &pid]).output().unwrap();
    child.wait().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("waits for its parent"), "{}", stderr(&output));
}
