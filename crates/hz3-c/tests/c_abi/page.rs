//! The statistics page of a process, as another process finds and reads it.

use crate::harness::{Link, command, on_hz3, program, run};

#[test]
fn a_parent_finds_and_reads_the_page_of_its_child() {
    run(&mut on_hz3("page.c")).expect_ok();
    for link in [Link::Shared, Link::ArchivePie, Link::Static] {
        run(&mut command(program("page.c", link))).expect_ok();
    }
}

#[test]
fn the_page_is_kept_without_a_reclaimer_too() {
    for (name, value) in [("HZ3_BACKGROUND", "0"), ("HZ3_POLICY", "off")] {
        run(on_hz3("page.c").env(name, value)).expect_ok();
    }
}
