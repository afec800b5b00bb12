//! When memory is exhausted: NULL with ENOMEM, an intact heap, and memory that comes back.

use crate::harness::{Link, on_hz3, preloaded, program, run};

#[test]
fn malloc_fails_at_a_data_limit_of_the_program() {
    run(on_hz3("exhaustion.c").arg("data")).expect_ok();
}

/// Runs the program under a limit that a shell sets; `bytes` in KiB.
fn under_ulimit(kib: u32, mode: &str) {
    let mut shell = preloaded("/bin/sh");
    let script = format!("ulimit -v {kib} && exec \"$0\" \"$1\"");
    shell.arg("-c").arg(script).arg(program("exhaustion.c", Link::None)).arg(mode);
    run(&mut shell).expect_ok();
}

#[test]
fn malloc_fails_at_an_address_space_limit_of_one_gib() {
    under_ulimit(1 << 20, "outside");
}

#[test]
fn malloc_fails_at_an_address_space_limit_of_four_gb() {
    under_ulimit(4_000_000, "outside");
}

#[test]
fn malloc_fails_at_the_limit_of_a_process_locked_in_memory() {
    under_ulimit(1 << 19, "locked");
}
