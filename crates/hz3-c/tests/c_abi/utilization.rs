//! `hz3_utilization`: how full the slabs of blocks are.

use crate::harness::{on_hz3, run};

#[test]
fn a_program_sees_how_full_slabs_are_and_empties_the_sparse_ones() {
    run(on_hz3("utilization.c").env("HZ3_BACKGROUND", "0")).expect_ok();
}
