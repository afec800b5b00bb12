//! Signals that interrupt an allocation.

use crate::harness::{Link, preloaded, program, run};

#[test]
fn timers_at_a_high_rate_do_not_disturb_allocations() {
    run(&mut preloaded(program("signals.c", Link::None))).expect_ok();
}
