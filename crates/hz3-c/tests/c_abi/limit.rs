//! `HZ3_LIMIT`: at the limit malloc returns NULL with ENOMEM, or succeeds in the mode `reclaim`.

use std::process::Command;

use crate::harness::{Link, Outcome, on_hz3, preloaded, program, run, with_own_mounts};

#[test]
fn malloc_fails_at_the_limit() {
    let program = program("exhaustion.c", Link::None);
    for background in ["0", "1"] {
        let mut command = preloaded(&program);
        command.env("HZ3_LIMIT", "384M").env("HZ3_BACKGROUND", background).arg("outside");
        run(&mut command).expect_ok();
    }
}

#[test]
fn malloc_succeeds_beyond_the_limit_in_the_mode_reclaim() {
    let mut command = on_hz3("threads.c");
    command.env("HZ3_LIMIT", "1M").env("HZ3_LIMIT_MODE", "reclaim").arg("remote");
    run(&mut command).expect_ok();
}

/// Returns the command of the program that sets a function for the limit, of 64 MiB.
fn on_limit(mode: &str) -> Command {
    let mut command = on_hz3("on_limit.c");
    command.arg(mode).env("HZ3_LIMIT", "64M").env("HZ3_BACKGROUND", "0");
    command
}

#[test]
fn a_program_that_frees_memory_at_the_limit_gets_its_block() {
    run(&mut on_limit("frees")).expect_ok();
}

#[test]
fn a_function_that_frees_nothing_is_called_once_and_malloc_fails() {
    run(&mut on_limit("nothing")).expect_ok();
}

#[test]
fn a_function_that_allocates_at_the_limit_is_not_called_by_itself() {
    run(&mut on_limit("allocates")).expect_ok();
    run(on_limit("allocates").env("HZ3_COUNT", "1")).expect_ok();
}

#[test]
fn in_the_mode_reclaim_no_function_is_called() {
    run(on_limit("reclaim").env("HZ3_LIMIT_MODE", "reclaim")).expect_ok();
}

#[test]
fn the_profile_is_written_at_the_limit_once() {
    let path = format!("{}/at-limit-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let mut command = on_limit("profile");
    run(command.arg(&path).env("HZ3_PROFILE", &path)).expect_ok();
    std::fs::remove_file(&path).expect("it is written at exit too");
}

/// Runs a program with 75 % of the limit of its control group. The limit is in `file`; /proc shows
/// this membership and this mount.
fn in_group(membership: &str, mount: &str, file: &str, contents: &str) -> Outcome {
    let script = "mount -t tmpfs none /proc && mkdir -p /proc/self /proc/groups/part
        printf '%b\\n' \"$1\" >/proc/self/cgroup
        printf '%s\\n' \"$2\" >/proc/self/mountinfo
        printf '%s\\n' \"$4\" >\"/proc/groups/part/$3\"
        exec env LD_PRELOAD=\"$LIBRARY\" HZ3_LIMIT=75% \"$0\" outside";
    let mut command = with_own_mounts(script);
    command.arg(program("exhaustion.c", Link::None)).args([membership, mount, file, contents]);
    run(&mut command)
}

const VERSION_2: [&str; 2] = ["0::/part", "30 23 0:26 / /proc/groups rw - cgroup2 cgroup2 rw"];
const VERSION_1: [&str; 2] = [
    "4:cpu,memory:/docker/part\n0::/",
    "35 31 0:32 /docker /proc/groups rw - cgroup none rw,memory",
];

#[test]
fn malloc_fails_at_a_part_of_the_control_groups_limit() {
    for ([membership, mount], file, contents) in
        [(VERSION_2, "memory.max", "536870912"), (VERSION_1, "memory.limit_in_bytes", "536870912")]
    {
        in_group(membership, mount, file, contents).expect_ok();
    }
}

#[test]
fn a_control_group_without_a_limit_is_reported() {
    let script = "mount -t tmpfs none /proc
        export LD_PRELOAD=\"$LIBRARY\" HZ3_LIMIT=auto
        exec \"$0\"";
    let outcome = run(with_own_mounts(script).arg(program("options.c", Link::None)));
    assert!(outcome.status.success() && outcome.stdout == "ok\n", "{outcome}");
    let line = "hz3: HZ3_LIMIT=100%: expected a memory limit of this process's control group, \
                found none; using 0\n";
    assert_eq!(outcome.stderr, line);
}
