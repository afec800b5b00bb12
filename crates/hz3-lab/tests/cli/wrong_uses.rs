//! Wrong uses: exit code 2, one line on the standard error that names the fault, and nothing was
//! started or written.

use crate::common::{hz3, library, stand_in, stderr, stdout};
use std::process::{Command, Stdio};

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
    ("bench mixed --threads 99999999", "expected a whole number from 1 to 10000"),
    ("bench remote 99999999 5 5 16 32 90", "99999999 threads are too many"),
    ("bench mixed --threads 10000 --slots 4294967295", "of memory, and this machine has"),
    ("bench mixed --slots 0", "expected a whole number from 1"),
    ("bench dist --ops 0", "expected a whole number from 1"),
    ("bench larson --generations 0", "expected a whole number from 1"),
    ("bench xfer --blocks 9223372036854775808", "expected a whole number from 1 to 1000000000000"),
    ("bench xfer --pairs 10000 --ring 4294967295", "from 1 to 5000"),
    ("bench holes --rows 9223372036854775808", "expected a whole number from 1"),
    ("bench holes --rows 1000000000000", "of memory, and this machine has"),
    ("bench holes --idle -1", "expected seconds from 0 to 2592000"),
    ("bench pool --idle inf", "expected seconds from 0 to 2592000"),
    ("bench pool --max 4294967295", "of memory, and this machine has"),
    ("bench grow --to-mib 4294967295", "of memory, and this machine has"),
    ("bench waves --waves 1:4294967295,1:4294967295", "and 100000 bursts"),
    ("bench waves --waves 18446744073709551615:1", "with up to 2592000000 ms"),
    ("bench burst-idle --cycles 4294967295", "expected a whole number from 1 to 100000"),
    ("bench burst-idle --total 4294967295", "of memory, and this machine has"),
    ("bench burst-idle 0 1 1", "TOTAL and THREADS are at least 1"),
    ("compare -a glibc -w mixed:--threads:99999999", "from 1 to 10000"),
    ("compare -a glibc -w grow:--to-mib:4294967295", "of memory, and this machine has"),
    ("compare --rounds 4294967295", "expected a whole number from 1 to 10000"),
    ("bench mixed --threads two", "expected a whole number from 1"),
    ("compare --rounds -1", "'--rounds <N>': expected"),
    ("compare --time -5s", "'--time <TIME>': expected"),
    ("why -1", "'<PID>': expected a whole number from 1"),
    ("ab --speed-go NaN", "expected a number"),
    ("ab --speed-go inf", "expected a number"),
    ("ab --growth-limit -1", "expected a number from 0 on"),
    ("ab --speed-go -5", "--speed-no-go -3 contradicts --speed-go -5"),
    ("ab --memory-go 7", "--memory-go 7 contradicts --memory-limit 5"),
    ("ab --replay x.json --speed-go -1", "cannot be used with"),
    ("ab --replay x.json --seed 2", "cannot be used with"),
    ("compare --command=", "expected a command line"),
    ("run --load= -- true", "expected a command line"),
    ("top 1 --interval 1ms", "expected a time from 100 ms on"),
    ("watch --json --out - -- true", "both want the standard output"),
    ("demo --out r.json", "the page would overwrite the results"),
    ("demo --out r.csv", "the page would overwrite the results"),
    ("ab --command=", "expected a command line"),
    // Files: no directory is made, and nothing is measured for a file that cannot be written.
    ("compare -a glibc --out missing/r.json", "the directory missing does not exist"),
    ("ab --out missing/r.json", "the directory missing does not exist"),
    ("ab --log missing/log --record x", "the directory missing does not exist"),
    ("demo --out missing/r.html", "the directory missing does not exist"),
    ("watch --out missing/w.csv -- true", "the directory missing does not exist"),
    ("report /dev/null --out missing/r.html", "the directory missing does not exist"),
    ("report /dev/null --out - --png missing/png", "the directory missing does not exist"),
    ("profile /dev/null --flame missing/f.svg", "the directory missing does not exist"),
    ("man --dir missing/man1", "the directory missing does not exist"),
    ("profile 1 --save x --flame x", "--save and --flame name the same file"),
    ("ab --log . --record x --out ./x.json", "--record and --out name the same file"),
    ("compare --resume --out nothing.json", "nothing.json does not exist"),
    ("ab --resume --out nothing.json", "nothing.json does not exist"),
    ("compare -a glibc --out -", "`-`: expected the name of a file"),
    ("ab --out -", "`-`: expected the name of a file"),
    ("demo --out -", "`-`: expected the name of a file"),
    ("profile 1 --save -", "`-`: expected the name of a file"),
    ("profile 1 --flame -", "`-`: expected the name of a file"),
    ("compare -a glibc --out results/", "results/ is a directory"),
    ("watch --out samples/ -- true", "samples/ is a directory"),
    ("man --dir /dev/null", "/dev/null is no directory"),
    ("report /dev/null --out - --svg /dev/null", "/dev/null is no directory"),
    ("profile missing.pb.gz", "cannot read missing.pb.gz: No such file"),
    ("profile .", "cannot read .: Is a directory"),
    ("report missing.json", "cannot read missing.json: No such file"),
    ("report /dev/null/x.json --out -", "cannot read /dev/null/x.json: Not a directory"),
    ("ab --replay missing.json", "cannot read missing.json: No such file"),
    // Libraries and commands.
    ("run --lib missing.so -- true", "--lib: cannot use the library missing.so: No such file"),
    ("run --lib /etc/passwd -- true", "--lib: /etc/passwd is not a shared library"),
    ("watch --lib missing.so -- true", "--lib: cannot use the library missing.so: No such file"),
    ("ab --lib missing.so", "--lib: cannot use the library missing.so: No such file"),
    ("compare --peer x=missing.so", "--peer x=missing.so: cannot use the library missing.so"),
    ("compare -a glibc --command no-such-command", "the shell finds no command no-such-command"),
    ("ab --command ./no-such-script", "the shell finds no command ./no-such-script"),
    ("run --load no-such-command -- true", "'--load <CMD>': the shell finds no command"),
    // Options of the trial itself, and options without an effect.
    ("compare -a glibc -w mixed:--json", "the workload `mixed --json`: each trial sets --json"),
    ("ab -w mixed:--best-of=3", "each trial sets --best-of"),
    ("compare -a glibc -w mixed:--help", "it runs nothing; `hz3 bench mixed --help` shows"),
    ("run true", "a command stands behind `--`: hz3 run -- CMD"),
    ("watch sleep 5", "a command stands behind `--`: hz3 watch -- CMD"),
    ("run --rnus 3 -- true", "'--runs'"),
    ("demo -a glibc", "there is nothing to compare with; name two allocators"),
    ("run --for 5s --time 5s -- true", "cannot be used with"),
    ("run --load true --no-count -- true", "cannot be used with"),
    ("ab --why because", "--record <NAME>"),
    ("ab --log experiments", "--record <NAME>"),
    ("profile 1 --force", "--save <FILE>"),
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
            let is_workload =
                ["mixed:", "remote:", "grow:"].iter().any(|name| word.starts_with(name));
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

#[test]
fn what_cannot_be_made_again_is_not_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    std::fs::write(place("samples.csv"), "t_ms,rss_kb\n0,1\n").unwrap();
    std::fs::write(place("earlier"), "a profile").unwrap();
    for (words, code, expected) in [
        (&["profile", "1", "--save", "earlier"][..], 2, "earlier exists already; --force"),
        (&["profile", "1", "--flame", "earlier"], 2, "earlier exists and is no page"),
        (&["report", "samples.csv", "--out", "earlier"], 2, "earlier exists and is no page"),
        // The samples of an earlier watch, and a command that cannot start.
        (&["watch", "--force", "--out", "samples.csv", "--", "no-such-command"], 127, "not found"),
        (&["watch", "--force", "--out", "samples.csv", "--", "./none"], 127, "no such file"),
    ] {
        let output = hz3().args(words).current_dir(directory.path()).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{words:?}: {said}");
        assert!(said.contains(expected), "{words:?}: {said}");
    }
    assert_eq!(std::fs::read_to_string(place("samples.csv")).unwrap(), "t_ms,rss_kb\n0,1\n");
    assert_eq!(std::fs::read_to_string(place("earlier")).unwrap(), "a profile");
}

#[test]
fn an_experiment_log_with_other_files_is_refused_before_the_first_trial() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("package.json"), "{}").unwrap();
    let output = hz3()
        .args(["ab", "--record", "x", "--log", ".", "--lib"])
        .arg(library("altered_malloc"))
        .current_dir(directory.path())
        .output()
        .unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("./package.json is damaged, or no experiment"), "{said}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "something was written");
}

#[test]
fn a_library_without_malloc_is_not_measured_as_one() {
    let own = library("no_malloc");
    let output = hz3().args(["run", "--lib"]).arg(&own).args(["--", "true"]).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("malloc still comes from"), "{said}");
}

#[test]
fn a_setting_without_its_prefix_is_not_measured_as_one() {
    let directory = tempfile::tempdir().unwrap();
    let lib = library("altered_malloc").display().to_string();
    let peer = format!("own={lib}");
    for words in [
        ["ab", "--lib", &lib, "--candidate", "TICK=5"],
        ["ab", "--lib", &lib, "--candidate", "hz3_tick=5"],
        ["compare", "--peer", &peer, "-a", "own:Tick=5"],
    ] {
        let output = hz3().args(words).current_dir(directory.path()).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.ends_with("did you mean `HZ3_TICK`?\n"), "{said}");
    }
}

#[test]
fn without_a_place_for_its_files_nothing_is_measured() {
    let directory = tempfile::tempdir().unwrap();
    let output = hz3()
        .args(["compare", "-a", "glibc", "-w", "mixed --ops 1000"])
        .env("TMPDIR", directory.path().join("missing"))
        .current_dir(directory.path())
        .output()
        .unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "something was written");
}

#[test]
fn a_message_is_one_line_whatever_it_quotes() {
    for name in ["a\nb", "a\u{1b}[2Jb"] {
        let output = hz3().args(["compare", "-a", name]).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(!said.contains('\u{1b}'), "{said}");
    }
}

#[test]
fn each_line_begins_with_the_name_of_the_tool_once() {
    let lib = library("altered_malloc");
    let mut command = hz3();
    command.args(["run", "--lib"]).arg(&lib).args(["--", "true"]);
    let said = stderr(&command.env("REFUSE", "HZ3_TIK").output().unwrap());
    assert!(
        said.starts_with("hz3: the allocator altered_malloc does not accept HZ3_TIK"),
        "{said}"
    );
    let output = hz3().args(["compare", "-a", "hz3:TICK"]).output().unwrap();
    assert!(stderr(&output).starts_with("hz3: the variant hz3:TICK: expected "), "{output:?}");
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

    // Also where the output is named as a file.
    let directory = tempfile::tempdir().unwrap();
    let csv = directory.path().join("w.csv");
    let mut watch = hz3();
    watch.args(["watch", "--out"]).arg(&csv).args(["--", "sleep", "0.2"]).output().unwrap();
    for (out, code) in [(unread(), 141), (full(), 125)] {
        let mut report = hz3();
        report.arg("report").arg(&csv).args(["--out", "/dev/stdout"]);
        let output = report.stdout(out).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), usize::from(code == 125));
    }

    // A limit on the size of files is told like a full disk, and the earlier page stays.
    let page = directory.path().join("page.html");
    std::fs::write(&page, "<html>").unwrap();
    let script = "ulimit -f 1; exec \"$0\" report \"$1\" --out \"$2\"";
    let mut limited = Command::new("sh");
    limited.args(["-c", script, env!("CARGO_BIN_EXE_hz3")]).args([&csv, &page]);
    let output = limited.output().unwrap();
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    assert!(stderr(&output).contains("File too large"), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(&page).unwrap(), "<html>");

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
