//! Unusual systems: raised privileges, no `/proc`, and purges that do nothing.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::harness::{Link, command, on_hz3, program, run, with_own_mounts};

/// The id of the user `nobody`.
const NOBODY: u32 = 65534;

/// Makes a copy of a program that runs as [`NOBODY`] when root calls it.
fn set_user_id(program: &Path) -> PathBuf {
    let copy = program.with_extension("set-user-id");
    fs::copy(program, &copy).expect("the program can be copied");
    chown(&copy, Some(NOBODY), None).expect("root: this test makes a set-user-ID program");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o4755)).expect("the copy is ours");
    copy
}

#[test]
fn a_process_with_raised_privileges_ignores_the_environment() {
    for link in [Link::Archive, Link::ArchivePie, Link::Static] {
        let program = program("privileges.c", link);
        let mut plain = command(&program);
        let outcome = run(plain.env("HZ3_STATS", "json").env("HZ3_NONSENSE", "1"));
        assert!(outcome.status.success() && outcome.stdout == "same user\n", "{outcome}");
        assert_eq!(outcome.stderr.lines().count(), 2, "{link:?}: {outcome}");

        let mut raised = command(set_user_id(&program));
        let outcome = run(raised.env("HZ3_STATS", "json").env("HZ3_NONSENSE", "1"));
        // Another line on stdout: the file system ignores the set-user-ID bit (nosuid).
        outcome.expect_output("another user\n");
    }
}

#[test]
fn the_environment_is_found_without_proc() {
    let script = "mount -t tmpfs none /proc
        export HZ3_STATS=json HZ3_TICK=0
        [ $1 = linked ] || export LD_PRELOAD=\"$LIBRARY\"
        exec \"$0\"";
    for link in [Link::None, Link::Shared, Link::Archive, Link::ArchivePie, Link::Static] {
        let how = if link == Link::None { "preloaded" } else { "linked" };
        let outcome = run(with_own_mounts(script).arg(program("options.c", link)).arg(how));
        assert!(outcome.status.success() && outcome.stdout == "ok\n", "{link:?}: {outcome}");
        let lines: Vec<&str> = outcome.stderr.lines().collect();
        assert_eq!(lines.len(), 2, "{link:?}: {outcome}");
        assert!(lines[0].starts_with("hz3: HZ3_TICK=0: "), "{link:?}: {outcome}");
        assert!(lines[1].starts_with("{\"allocated\":"), "{link:?}: {outcome}");
    }
}

#[test]
fn zeroed_memory_is_zero_where_purges_do_nothing_or_are_refused() {
    for error in [0, libc::EINVAL] {
        run(on_hz3("purge_ignored.c").arg(error.to_string())).expect_ok();
    }
}

#[test]
fn a_huge_block_in_pages_that_the_arena_skips_is_resized_and_freed() {
    for how in [None, Some("cut"), Some("move")] {
        run(on_hz3("skipped.c").args(how)).expect_ok();
    }
}
