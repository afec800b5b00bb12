//! Wrong uses: exit code 2, one line on the standard error that names the fault, and nothing was
//! started or written.

mod common;

use common::{hz3, library, stand_in, stderr, stdout};
use std::process::Stdio;

/// The words after `hz3`, and the text that the line must contain.
const WRONG: &[(&str, &str)] = &[
    // Names.
    ("rnu -- true", "'run'"),
    ("compare -a glbc", "did you mean `glibc`"),
    ("compare -a hoard2000", "expected one of"),
    ("compare -a glibc:X", "NAME:VARIABLE=VALUE"),
    ("compare -a glibc:=1", "NAME:VARIABLE=VALUE"),
    ("compare -a glibc -a glibc", "named twice"),
    ("compare -a glibc --base hz3", "the base hz3 is not among"),
    ("compare -a glibc -w smal", "did you mean `small`"),
    ("compare -a glibc -w mixd", "did you mean `mixed`"),
    ("compare -a glibc -w mixed:--opps:5", "--opps"),
    ("compare -a glibc -w mixed:--ops:many", "many"),
    ("compare -a glibc -w mixed:--sizes:tiny", "tiny"),
    ("compare -a glibc -w mixed:--sizes:9-3", "9-3"),
    ("compare -a glibc -w remote:2:5000", "THREADS OPS SLOTS"),
    ("compare -a glibc -w small -w small", "named twice"),
    ("compare --suite spede", "speed"),
    ("compare --peer x", "NAME=PATH"),
    ("compare --peer a:b=/x.so", "NAME=PATH"),
    ("compare --quikc", "--quick"),
    ("peers jmealloc", "did you mean `jemalloc`"),
    ("bench mixde", "'mixed'"),
    ("bench mixed --ops -5", "-5"),
    ("bench mixed --thread 2", "--threads"),
    ("bench burst-idle --shape sta", "stay"),
    ("ab --claim memroy", "memory"),
    ("ab --measure instuctions", "instructions"),
    ("ab --record ../x", "letters, digits"),
    ("ab --candidate =1:A=2", "VARIABLE=VALUE"),
    ("ab -w smal", "did you mean `small`"),
    ("completions bsh", "bash"),
    // Values and units.
    ("compare --rounds 0", "0"),
    ("compare --rounds three", "three"),
    ("compare --limit 5parsecs", "unknown unit `parsecs`"),
    ("compare --time 0", "above 0"),
    ("compare --seed x", "x"),
    ("run --runs 0 -- true", "0"),
    ("run --for 10kg -- true", "unknown unit `kg`"),
    ("run --time -3 -- true", "-3"),
    ("watch --interval 50feet -- true", "unknown unit `feet`"),
    ("watch --pss-every often -- true", "often"),
    ("watch --pid x", "x"),
    ("watch --pid 4194999", "no process has the number 4194999"),
    // Options that exclude each other, or that are missing.
    ("run", "<CMD>"),
    ("watch", "<CMD>"),
    ("bench", "subcommand"),
    ("watch --pid 1 -- true", "cannot be used with"),
    ("run --runs 3 --time 5s -- true", "cannot be used with"),
    ("compare --quick --thorough", "cannot be used with"),
    ("compare --suite speed -w small", "cannot be used with"),
    ("compare --resume -a glibc", "cannot be used with"),
    ("ab --resume --baseline off", "cannot be used with"),
    ("report --nosuch", "--nosuch"),
    // A negative or odd number is told with its option and what the option accepts.
    ("bench smal", "expected one of burst-idle"),
    ("bench mixed --threads -1", "'--threads <THREADS>': expected a whole number from 1"),
    ("bench mixed --threads two", "expected a whole number from 1"),
    ("compare --rounds -1", "'--rounds <N>': expected"),
    ("compare --time -5s", "'--time <TIME>': expected"),
    ("why -1", "'<PID>': expected a whole number from 1"),
    ("ab --speed-go NaN", "expected a number"),
    ("ab --speed-go inf", "expected a number"),
    ("ab --growth-limit -1", "expected a number from 0 on"),
    ("compare --command=", "expected a command line"),
    ("ab --command=", "expected a command line"),
    // Of a process: told before it is asked.
    ("set 1 tick_m=5", "did you mean `tick_ms`"),
    ("set 1 tick_ms", "expected NAME=VALUE"),
];

#[test]
fn each_wrong_use_is_one_line_and_starts_nothing() {
    assert!(WRONG.len() >= 40);
    for (line, expected) in WRONG {
        let directory = tempfile::tempdir().unwrap();
        // A colon stands for a space within a word, but for variants and peers, which have colons.
        let words = line.split(' ').map(|word| {
            let is_workload = ["mixed:", "remote:"].iter().any(|name| word.starts_with(name));
            if is_workload { word.replace(':', " ") } else { word.to_owned() }
        });
        let output = hz3().args(words).current_dir(directory.path()).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{line}: {said}");
        assert_eq!(said.lines().count(), 1, "{line}: {said}");
        assert!(said.starts_with("hz3: ") && said.contains(expected), "{line}: {said}");
        assert_eq!(stdout(&output), "", "{line}");
        let left = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 0, "{line}: something was written");
    }
}

#[test]
fn a_setting_that_the_library_refuses_is_an_error_before_the_first_trial() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("r.json");
    let own = format!("own={}", library("altered_malloc").display());
    let output = hz3()
        .args(["compare", "-a", "glibc", "-a", "own:REFUSE=HZ3_TIK", "--peer", &own, "--out"])
        .arg(&out)
        .output()
        .unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("own:REFUSE=HZ3_TIK") && said.contains("`HZ3_TICK`"), "{said}");
    assert!(!out.exists());
    let lib = library("altered_malloc");
    let output = hz3()
        .args(["ab", "--candidate", "REFUSE=HZ3_POLICY=defualt", "--lib"])
        .arg(&lib)
        .current_dir(directory.path())
        .output()
        .unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("did you mean `default`"), "{said}");
}

#[test]
fn results_are_not_overwritten_without_force() {
    let directory = tempfile::tempdir().unwrap();
    for (name, words) in [
        ("hz3-compare.json", &["compare", "-a", "glibc"][..]),
        ("hz3-compare.csv", &["compare", "-a", "glibc"]),
        ("hz3-watch.csv", &["watch", "--", "true"]),
    ] {
        let file = directory.path().join(name);
        std::fs::write(&file, "results").unwrap();
        let output = hz3().args(words).current_dir(directory.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}: {}", stderr(&output));
        assert!(stderr(&output).contains("--force"), "{}", stderr(&output));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "results");
        std::fs::remove_file(&file).unwrap();
    }
}

/// A disk without room.
fn full() -> Stdio {
    std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a device").into()
}

/// A pipe whose reader has gone.
fn unread() -> Stdio {
    let (_, writer) = std::io::pipe().expect("a pipe");
    writer.into()
}

#[test]
fn output_of_a_command_that_cannot_be_passed_on_ends_the_run() {
    for (out, code, lines) in [(unread(), 141, 0), (full(), 125, 1)] {
        let output = hz3()
            .args(["run", "--lib"])
            .arg(stand_in())
            .args(["--", "yes"])
            .stdout(out)
            .output()
            .unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert_eq!(said.lines().count(), lines, "{said}");
    }
}

#[test]
fn a_full_disk_and_a_reader_who_has_gone_end_hz3_with_their_codes() {
    let output = hz3().arg("--help").stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));

    let output =
        hz3().args(["watch", "--out", "/dev/full", "--", "sleep", "600"]).output().unwrap();
    assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));

    let output = hz3().arg("peers").stdout(unread()).output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(stderr(&output), "");

    // A message that standard error does not take ends hz3 with a code, not with a panic.
    let command = || {
        let mut command = hz3();
        command.args(["watch", "--out", "/dev/null", "--", "true"]);
        command
    };
    let status = command().stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(125));
    let status = command().stderr(unread()).status().unwrap();
    assert_eq!(status.code(), Some(141));
    let status = hz3().arg("comprae").stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(2));
}
