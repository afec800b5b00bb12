//! `hz3 bench`: every workload in small, and its checks against an allocator that is broken on
//! purpose.

use crate::common::{hz3, library, stderr, stdout};
use serde_json::Value;
use std::process::Output;

const SMALL: [(&str, &str); 12] = [
    ("burst-idle", "--total 2000 --idle 0.1 --cycles 2 --keep 10 --keep-hold"),
    ("mixed", "--ops 50000 --sizes mixed"),
    ("dist", "--ops 50000 --threads 2"),
    ("remote", "--ops 20000 --threads 3"),
    ("xfer", "--blocks 20000"),
    ("larson", "--threads 2 --generations 3 --replacements 2000 --slots 500"),
    ("churn", "--generations 20"),
    ("buffers", "--buffers 20"),
    ("grow", "--to-mib 4"),
    ("holes", "--rows 500 --idle 0.05"),
    ("pool", "--threads 5 --idle 0.05"),
    ("waves", "--waves 1:2,20:1 --blocks 500"),
];

fn bench(workload: &str, options: &str) -> Output {
    let words = options.split_whitespace();
    hz3().args(["bench", workload]).args(words).output().expect("hz3 starts")
}

fn report(workload: &str, options: &str) -> Value {
    let output = bench(workload, &format!("{options} --json"));
    assert_eq!(output.status.code(), Some(0), "{workload}: {}", stderr(&output));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

#[test]
fn every_workload_reports_speed_and_latency() {
    for (workload, options) in SMALL {
        let report = report(workload, options);
        assert_eq!(report["workload"], workload);
        assert!(report["operations"].as_u64().unwrap() > 0, "{report}");
        assert!(report["ops_per_s"].as_f64().unwrap() > 0.0, "{report}");
        assert!(report["allocator"].as_str().unwrap().contains("libc"), "{report}");
        let malloc = &report["malloc_ns"];
        let figure = |name: &str| malloc[name].as_u64().unwrap();
        assert!(figure("n") > 0 && figure("p50") <= figure("p99"), "{workload}: {malloc}");
        assert!(figure("p99") <= figure("p999") && figure("p999") <= figure("max"), "{malloc}");
    }
}

#[test]
fn every_workload_also_reads_well() {
    for (workload, options) in SMALL {
        let output = bench(workload, options);
        let text = stdout(&output);
        assert!(text.starts_with(&format!("{workload} on ")), "{text}");
        assert!(text.contains("operations/s") && text.contains("malloc"), "{text}");
    }
}

#[test]
fn the_number_of_operations_is_that_of_the_parameters() {
    // Every turn of `mixed` is one operation; at the end what is left is freed: an even sum.
    let mixed = report("mixed", "--ops 1000 --no-latency --no-harness");
    let operations = mixed["operations"].as_u64().unwrap();
    assert!((1000..=1400).contains(&operations) && operations.is_multiple_of(2), "{operations}");
    assert_eq!(mixed["malloc_ns"], Value::Null);
    assert_eq!(mixed["harness_ns_per_op"], Value::Null);

    for shape in ["exit", "stay", "remote"] {
        let options =
            format!("--total 3001 --idle 0 --cycles 2 --keep 30 --threads 3 --shape {shape}");
        for hold in ["", "--keep-hold"] {
            let burst = report("burst-idle", &format!("{options} {hold} --no-latency"));
            assert_eq!(
                burst["operations"],
                2 * 2 * 3001,
                "every block is allocated and freed once"
            );
            assert_eq!(burst["details"]["cycles"].as_array().unwrap().len(), 2);
        }
    }
    let xfer = report("xfer", "--pairs 1 --blocks 5000 --ring 16 --no-latency");
    assert_eq!(xfer["operations"], 10_000);
}

#[test]
fn survivors_stay_resident_and_the_rest_does_not_count_as_live() {
    let holes = report("holes", "--rows 2000 --idle 0 --keep-every 20 --no-latency");
    // Of 12,000 blocks every twentieth: 600; in six rows of ten blocks all three sizes take turns.
    assert_eq!(holes["details"]["survivors"], 600);
    assert!(holes["details"]["peak_rss_kb"].as_u64().unwrap() > 10_000, "{holes}");
    // Each lies alone in its one or two pages.
    let floor = holes["details"]["floor_kb"].as_u64().unwrap();
    assert!((600 * 4..=1200 * 4).contains(&floor), "{floor} KiB");
}

#[test]
fn the_seeds_positional_form_works_and_dumps_where_it_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dump");
    let output = hz3()
        .args(["bench", "burst-idle", "1000", "0", "2", "20", "2", "256", "4096", "1", "100", "1"])
        .args(["--json", "--no-latency"])
        .env("S59_2_DUMP_PATH", &path)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["operations"], 2 * 2 * 1000);
    assert_eq!(report["parameters"]["total"], 1000);
    let dump = std::fs::read_to_string(path).unwrap();
    assert_eq!(dump.matches("of the idle window").count(), 6, "{dump}");
    assert_eq!(dump.matches("\nPss:").count(), 6, "{dump}");

    let remote = report_of(&["remote", "2", "5000", "40", "16", "64", "50", "128", "--json"]);
    assert_eq!(remote["operations"], 10_000);
    let wrong = hz3().args(["bench", "remote", "2", "5000"]).output().unwrap();
    assert!(stderr(&wrong).contains("THREADS OPS SLOTS MIN MAX PERCENT"), "{}", stderr(&wrong));
}

fn report_of(words: &[&str]) -> Value {
    let output = hz3().arg("bench").args(words).output().expect("hz3 starts");
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

#[test]
fn a_ring_that_is_full_is_counted() {
    let none = report("remote", "--threads 2 --ops 3000 --ring 65536 --no-latency --no-harness");
    assert_eq!(none["details"]["fallback_percent"], 0.0);
    assert!(none["details"]["passed_on"].as_u64().unwrap() > 1000, "{none}");
    let local = report("remote", "--threads 2 --ops 3000 --percent 0 --no-latency --no-harness");
    assert_eq!(local["details"]["passed_on"], 0);
}

/// The operations that a run reports, and the calls of the malloc family that its process made.
fn counted(workload: &str, options: &str) -> (u64, u64) {
    let directory = tempfile::tempdir().expect("a directory");
    let count = directory.path().join("calls");
    let mut command = hz3();
    command.args(["bench", workload]).args(options.split_whitespace());
    command.args(["--json", "--no-latency", "--no-harness"]);
    let output =
        command.env("LD_PRELOAD", library("counting_malloc")).env("COUNT_TO", &count).output();
    let output = output.expect("hz3 starts");
    assert_eq!(output.status.code(), Some(0), "{workload}: {}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let calls = std::fs::read_to_string(&count).expect("the library wrote its count");
    let operations = report["operations"].as_u64().expect("a number");
    (operations, calls.parse().expect("a number"))
}

#[test]
fn only_the_workload_calls_malloc_in_its_loop() {
    for (workload, short, long) in [
        ("mixed", "--ops 1000", "--ops 101000"),
        ("mixed", "--ops 1000 --turn replace", "--ops 101000 --turn replace"),
        ("dist", "--ops 1000", "--ops 101000"),
        ("xfer", "--blocks 1000", "--blocks 51000"),
        ("larson", "--generations 1 --replacements 1000", "--generations 1 --replacements 90000"),
    ] {
        let (short, long) = (counted(workload, short), counted(workload, long));
        let (operations, calls) = (long.0 - short.0, long.1 - short.1);
        assert!(operations > 50_000, "{workload}");
        // The text of the report is longer when its numbers are.
        assert!(
            calls.abs_diff(operations) < 20,
            "{workload}: {operations} more operations, {calls} more calls"
        );
    }
}

#[test]
fn an_allocator_that_hands_out_a_block_twice_is_caught() {
    let broken = library("broken_malloc");
    let caught = |workload: &str, options: &str| {
        let words = options.split_whitespace();
        let mut command = hz3();
        command.args(["bench", workload]).args(words).arg("--no-latency");
        command.env("LD_PRELOAD", &broken).env("BREAK_EVERY", "2999").output().unwrap()
    };
    for (workload, options) in [
        ("mixed", "--ops 400000"),
        ("remote", "--ops 100000 --threads 2"),
        ("xfer", "--blocks 100000"),
        ("holes", "--rows 30000 --idle 0"),
        ("burst-idle", "--total 100000 --idle 0 --cycles 1"),
    ] {
        let output = caught(workload, options);
        assert_eq!(output.status.code(), Some(1), "{workload}: {}", stderr(&output));
        assert!(stderr(&output).contains("failed the workload's check"), "{}", stderr(&output));
    }
}
