//! NULL and ENOMEM when memory ends, an intact heap, and memory that comes back.

use crate::harness::{Link, preloaded, program, run};

#[test]
fn a_limit_on_data_set_by_the_program() {
    run(preloaded(program("exhaustion.c", Link::None)).arg("data")).expect_ok();
}

/// Runs the program under a limit that a shell sets; `bytes` in KiB.
fn under_ulimit(kib: u32, mode: &str) {
    let mut shell = preloaded("/bin/sh");
    let script = format!("ulimit -v {kib} && exec \"$0\" \"$1\"");
    shell.arg("-c").arg(script).arg(program("exhaustion.c", Link::None)).arg(mode);
    run(&mut shell).expect_ok();
}

#[test]
fn a_limit_on_address_space_of_one_gib() {
    under_ulimit(1 << 20, "outside");
}

#[test]
fn a_limit_on_address_space_of_four_gb() {
    under_ulimit(4_000_000, "outside");
}

#[test]
fn everything_locked_in_memory() {
    under_ulimit(1 << 20, "locked");
}
