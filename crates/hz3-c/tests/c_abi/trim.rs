//! `malloc_trim` in a loop.

use crate::harness::{on_hz3, run};

#[test]
fn a_trim_in_a_loop_gives_back_what_was_freed_since_the_last_one() {
    // No thread of hz3's gives memory back between two trims.
    run(on_hz3("trim.c").env("HZ3_POLICY", "off")).expect_ok();
}
