//! The probes that an eBPF profiler watches.

use crate::harness::{Link, command, on_hz3, program, run};

#[test]
fn a_raised_semaphore_makes_the_probes_report_sampled_blocks() {
    run(&mut on_hz3("probes.c")).expect_ok();
    run(&mut command(program("probes.c", Link::Shared))).expect_ok();
}
