//! Every function of the malloc family.

use crate::harness::{on_hz3, run};

#[test]
fn edge_cases_are_handled_as_in_glibc() {
    run(&mut on_hz3("family_edges.c")).expect_ok();
}

#[test]
fn alignments_up_to_128_mib_are_kept() {
    run(&mut on_hz3("family_alignment.c")).expect_ok();
}

#[test]
fn contents_are_kept_and_zeroed_is_zero() {
    run(&mut on_hz3("family_contents.c")).expect_ok();
}

#[test]
fn reports_are_sensible() {
    let mut command = on_hz3("family_report.c");
    // With this policy hz3 gives nothing back until the program asks.
    run(command.env("HZ3_COUNT", "1").env("HZ3_POLICY", "off")).expect_ok();
}
