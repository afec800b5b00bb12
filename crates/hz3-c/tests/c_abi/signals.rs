//! Signals that interrupt an allocation, and the small stacks of their handlers.

use crate::harness::{on_hz3, run};

#[test]
fn timers_at_a_high_rate_do_not_disturb_allocations() {
    run(&mut on_hz3("signals.c")).expect_ok();
}

/// A handler on an alternate stack of 8 KiB may allocate, as under glibc. With AVX-512 the kernel's
/// frame takes 3.4 KiB of it.
#[test]
fn calls_fit_into_the_stack_of_a_handler() {
    // Code that checks itself takes more.
    let limit = if cfg!(feature = "check") { "32768" } else { "4096" };
    run(on_hz3("stack_depth.c").arg(limit)).expect_ok();
}

/// The call that meets a due dump of the profile writes it. In `realloc` that takes 4168 bytes.
#[test]
fn a_dump_of_the_profile_fits_into_the_stack_of_a_handler() {
    let limit = if cfg!(feature = "check") { "32768" } else { "4608" };
    let mut command = on_hz3("stack_depth.c");
    let path = std::env::temp_dir().join(format!("hz3-depth-{}", std::process::id()));
    command.args([limit, "10"]).env("HZ3_PROFILE", &path).env("HZ3_PROFILE_SIGNAL", "10");
    run(&mut command).expect_ok();
    std::fs::remove_file(path).expect("a profile");
}

/// Without a reclaimer's thread the call that meets a due file of metrics writes it. A tick of such
/// a process takes 4.4 KiB by itself; the file takes no more.
#[test]
fn a_file_of_metrics_fits_into_the_stack_of_a_handler() {
    let limit = if cfg!(feature = "check") { "32768" } else { "4608" };
    let mut command = on_hz3("stack_depth.c");
    let path = std::env::temp_dir().join(format!("hz3-depth-metrics-{}", std::process::id()));
    command.arg(limit).env("HZ3_METRICS", &path).env("HZ3_METRICS_MS", "100");
    command.env("HZ3_BACKGROUND", "0").env("HZ3_TICK", "1");
    run(&mut command).expect_ok();
    std::fs::remove_file(path).expect("a file of metrics");
}
