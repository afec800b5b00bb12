//! The heap profile of C programs: switched at run time, and by the environment.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::{on_hz3, run};

fn file(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("hz3-profile-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    directory.join(name)
}

/// Asserts that the file is a gzip file of stored blocks that contains each of `texts`.
#[track_caller]
fn holds(path: &PathBuf, texts: &[&str]) {
    let bytes = fs::read(path).expect("a profile");
    assert!(bytes.starts_with(&[0x1f, 0x8b, 8]), "no gzip file");
    for text in texts {
        let found = bytes.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(found, "no {text} in {} bytes", bytes.len());
    }
    fs::remove_file(path).expect("removed");
}

/// Returns the build id of this process's C library, which is that of the programs too.
fn build_id_of_libc() -> String {
    let maps = fs::read_to_string("/proc/self/maps").expect("maps");
    let line = maps.lines().find(|line| line.contains("libc.so")).expect("the C library");
    let path = line.split_whitespace().last().expect("a path");
    let output = Command::new("readelf").args(["-n", path]).output().expect("binutils");
    let notes = String::from_utf8(output.stdout).expect("text");
    let id = notes.lines().find_map(|line| line.trim().strip_prefix("Build ID: "));
    id.expect("a build id").to_owned()
}

#[test]
fn a_profile_is_switched_and_written_beside_threads_forks_and_signals() {
    let path = file("switched");
    run(on_hz3("profile.c").arg(&path)).expect_ok();
    holds(&path, &["inuse_space", "pinned_space", "lifetime", "libc.so"]);
}

#[test]
fn the_environment_starts_a_profile_that_a_signal_and_the_exit_write() {
    let path = file("environment");
    let mut command = on_hz3("profile.c");
    command.arg(&path).arg("12").env("HZ3_PROFILE", &path);
    command.env("HZ3_PROFILE_RATE", "4K").env("HZ3_PROFILE_SIGNAL", "12");
    run(&mut command).expect_ok();
    holds(&path, &["alloc_objects", "libc.so", &build_id_of_libc()]);
}

/// Runs a program that forks, and returns the numbers of both processes.
fn forks(path: &str) -> [u32; 2] {
    let mut command = on_hz3("profile.c");
    command.arg(path).arg("fork").env("HZ3_PROFILE", path).env("HZ3_PROFILE_RATE", "4K");
    let outcome = run(&mut command);
    assert!(outcome.status.success() && outcome.stderr.is_empty(), "{outcome}");
    let numbers: Vec<u32> =
        outcome.stdout.split_whitespace().map(|word| word.parse().expect("a number")).collect();
    assert_eq!(numbers[2], 0, "the child failed: {outcome}");
    [numbers[0], numbers[1]]
}

#[test]
fn a_forked_child_does_not_overwrite_its_parents_profile() {
    let path = file("shared");
    let [_, child] = forks(path.to_str().expect("UTF-8"));
    holds(&path, &["alloc_objects"]);
    holds(&file(&format!("shared.{child}")), &["alloc_objects"]);

    let pids = forks(file("of-%p-too").to_str().expect("UTF-8"));
    for pid in pids {
        holds(&file(&format!("of-{pid}-too")), &["alloc_objects"]);
    }
    assert!(!file("of-%p-too").exists() && !file(&format!("of-%p-too.{}", pids[1])).exists());
}

#[test]
fn live_blocks_are_listed_at_exit_on_request() {
    let mut command = on_hz3("options.c");
    let outcome = run(command.env("HZ3_PROFILE_LEAKS", "1").env("HZ3_PROFILE_RATE", "1"));
    assert!(outcome.status.success(), "{outcome}");
    assert!(outcome.stderr.contains("hz3: live at exit: about "), "{outcome}");
}
