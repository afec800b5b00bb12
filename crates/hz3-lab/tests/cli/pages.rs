//! Help, completions, man pages, and the demo.

use crate::common::{hz3, library, stderr, stdout};

const SUBCOMMANDS: [&str; 11] = [
    "run",
    "watch",
    "bench",
    "compare",
    "ab",
    "report",
    "profile",
    "peers",
    "demo",
    "completions",
    "man",
];

#[test]
fn every_subcommand_has_help_and_the_main_help_names_it() {
    let main = stdout(&hz3().arg("--help").output().unwrap());
    assert!(main.contains("Exit status"), "{main}");
    for name in SUBCOMMANDS {
        assert!(main.contains(&format!("\n  {name} ")), "{name} is missing from\n{main}");
        let output = hz3().args([name, "--help"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(stdout(&output).contains("Usage: hz3 "), "{name}");
    }
    assert!(!main.contains("probe"), "what is only for hz3 itself is not shown");
}

#[test]
fn the_version_names_the_library() {
    let text = stdout(&hz3().arg("--version").output().unwrap());
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(concat!("hz3 ", env!("CARGO_PKG_VERSION"))));
    let library = lines.next().unwrap_or_default();
    let found = library.contains("libhz3.so") && library.contains(", version 0.");
    let none = library.starts_with("library: none found; build it with `cargo");
    assert!(found || none, "{text}");
    let refused = stdout(&hz3().env("HZ3_NOSUCH", "1").arg("--version").output().unwrap());
    let reason = refused.contains("which does not work: ") && refused.contains("HZ3_NOSUCH");
    assert!(reason || none, "{refused}");
}

#[test]
fn completions_for_the_usual_shells_know_the_subcommands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&hz3().args(["completions", shell]).output().unwrap());
        for name in SUBCOMMANDS {
            assert!(script.contains(name), "{shell}: {name}");
        }
    }
}

#[test]
fn there_is_a_man_page_for_each() {
    let directory = tempfile::tempdir().unwrap();
    let output = hz3().args(["man", "--dir"]).arg(directory.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for name in SUBCOMMANDS {
        let page = directory.path().join(format!("hz3-{name}.1"));
        let text =
            std::fs::read_to_string(&page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
        assert!(text.contains(".SH SYNOPSIS"), "{name}: {text}");
    }
    let main = std::fs::read_to_string(directory.path().join("hz3.1")).unwrap();
    assert!(main.contains("hz3\\-compare"), "{main}");
    assert!(!directory.path().join("hz3-probe.1").exists());
}

#[test]
fn the_demo_compares_and_makes_a_page() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("d.html");
    let own = format!("own={}", library("broken_malloc").display());
    let output = hz3()
        .args(["demo", "--rounds", "1", "-a", "glibc", "-a", "own", "--peer", &own, "--out"])
        .arg(&out)
        .output()
        .unwrap();
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    for part in ["own", "geometric mean", "threads stay", "the page with the pictures: "] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(std::fs::read_to_string(&out).unwrap().contains("Memory over time: threads stay"));
    let said = stderr(&output);
    assert!(said.starts_with("hz3: comparing glibc, own: ") && said.contains("; about "), "{said}");
    assert!(said.contains(" of 10 trials done; "), "progress is shown without a terminal: {said}");
    assert!(out.with_extension("json").is_file() && out.with_extension("csv").is_file());
}
