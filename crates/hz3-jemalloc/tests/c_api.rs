//! A C program that looks for jemalloc's functions, on both libraries, on one, and on neither.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Builds both libraries beside this test's own build; returns their directory.
fn libraries() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a target directory");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--lib", "--package", "hz3-c", "--package", "hz3-jemalloc"])
        .arg("--manifest-path")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the libraries do not build");
    target.join("debug")
}

fn run(program: &Path, libraries: &[PathBuf], arguments: &[&str]) -> Output {
    let preload: Vec<_> = libraries.iter().map(|path| path.to_str().expect("text")).collect();
    Command::new(program)
        .args(arguments)
        .env("LD_PRELOAD", preload.join(" "))
        .output()
        .expect("the program starts")
}

#[test]
fn a_program_for_jemalloc_finds_its_functions_only_with_this_library() {
    let directory = libraries();
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("jemalloc-program");
    let compiled = Command::new("gcc")
        .args(["-std=gnu11", "-O1", "-fno-builtin", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&program)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program.c"))
        .status()
        .expect("gcc runs");
    assert!(compiled.success());
    let hz3 = directory.join("libhz3.so");
    let names = directory.join("libhz3_jemalloc.so");
    let output = run(&program, &[hz3.clone(), names.clone()], &[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!((said.as_str(), output.status.code()), ("ok\n", Some(0)));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let output = run(&program, &[hz3], &["look"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "plain\n");
    // Without hz3 there are no statistics to read.
    let output = run(&program, &[names], &[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("line ") && output.status.code() == Some(1), "{said}");
}
