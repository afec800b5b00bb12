//! `hz3_utilization`: how full the slabs of blocks are.

use crate::harness::{Link, preloaded, program, run};

#[test]
fn a_program_sees_how_full_slabs_are_and_empties_the_sparse_ones() {
    run(preloaded(program("utilization.c", Link::None)).env("HZ3_BACKGROUND", "0")).expect_ok();
}
