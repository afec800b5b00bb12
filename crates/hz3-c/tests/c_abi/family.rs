//! Every function of the malloc family.

use crate::harness::{Link, preloaded, program, run};

#[test]
fn edge_cases_are_handled_as_in_glibc() {
    run(&mut preloaded(program("family_edges.c", Link::None))).expect_ok();
}

#[test]
fn alignments_up_to_128_mib_are_kept() {
    run(&mut preloaded(program("family_alignment.c", Link::None))).expect_ok();
}

#[test]
fn contents_are_kept_and_zeroed_is_zero() {
    run(&mut preloaded(program("family_contents.c", Link::None))).expect_ok();
}

#[test]
fn reports_are_sensible() {
    let mut command = preloaded(program("family_report.c", Link::None));
    // With this policy hz3 gives nothing back until the program asks.
    run(command.env("HZ3_COUNT", "1").env("HZ3_POLICY", "off")).expect_ok();
}
