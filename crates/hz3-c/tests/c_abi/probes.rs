//! The probes that an eBPF profiler watches.

use crate::harness::{Link, command, preloaded, program, run};

#[test]
fn a_raised_semaphore_makes_the_probes_report_sampled_blocks() {
    run(&mut preloaded(program("probes.c", Link::None))).expect_ok();
    run(&mut command(program("probes.c", Link::Shared))).expect_ok();
}
