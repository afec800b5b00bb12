//! `hz3 run` on real commands.

use crate::common::{hz3, stand_in, stderr, stdout, wait_until};
use hz3_tools::{Signal, send};
use serde_json::Value;
use std::io::Write;
use std::process::{Output, Stdio};

/// `hz3 run --lib STAND_IN OPTIONS -- sh -c SCRIPT`
fn run(options: &[&str], script: &str) -> Output {
    let mut command = hz3();
    command.arg("run").arg("--lib").arg(stand_in()).args(options);
    command.args(["--", "sh", "-c", script]).stdin(Stdio::null()).output().expect("hz3 starts")
}

/// One pair of runs.
const ONCE: [&str; 2] = ["--runs", "1"];

fn report(options: &[&str], script: &str) -> Value {
    let output = run(&[&["--json"], options].concat(), script);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", stderr(&output)))
}

#[test]
fn true_runs_and_the_table_has_both_rows() {
    let output =
        hz3().args(["run", "--lib"]).arg(stand_in()).args(["--", "true"]).output().unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(stdout(&output), "");
    for row in ["wall ", "CPU ", "peak RSS ", "page faults ", "exit ", "requests "] {
        assert!(text.lines().any(|line| line.trim_start().starts_with(row)), "{row}: {text}");
    }
    assert!(text.contains(" in 50 runs)") || text.contains(" % "), "{text}");
    assert!(text.contains("stand_in served 41 requests."), "{text}");
    assert!(text.contains("are the same on both"), "{text}");
}

#[test]
fn the_exit_code_is_the_commands() {
    assert_eq!(run(&ONCE, "exit 7").status.code(), Some(7));
    assert_eq!(run(&ONCE, "kill -9 $$").status.code(), Some(137));
    let signal = report(&ONCE, "kill -11 $$");
    assert_eq!(signal["hz3"]["exit"], "signal 11");
}

#[test]
fn commands_that_cannot_run_have_the_usual_codes() {
    let start = |word: &str| {
        let mut command = hz3();
        command.arg("run").arg("--lib").arg(stand_in()).args(["--", word]).output().unwrap()
    };
    let missing = start("no-such-command-anywhere");
    assert_eq!(missing.status.code(), Some(127));
    assert!(stderr(&missing).contains("no-such-command-anywhere: not found in PATH"));
    let no_program = start("/etc/passwd");
    assert_eq!(no_program.status.code(), Some(126));
    assert!(stderr(&no_program).contains("cannot execute /etc/passwd"));
    assert_eq!(hz3().arg("run").output().unwrap().status.code(), Some(2));
}

#[test]
fn a_named_library_that_is_missing_is_refused() {
    let output = hz3().args(["run", "--lib", "/nowhere/libhz3.so", "--", "true"]).output().unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2));
    let line = "hz3: --lib: cannot use the library /nowhere/libhz3.so: No such file or directory";
    assert!(text.starts_with(line), "{text}");
}

#[test]
fn output_is_passed_through_once_and_streams_stay_apart() {
    let output = run(&ONCE, "echo out; echo err >&2");
    assert_eq!(stdout(&output), "out\n");
    assert_eq!(stderr(&output).matches("err\n").count(), 1);
}

#[test]
fn requests_are_added_over_all_processes() {
    // The shell itself ends by `_exit` or becomes its last command, as shells do.
    let report = report(&ONCE, "cat /dev/null; cat /dev/null");
    assert_eq!(report["counts"]["processes"], 2);
    assert_eq!(report["counts"]["requests"], 82);
}

#[test]
fn the_number_of_runs_is_as_documented() {
    for (options, expected) in [
        (&["--runs", "1"][..], 3),
        (&["--runs", "3"], 7),
        (&["--runs", "2", "--no-count"], 5),
        // The first pair is made in any case; no second one fits.
        (&["--time", "1ms"], 3),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        run(options, &format!("echo run >> {}", file.path().display()));
        let runs = std::fs::read_to_string(file.path()).unwrap().lines().count();
        assert_eq!(runs, expected, "{options:?}");
    }
}

#[test]
fn only_the_right_runs_are_preloaded_and_counted() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let script = format!("echo \"$LD_PRELOAD,$HZ3_COUNT\" >> {}", file.path().display());
    run(&["--runs", "2"], &script);
    let text = std::fs::read_to_string(file.path()).unwrap();
    let library = stand_in().display().to_string();
    let (system, hz3) = (",".to_owned(), format!("{library},"));
    let first = format!("{library},1");
    // Each is the first of a pair in turn.
    let expected = [&first, &system, &hz3, &hz3, &system].map(String::clone);
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn different_output_and_a_different_exit_are_shown() {
    let script = "echo same; if test -n \"$LD_PRELOAD\"; then echo hz3; exit 3; fi; echo system";
    let report = report(&["--runs", "2"], script);
    assert_eq!(report["agreement"]["stdout"]["line"], 2);
    assert_eq!(report["agreement"]["stderr"], Value::Null);
    assert_eq!(report["agreement"]["same_exit"], false);
    assert_eq!(report["agreement"]["differs_by_itself"], false);

    let text = stderr(&run(&ONCE, script));
    assert!(
        text.contains("DIFFERENT: it ended with 3 on stand_in, with 0 on the system's"),
        "{text}"
    );
    assert!(text.contains("standard output differs from line 2 on"), "{text}");
}

#[test]
fn output_that_never_repeats_is_recognised() {
    let report = report(&["--runs", "2", "--no-count"], "echo $$");
    assert_eq!(report["agreement"]["differs_by_itself"], true);
}

#[test]
fn every_run_reads_the_same_input() {
    let command = |stdin: Stdio| {
        let mut command = hz3();
        command.args(["run", "--runs", "1", "--json", "--lib"]).arg(stand_in());
        command.args(["--", "sh", "-c", "wc -c"]).stdin(stdin);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    // More than a pipe holds, so that feeding and reading must take turns.
    let input = vec![b'x'; 300_000];
    let mut piped = command(Stdio::piped());
    piped.stdin.take().unwrap().write_all(&input).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&input).unwrap();
    let from_file = command(Stdio::from(file.reopen().unwrap()));
    for child in [piped, from_file] {
        let output = child.wait_with_output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(stderr(&output).trim(), "300000");
        assert_eq!(report["agreement"]["stdout"], Value::Null, "{report}");
    }
}

#[test]
fn an_input_that_never_ends_does_not_hang() {
    let mut child = hz3()
        .args(["run", "--runs", "1", "--lib"])
        .arg(stand_in())
        .args(["--", "head", "-c", "3"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"abcdef").unwrap();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(stdout(&output), "abc");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn peak_memory_is_that_of_the_command() {
    // `tail -c` keeps what it may have to print: about 48 MiB.
    let large = report(
        &["--no-count", "--runs", "1"],
        "head -c 50000000 /dev/zero | tail -c 50000000 > /dev/null",
    );
    let small = report(&["--no-count", "--runs", "1"], "exit 0");
    let peak = |report: &Value, row: &str| report[row]["peak_rss_kb"].as_f64().unwrap();
    for row in ["system", "hz3"] {
        assert!(peak(&large, row) > 45_000.0, "{large}");
        // Not our own peak, which the kernel would report for a child that shares our memory.
        assert!(peak(&small, row) < 10_000.0, "{small}");
    }
    assert!(large["hz3"]["faults"].as_f64().unwrap() > small["hz3"]["faults"].as_f64().unwrap());
}

#[test]
fn termination_reaches_the_command_and_ends_the_series() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    let script =
        format!("trap 'echo told >> {path}; exit 9' TERM; echo up >> {path}; sleep 30 & wait");
    let mut child = hz3()
        .args(["run", "--lib"])
        .arg(stand_in())
        .args(["--", "sh", "-c", &script])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("up", || std::fs::read_to_string(&path).unwrap().contains("up\n"));
    send(Signal::Terminate, child.id()).unwrap();
    let code = child.wait().unwrap().code();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, "up\ntold\n", "the command was told once, and no second run began");
    assert_eq!(code, Some(143));
}

#[test]
fn a_command_against_itself_shows_no_difference() {
    // The stand-in allocates nothing: both sides are the C library's. A command that does nothing
    // would take a fifth longer with it, for the loading, so this one counts for a while.
    let command = "i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done";
    let verdicts: Vec<String> = (0..5)
        .map(|_| {
            let output = hz3()
                .args(["run", "--runs", "7", "--no-count", "--lib"])
                .arg(stand_in())
                .args(["--", "sh", "-c", command])
                .output()
                .unwrap();
            stderr(&output)
        })
        .collect();
    let none = |text: &&String| text.contains("No difference in the wall time was seen");
    // The interval misses 1 once in twenty times: that three of five do is seen once in 900 times.
    assert!(verdicts.iter().filter(none).count() >= 3, "{verdicts:?}");
}

#[test]
fn one_pair_says_that_it_says_nothing() {
    let text = stderr(&run(&ONCE, "exit 0"));
    assert!(text.contains("cannot be said: 1 round, and an interval needs 6"), "{text}");
    assert!(text.contains("(-)"), "{text}");
}

#[test]
fn a_server_is_shown_and_ended_after_its_time() {
    let output = run(&["--for", "300ms"], "echo serving; exec sleep 600");
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(stdout(&output), "serving\nserving\n");
    assert!(text.contains("pass 1 of 2: on the system's malloc"), "{text}");
    assert!(text.contains("pass 2 of 2: on hz3") && text.contains("RSS at 50 %"), "{text}");
}

#[test]
fn a_server_is_ended_when_its_load_ends_and_the_loads_figure_is_reported() {
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("socket");
    let script = "import os,socket,sys,time; s=socket.socket(socket.AF_UNIX); \
                  os.path.exists(sys.argv[1]) and os.unlink(sys.argv[1]); \
                  s.bind(sys.argv[1]); s.listen(); time.sleep(600)";
    // As load generators do, it waits for the server itself: on a busy machine that takes long.
    let wait = format!("until test -S {}; do sleep 0.05; done", socket.display());
    let load = format!("{wait}; echo first; echo 4711 requests");
    let mut command = hz3();
    command.args(["run", "--json", "--load", &load, "--lib"]).arg(stand_in());
    let output =
        command.args(["--", "python3", "-c", script]).arg(&socket).output().expect("hz3 starts");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for side in ["system", "hz3"] {
        assert_eq!(report[side]["load"]["last_line"], "4711 requests", "{report}");
        assert_eq!(report[side]["load"]["exit_code"], 0, "{report}");
        assert!(!report[side]["rss"].as_array().unwrap().is_empty(), "{report}");
    }
}

#[test]
fn a_load_that_fails_is_named() {
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("socket");
    let script = "import os,socket,sys,time; s=socket.socket(socket.AF_UNIX); \
                  os.path.exists(sys.argv[1]) and os.unlink(sys.argv[1]); \
                  s.bind(sys.argv[1]); s.listen(); time.sleep(600)";
    let mut command = hz3();
    command.args(["run", "--load", "exit 7", "--lib"]).arg(stand_in());
    let output =
        command.args(["--", "python3", "-c", script]).arg(&socket).output().expect("hz3 starts");
    let text = stderr(&output);
    for side in ["system", "hz3"] {
        let warning = format!("WARNING: the load on {side} ended with 7.");
        assert!(text.contains(&warning), "{text}");
    }
}

#[test]
fn statistics_that_the_user_asked_for_are_no_difference_in_the_output() {
    let mut command = hz3();
    command.args(["run", "--runs", "1", "--lib"]).arg(stand_in()).args(["--", "true"]);
    let output = command.env("HZ3_STATS", "/dev/stderr").output().expect("hz3 starts");
    let text = stderr(&output);
    assert!(text.contains("Output and exit status (0) are the same on both."), "{text}");
}

#[test]
fn help_documents_the_counted_run_and_the_exit_codes() {
    let text = stdout(&hz3().args(["run", "--help"]).output().unwrap());
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["hz3 counts its calls", "--no-count", "125", "126", "127", "Examples:"] {
        assert!(text.contains(part), "{part} is missing from\n{text}");
    }
}
