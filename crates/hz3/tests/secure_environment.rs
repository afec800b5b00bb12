//! In a program with raised privileges its own configuration counts, its caller's environment not.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use hz3::{Config, Configured, Report};

#[global_allocator]
static ALLOCATOR: Configured = Configured::new(Config::new().report(Report::Text));

/// A user without rights: nobody.
const NOBODY: u32 = 65534;

/// Returns the stderr of this program, or of a copy of it, when it runs without a test.
fn report_of(program: &Path) -> String {
    let mut command = Command::new(program);
    command.args(["--exact", "no test has this name"]);
    let done = command.env("HZ3_STATS", "json").output().expect("the program runs");
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stderr).expect("text")
}

#[test]
fn the_callers_environment_does_not_count() {
    let program = std::env::current_exe().expect("its own path");
    let plain = report_of(&program);
    assert!(plain.starts_with("{\"allocated\":"), "the environment wins elsewhere: {plain}");

    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("set-user-id");
    fs::copy(&program, &copy).expect("a copy");
    chown(&copy, Some(NOBODY), None).expect("root: this test makes a set-user-ID program");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o4755)).expect("the copy is ours");
    let raised = report_of(&copy);
    // JSON here may also mean that the file system ignores the set-user-ID bit (nosuid).
    assert!(raised.starts_with("hz3: allocated="), "with raised privileges: {raised}");
}
