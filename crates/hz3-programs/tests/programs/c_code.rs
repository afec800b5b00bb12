//! A Rust program with C code in it: by the feature `override` hz3 serves both.

use std::fs;
use std::path::Path;
use std::process::Command;

use hz3_programs::{Result, packages};
use hz3_tools::capture;

/// Builds the program in a directory outside the workspace, where the feature meets no library that
/// exports the same names, and returns what it prints.
fn build_and_run(name: &str, features: &str, flags: &str) -> Result<String> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&directory)?;
    let core = package.join("../hz3");
    let manifest = format!(
        "[package]\nname = \"both\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
         [[bin]]\nname = \"both\"\npath = \"main.rs\"\n\
         [dependencies]\nhz3 = {{ path = '{}', features = [{features}] }}\n[workspace]\n",
        core.display()
    );
    fs::write(directory.join("Cargo.toml"), manifest)?;
    for file in ["main.rs", "build.rs", "part.c"] {
        fs::copy(package.join("data/override").join(file), directory.join(file))?;
    }
    // The versions of the workspace: what it was built with is on this machine.
    fs::copy(package.join("../../Cargo.lock"), directory.join("Cargo.lock"))?;
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["run", "--quiet", "--offline", "--target-dir", "built"])
        .current_dir(&directory)
        .env("RUSTFLAGS", flags)
        .env("PART_CC", packages::find("gcc")?.path());
    capture(&mut command)
}

#[test]
fn is_served_too() -> Result {
    assert_eq!(build_and_run("both", "\"override\"", "")?, "both served\n");
    Ok(())
}

#[test]
fn is_not_without_the_feature() {
    let failure = build_and_run("one", "", "").expect_err("C code keeps the C library's malloc");
    assert!(failure.to_string().contains("is_served(block)"), "{failure}");
}

#[test]
fn is_served_in_a_static_program() -> Result {
    let output = build_and_run("static", "\"override\"", "-Ctarget-feature=+crt-static")?;
    assert_eq!(output, "both served\n");
    Ok(())
}
