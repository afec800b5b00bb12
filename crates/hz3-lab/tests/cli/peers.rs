//! `hz3 peers` with an allocator that is there, one that is not, and one that does not serve.

use crate::common::{hz3, library, stderr, stdout};
use serde_json::Value;

#[test]
fn the_c_library_and_a_named_peer_are_present() {
    let own = format!("own={}", library("broken_malloc").display());
    let output = hz3()
        .args(["peers", "--json", "--peer", &own, "glibc", "own", "own:SETTING=1"])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<_> = report["present"].as_array().unwrap().iter().map(|p| &p["name"]).collect();
    assert_eq!(names, ["glibc", "own", "own:SETTING=1"], "{report}");
    assert!(report["present"][0]["version"].as_str().unwrap().starts_with("2."), "{report}");
    assert_eq!(report["present"][1]["digest"], report["present"][2]["digest"]);
    assert_eq!(report["missing"].as_array().unwrap().len(), 0);
}

#[test]
fn a_library_without_malloc_is_listed_as_missing_with_the_reason() {
    let spec = format!("idle={}", library("no_malloc").display());
    let output = hz3().args(["peers", "--peer", &spec, "idle"]).output().unwrap();
    let text = stdout(&output);
    assert!(text.contains("missing") && text.contains("malloc still comes from"), "{text}");
}

#[test]
fn all_known_allocators_are_named_whether_present_or_not() {
    let text = stdout(&hz3().arg("peers").output().unwrap());
    for name in ["hz3", "glibc", "jemalloc", "tcmalloc", "mimalloc", "snmalloc", "rpmalloc"] {
        assert!(text.lines().any(|line| line.trim_start().starts_with(name)), "{name}: {text}");
    }
}

#[test]
fn wrong_names_are_explained() {
    for (words, expected) in [
        (&["peers", "--peer", "x=/nowhere.so"][..], "/nowhere.so"),
        (&["peers", "--peer", "x=/etc/passwd"], "not a shared library"),
    ] {
        let output = hz3().args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{words:?}: {}", stderr(&output));
    }
}
