//! `HZ3_LIMIT`: NULL and ENOMEM at a limit of hz3's own, or service beyond it.

use std::process::Command;

use crate::harness::{Link, preloaded, program, run};

#[test]
fn memory_ends_at_the_limit() {
    let program = program("exhaustion.c", Link::None);
    for background in ["0", "1"] {
        let mut command = preloaded(&program);
        command.env("HZ3_LIMIT", "384M").env("HZ3_BACKGROUND", background).arg("outside");
        run(&mut command).expect_ok();
    }
}

#[test]
fn beyond_the_limit_memory_is_served_when_wanted() {
    let mut command = preloaded(program("threads.c", Link::None));
    command.env("HZ3_LIMIT", "1M").env("HZ3_LIMIT_MODE", "reclaim").arg("remote");
    run(&mut command).expect_ok();
}

#[test]
fn the_limit_of_the_control_group() {
    // Files in the place of the real ones, for this command alone.
    let may = Command::new("unshare").args(["--mount", "true"]).status();
    if !may.is_ok_and(|status| status.success()) {
        eprintln!("passed over: no right to mount files over the system's");
        return;
    }
    let script = "mount -t tmpfs none /sys/fs/cgroup && echo 536870912 >/sys/fs/cgroup/memory.max \
                  && exec env LD_PRELOAD=\"$LIBRARY\" HZ3_LIMIT=75% \"$0\" outside";
    let mut command = crate::harness::command("unshare");
    command.env("LIBRARY", crate::harness::shared_library());
    command.args(["--mount", "sh", "-c", script]).arg(program("exhaustion.c", Link::None));
    run(&mut command).expect_ok();
}
