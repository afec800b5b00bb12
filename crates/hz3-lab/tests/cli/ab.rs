//! `hz3 ab`: a bad candidate is refused, and what is recorded can be read and measured again.

use crate::common::{hz3, library, stderr, stdout, wait_until};
use hz3_tools::{Signal, send};
use serde_json::Value;
use std::process::{Output, Stdio};

const LOOP: &str = "mixed --ops 100000";
/// Where the slowdown is so large that a short loop shows it.
const SHORT_LOOP: &str = "mixed --ops 30000";
/// Every idle time is one tick of `hz3_epoch_force`.
const CYCLES: &str =
    "burst-idle --total 2000 --idle 0.2 --cycles 5 --idle-tick 200 --threads 1 --shape stay";

/// `hz3 ab WORDS` on the altered allocator; every call keeps its trials in a place of its own.
fn ab(words: &[&str]) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = hz3();
    command.arg("ab").arg("--out").arg(directory.path().join("trials.json"));
    command.arg("--lib").arg(library("altered_malloc")).args(words).output().expect("hz3 starts")
}

/// Speed is judged by counting instructions here, because counts hardly depend on the load.
const COUNTED: [&str; 4] = ["--measure", "instructions", "--rounds", "6"];

#[test]
fn the_same_on_both_sides_is_no_difference() {
    // The kernel's count of resident pages lags by up to 32 a processor: a growth of 21 KiB a cycle
    // is one such step within four values. The interval of six rounds is as wide as the rounds
    // scatter, and one of them had four steps.
    let words = ["-w", LOOP, "-w", CYCLES, "--claim", "memory", "--growth-limit", "128"];
    let output = ab(&[&words[..], &COUNTED].concat());
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(4), "{text}{}", stderr(&output));
    assert!(text.contains("NO DIFFERENCE: "), "{text}");
}

#[test]
fn without_valgrind_nothing_is_counted_and_nothing_starts() {
    let output = hz3()
        .args(["ab", "--measure", "instructions", "--lib", "x.so", "--out", "/dev/null"])
        .env("PATH", "/nonexistent")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
    let expected = "hz3: instructions are counted by valgrind, which is not found; apt-get install \
                    valgrind\n";
    assert_eq!(stderr(&output), expected);
}

#[test]
fn a_candidate_that_is_5_percent_slower_gets_no_go() {
    let words = ["-w", LOOP, "--claim", "nothing", "--candidate", "SPIN=6"];
    let output = ab(&[&words[..], &COUNTED].concat());
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{text}{}", stderr(&output));
    let verdict = text.split("NO-GO: speed: ").nth(1).unwrap_or_else(|| panic!("{text}"));
    let change: f64 = verdict.split(' ').next().unwrap().parse().unwrap();
    assert!((-6.0..-4.0).contains(&change), "{text}");
}

#[test]
fn a_candidate_that_leaks_64_kib_a_cycle_gets_no_go() {
    let leak = ["--candidate", "LEAK_KB=64", "-w", CYCLES, "--rounds", "6", "--claim", "nothing"];
    // Speed is not the question here, and these bursts are short.
    let growth_alone =
        ["--speed-go", "-100", "--speed-no-go", "-100", "--memory-limit", "1000", "--json"];
    let output = ab(&[&leak[..], &growth_alone].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report["reason"].as_str().unwrap().starts_with("growth of idle memory: +"), "{report}");
}

#[test]
fn one_round_gives_no_verdict() {
    let output =
        ab(&["-w", LOOP, "--candidate", "SPIN=400", "--rounds", "1", "--claim", "nothing"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(3), "{text}{}", stderr(&output));
    assert!(text.contains("UNCERTAIN: ") && text.contains("1 of the 6 rounds"), "{text}");
    assert!(text.contains("claim: nothing, only that the candidate is no worse"), "{text}");
}

#[test]
fn the_same_on_both_sides_does_not_get_a_claim_of_less_memory() {
    let output = ab(&["-w", CYCLES, "--rounds", "3", "--claim", "memory", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["trials"], &report["failures"]), (&6.into(), &0.into()), "{report}");
    assert_ne!(report["verdict"], "GO", "{report}");
    assert_ne!(output.status.code(), Some(0));
}

#[test]
fn an_experiment_is_recorded_indexed_and_replayed() {
    let log = tempfile::tempdir().unwrap();
    let marks = "<!-- recorded: written by hz3 ab --record -->\nold\n<!-- end of recorded -->\n";
    let written = format!("# Manual\n\n{marks}the end\n");
    std::fs::write(log.path().join("README.md"), written).unwrap();
    let place = ["--log", log.path().to_str().unwrap()];
    let first = ["-w", SHORT_LOOP, "--candidate", "SPIN=40", "--claim", "nothing"];
    let noted = ["--record", "first", "--why", "is | slow slow?"];
    let output = ab(&[&first[..], &COUNTED, &noted, &place].concat());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));

    let page = std::fs::read_to_string(log.path().join("first.md")).unwrap();
    for part in
        ["# first: NO-GO", "is | slow slow?", "hz3 ab --replay", "`SPIN=40`", SHORT_LOOP, "kernel"]
    {
        assert!(page.contains(part), "{part} is missing from\n{page}");
    }
    let path = log.path().join("first.json");
    let recorded: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let side = &recorded["record"]["peers"][1];
    assert_eq!(side["library"], "libaltered_malloc.so", "it lies outside the working directory");
    let again = ["--record", "second", "--replay", path.to_str().unwrap()];
    let replayed = ab(&[&again[..], &place].concat());
    assert_eq!(replayed.status.code(), Some(1), "{}", stderr(&replayed));
    let again: Value =
        serde_json::from_slice(&std::fs::read(log.path().join("second.json")).unwrap()).unwrap();
    assert_eq!(again["record"]["trials"].as_array().unwrap().len(), 12);
    assert_eq!(again["record"]["measure"], "instructions");
    assert_eq!(again["criteria"]["claim"], "nothing");

    let index = std::fs::read_to_string(log.path().join("README.md")).unwrap();
    assert!(index.starts_with("# Manual\n") && index.ends_with("the end\n"), "{index}");
    assert!(
        index.contains("[first](first.md)") && index.contains("[second](second.md)"),
        "{index}"
    );
    assert!(index.contains("is \\| slow slow?"), "{index}");
}

#[test]
fn an_interruption_keeps_the_trials_and_resume_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("trials.json");
    let start = |words: &[&str]| {
        let mut command = hz3();
        command.arg("ab").arg("--out").arg(&out).args(words);
        command.args(["--claim", "nothing"]).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let lib = library("altered_malloc");
    // The two that warm up and the first trial end at once, every other one only when it may.
    let (log, go) = (directory.path().join("log"), directory.path().join("go"));
    let script = format!(
        "echo >> {0}; test $(wc -l < {0}) -le 3 || test -e {1} || exec sleep 600",
        log.display(),
        go.display()
    );
    let words = ["--lib", lib.to_str().unwrap(), "-c", &script, "--rounds", "4"];
    let mut child = start(&words);
    let kept = || -> usize {
        let text = std::fs::read_to_string(&out).unwrap_or_default();
        let record: Value = serde_json::from_str(&text).unwrap_or_default();
        record["trials"].as_array().map_or(0, Vec::len)
    };
    wait_until("a trial", || kept() > 0);
    send(Signal::Interrupt, child.id()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(kept(), 1);
    std::fs::write(go, "").unwrap();
    assert_ne!(start(&["--resume"]).wait().unwrap().code(), Some(130));
    assert_eq!(kept(), 8);
}

#[test]
fn a_candidate_that_fails_gets_no_verdict_to_rely_on() {
    let output = ab(&["-c", "test -z \"$FAIL\"", "--candidate", "FAIL=1", "--rounds", "1"]);
    assert_eq!(output.status.code(), Some(5), "{}", stdout(&output));
    assert!(stdout(&output).contains("FAILED: "), "{}", stdout(&output));
}

#[test]
fn wrong_names_and_settings_are_refused() {
    assert_eq!(ab(&["--record", "../x"]).status.code(), Some(2));
    let output = ab(&["--candidate", "=1:A=2"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("is not VARIABLE=VALUE"), "{}", stderr(&output));
}
