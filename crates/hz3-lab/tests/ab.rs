//! `hz3 ab`: a bad candidate is refused, and what is recorded can be read and measured again.

mod common;

use common::{hz3, library, stderr, stdout, wait_until};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const LOOP: &str = "mixed --ops 100000";
/// Every idle time is one tick of `hz3_epoch_force`.
const CYCLES: &str =
    "burst-idle --total 2000 --idle 0.2 --cycles 5 --idle-tick 200 --threads 1 --shape stay";

fn ab(words: &[&str]) -> Command {
    let mut command = hz3();
    command.arg("ab").arg("--out").arg(trials());
    command.arg("--lib").arg(library("altered_malloc")).args(words);
    command
}

/// A file of its own for the trials of one command.
fn trials() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    directory.join(format!("ab-{}.json", NEXT.fetch_add(1, Ordering::Relaxed)))
}

fn run(words: &[&str]) -> Output {
    ab(words).output().expect("hz3 starts")
}

/// Counts of instructions hardly depend on the machine's load, so these two can be tests.
const COUNTED: [&str; 4] = ["--measure", "instructions", "--rounds", "3"];

#[test]
fn the_same_on_both_sides_is_no_difference() {
    let mut command = ab(&["-w", LOOP, "-w", CYCLES, "--claim", "memory"]);
    let output = command.args(COUNTED).output().unwrap();
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(4), "{text}{}", stderr(&output));
    assert!(text.contains("NO DIFFERENCE: "), "{text}");
}

#[test]
fn a_candidate_that_is_5_percent_slower_gets_no_go() {
    let mut command = ab(&["-w", LOOP, "--claim", "nothing", "--candidate", "SPIN=6"]);
    let output = command.args(COUNTED).output().unwrap();
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{text}{}", stderr(&output));
    let verdict = text.split("NO-GO: speed: ").nth(1).unwrap_or_else(|| panic!("{text}"));
    let change: f64 = verdict.split(' ').next().unwrap().parse().unwrap();
    assert!((-6.0..-4.0).contains(&change), "{text}");
}

#[test]
fn a_candidate_that_is_much_slower_gets_no_go() {
    let words = ["--candidate", "SPIN=400", "-w", LOOP, "--rounds", "5", "--claim", "nothing"];
    let output = run(&words);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{text}{}", stderr(&output));
    assert!(text.contains("NO-GO: speed: -"), "{text}");
}

#[test]
fn a_candidate_that_leaks_64_kib_a_cycle_gets_no_go() {
    let words = ["--candidate", "LEAK_KB=64", "-w", CYCLES, "--rounds", "4", "--claim", "nothing"];
    let mut command = ab(&words);
    // Speed is not the question here, and these bursts are short.
    command.args(["--speed-go", "-90", "--speed-no-go", "-95", "--memory-limit", "1000", "--json"]);
    let output = command.output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report["reason"].as_str().unwrap().starts_with("growth of idle memory: +"), "{report}");
}

#[test]
fn the_same_on_both_sides_does_not_get_a_claim_of_less_memory() {
    let output = run(&["-w", CYCLES, "--rounds", "3", "--claim", "memory", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["trials"], &report["failures"]), (&6.into(), &0.into()), "{report}");
    assert_ne!(report["verdict"], "GO", "{report}");
    assert_ne!(output.status.code(), Some(0));
}

#[test]
fn an_experiment_is_recorded_indexed_and_replayed() {
    let ledger = tempfile::tempdir().unwrap();
    let marks = "<!-- recorded: written by hz3 ab --record -->\nold\n<!-- end of recorded -->\n";
    let by_hand = format!("# By hand\n\n{marks}the end\n");
    std::fs::write(ledger.path().join("README.md"), by_hand).unwrap();
    let record = |name: &str, extra: &[&str]| {
        let mut command = ab(&["--claim", "nothing", "--record", name, "--ledger"]);
        command.arg(ledger.path()).args(extra).output().unwrap()
    };
    let first =
        ["-w", LOOP, "--rounds", "2", "--candidate", "SPIN=400", "--why", "is | slow slow?"];
    let output = record("first", &first);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));

    let page = std::fs::read_to_string(ledger.path().join("first.md")).unwrap();
    for part in [
        "# first: NO-GO",
        "is | slow slow?",
        "hz3 ab --replay",
        "`SPIN=400`",
        "mixed --ops 100000",
        "kernel",
    ] {
        assert!(page.contains(part), "{part} is missing from\n{page}");
    }
    let path = ledger.path().join("first.json");
    let recorded: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let side = &recorded["record"]["peers"][1];
    assert_eq!(side["library"], "libaltered_malloc.so", "it lies outside the working directory");
    let replayed = hz3()
        .args(["ab", "--record", "second", "--ledger"])
        .arg(ledger.path())
        .arg("--replay")
        .arg(&path)
        .arg("--lib")
        .arg(library("altered_malloc"))
        .arg("--out")
        .arg(trials())
        .output()
        .unwrap();
    assert_eq!(replayed.status.code(), Some(1), "{}", stderr(&replayed));
    let again: Value =
        serde_json::from_slice(&std::fs::read(ledger.path().join("second.json")).unwrap()).unwrap();
    assert_eq!(again["record"]["trials"].as_array().unwrap().len(), 4);
    assert_eq!(again["criteria"]["claim"], "nothing");

    let index = std::fs::read_to_string(ledger.path().join("README.md")).unwrap();
    assert!(index.starts_with("# By hand\n") && index.ends_with("the end\n"), "{index}");
    assert!(
        index.contains("[first](first.md)") && index.contains("[second](second.md)"),
        "{index}"
    );
    assert!(index.contains("is \\| slow slow?"), "{index}");
}

#[test]
fn an_interruption_keeps_the_trials_and_resume_goes_on() {
    let out = trials();
    let _ = std::fs::remove_file(&out);
    let start = |words: &[&str]| {
        let mut command = hz3();
        command.arg("ab").arg("--out").arg(&out).args(words);
        command.args(["--claim", "nothing"]).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let lib = library("altered_malloc");
    // The first trial ends at once, every other one only when it may.
    let gate = tempfile::tempdir().unwrap();
    let (first, go) = (gate.path().join("first"), gate.path().join("go"));
    let script =
        format!("mkdir {} 2>&- || test -e {} || exec sleep 600", first.display(), go.display());
    let words = ["--lib", lib.to_str().unwrap(), "-c", &script, "--rounds", "4"];
    let mut child = start(&words);
    let kept = || -> usize {
        let text = std::fs::read_to_string(&out).unwrap_or_default();
        let record: Value = serde_json::from_str(&text).unwrap_or_default();
        record["trials"].as_array().map_or(0, Vec::len)
    };
    wait_until("a trial", || kept() > 0);
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(kept(), 1);
    std::fs::write(go, "").unwrap();
    assert_ne!(start(&["--resume"]).wait().unwrap().code(), Some(130));
    assert_eq!(kept(), 8);
}

#[test]
fn a_candidate_that_fails_gets_no_verdict_to_rely_on() {
    let output = run(&["-c", "test -z \"$FAIL\"", "--candidate", "FAIL=1", "--rounds", "1"]);
    assert_eq!(output.status.code(), Some(5), "{}", stdout(&output));
    assert!(stdout(&output).contains("FAILED: "), "{}", stdout(&output));
}

#[test]
fn wrong_names_and_settings_are_refused() {
    assert_eq!(run(&["--record", "../x"]).status.code(), Some(2));
    let output = run(&["--candidate", "=1:A=2"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("is not VARIABLE=VALUE"), "{}", stderr(&output));
}
