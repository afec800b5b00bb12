//! `hz3 compare` in small: bookkeeping, failures, interruption, going on.

use crate::common::{hz3, library, stderr, stdout, wait_until};
use hz3_tools::{Signal, send};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const SMALL: &str = "mixed --ops 20000";

/// `own` hands everything to the C library, so it is an allocator of its own that behaves the same.
fn compare(out: &Path, words: &[&str]) -> Command {
    let own = format!("own={}", library("broken_malloc").display());
    let mut command = hz3();
    command.arg("compare").arg("--out").arg(out).args(["--peer", &own]).args(words);
    command
}

fn run(out: &Path, words: &[&str]) -> Output {
    compare(out, words).output().expect("hz3 starts")
}

fn record(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("the results exist")).expect("JSON")
}

fn trials(path: &Path) -> Vec<Value> {
    record(path)["trials"].as_array().expect("an array").clone()
}

#[test]
fn every_round_measures_everything_and_the_files_say_under_which_circumstances() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("r.json");
    let words =
        ["-a", "glibc", "-a", "own", "-w", SMALL, "-c", "exit 0", "--rounds", "3", "--seed", "9"];
    let output = run(&out, &words);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));

    let trials = trials(&out);
    assert_eq!(trials.len(), 2 * 2 * 3);
    assert!(trials.iter().all(|trial| trial["result"]["Ok"]["speed"].as_f64().unwrap() > 0.0));
    let detailed = trials.iter().filter(|trial| !trial["result"]["Ok"]["latency"].is_null());
    assert_eq!(
        detailed.count(),
        2,
        "latencies are taken in the first round only, by workloads only"
    );

    let machine = &record(&out)["machine"];
    assert!(machine["cpus"].as_u64().unwrap() > 0 && machine["kernel"].is_string(), "{machine}");
    let csv = std::fs::read_to_string(out.with_extension("csv")).unwrap();
    for head in [
        "# kernel: ",
        "# cpu model: ",
        "# load: ",
        "# transparent huge pages: ",
        "# seed: 9",
        "# allocator own: ",
    ] {
        assert!(csv.contains(head), "{head}: {csv}");
    }
    let rows = csv.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(rows, 1 + 12);

    let text = stdout(&output);
    assert!(text.contains("geometric mean") && text.contains("memory: peak"), "{text}");
    let too_few = "The speeds of own and glibc cannot be told apart: 3 rounds";
    assert!(text.contains(too_few) && text.contains("(-)"), "{text}");
}

#[test]
fn an_allocator_that_is_not_here_is_named_and_one_that_fails_too() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("r.json");
    let broken = "own:BREAK_EVERY=1";
    let words = [
        "-a",
        "glibc",
        "-a",
        broken,
        "-a",
        "snmalloc",
        "-w",
        "mixed --ops 400000",
        "--rounds",
        "1",
    ];
    let output = run(&out, &words);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("FAILED: mixed --ops 400000 on own:BREAK_EVERY=1: ended with 1"),
        "{text}"
    );
    assert!(text.contains("the allocator failed the workload's check"), "{text}");
    // Where snmalloc has been built, it is compared; where not, it is named.
    let built = record(&out)["peers"].as_array().unwrap().len() == 3;
    assert!(built || text.contains("missing: snmalloc"), "{text}");
    assert_eq!(trials(&out).len(), if built { 3 } else { 2 });
}

#[test]
fn resuming_runs_only_what_is_not_there_yet() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("r.json");
    run(&out, &["-a", "glibc", "-a", "own", "-w", SMALL, "--rounds", "2"]);
    let mut half = record(&out);
    let all = half["trials"].as_array_mut().unwrap();
    let kept: Vec<Value> = all.drain(..3).collect();
    *all = kept.clone();
    std::fs::write(&out, half.to_string()).unwrap();

    let output = hz3().args(["compare", "--resume", "--out"]).arg(&out).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let trials = trials(&out);
    assert_eq!(trials.len(), 4);
    assert_eq!(trials[..3], kept[..], "what was there is untouched");
    assert!(!stderr(&output).contains("nothing is left"), "{}", stderr(&output));

    let whole = std::fs::read(&out).unwrap();
    let resume = |command: &str| hz3().args([command, "--resume", "--out"]).arg(&out).output();
    let output = resume("compare").unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = "hz3: all 4 trials are there; nothing is left to measure\n";
    assert_eq!(stderr(&output), said);
    assert!(stdout(&output).contains("geometric mean"), "{}", stdout(&output));
    assert_eq!(std::fs::read(&out).unwrap(), whole);
}

#[test]
fn results_that_cannot_be_resumed_are_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("r.json");
    run(&out, &["-a", "glibc", "-w", SMALL, "--rounds", "2"]);
    let whole = std::fs::read_to_string(&out).unwrap();
    let refused = |command: &str, text: &str, code: i32, reason: &str| {
        std::fs::write(&out, text).unwrap();
        let output = hz3().args([command, "--resume", "--out"]).arg(&out).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(reason) && said.lines().count() == 1, "{reason}: {said}");
        assert_eq!(std::fs::read_to_string(&out).unwrap(), text, "the file was written to");
    };
    refused("ab", &whole, 2, "has results of `hz3 compare`");
    refused("compare", &whole.replacen("hz3 compare", "hz3 demo", 1), 2, "results of `hz3 demo`");
    refused("compare", &whole[..whole.len() / 2], 125, "is damaged, or has no results of hz3");
    refused("compare", "", 125, "is damaged, or has no results of hz3");
    let mut record: Value = serde_json::from_str(&whole).unwrap();
    record["trials"][0]["case"] = 7.into();
    refused("compare", &record.to_string(), 125, "is damaged: it has a trial that is not of its");
    let mut record: Value = serde_json::from_str(&whole).unwrap();
    record["rounds"] = 4_000_000_000_u32.into();
    refused("compare", &record.to_string(), 125, "is damaged: it has too many rounds");
}

#[test]
fn an_interruption_keeps_what_is_measured() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("r.json");
    let words = ["-a", "glibc", "-a", "own", "-c", "sleep 0.05", "--rounds", "500"];
    let mut child =
        compare(&out, &words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("a trial", || out.is_file() && !trials(&out).is_empty());
    send(Signal::Interrupt, child.id()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let kept = trials(&out);
    assert!(!kept.is_empty() && kept.len() < 1000);
    assert!(kept.iter().all(|trial| trial["result"]["Ok"].is_object()), "no trial was cut short");
}

#[test]
fn a_trial_that_hangs_is_killed_with_all_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("r.json");
    let pid = directory.path().join("pid");
    let script = format!("sleep 600 & echo $! > {}; wait", pid.display());
    let output = run(&out, &["-a", "glibc", "-c", &script, "--rounds", "1", "--limit", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("killed after 1 s"), "{}", stdout(&output));
    // A machine so slow that the shell said nothing within the second has nothing to look for.
    let child = std::fs::read_to_string(pid).unwrap_or_default();
    if let Ok(child) = child.trim().parse::<u32>() {
        // It may take a moment to die.
        wait_until("rid of the command's child", || {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        });
    }
}

#[test]
fn a_bar_that_is_missed_is_named_and_gives_exit_code_3() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("r.json");
    run(&out, &["-a", "glibc", "-a", "own", "-w", SMALL, "--rounds", "6"]);
    // The test writes the figures itself, under the name of a case of the suite; the first is
    // judged.
    let judge = |speed: f64| {
        let mut record = record(&out);
        record["suite"] = "speed".into();
        record["cases"][0]["name"] = "16-2048".into();
        for trial in record["trials"].as_array_mut().unwrap() {
            let is_judged = trial["peer"] == 0;
            trial["result"]["Ok"]["speed"] = if is_judged { speed } else { 100.0 }.into();
        }
        std::fs::write(&out, record.to_string()).unwrap();
        hz3().args(["compare", "--resume", "--out"]).arg(&out).output().unwrap()
    };
    let missed = judge(50.0);
    assert_eq!(missed.status.code(), Some(3), "{}{}", stdout(&missed), stderr(&missed));
    assert!(stdout(&missed).contains("MISSED"), "{}", stdout(&missed));
    assert!(stdout(&missed).contains("missed: 16-2048, geometric mean."), "{}", stdout(&missed));
    let met = judge(150.0);
    assert_eq!(met.status.code(), Some(0), "{}{}", stdout(&met), stderr(&met));
    assert!(stdout(&met).contains("2 of 3 targets met."), "{}", stdout(&met));
}

#[test]
fn the_base_must_be_one_of_the_allocators() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("r.json");
    let output = run(&out, &["-a", "glibc", "--base", "nobody", "-w", SMALL]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("the base nobody is not among"), "{}", stderr(&output));
    assert!(!out.exists(), "nothing is written when nothing is measured");
}
