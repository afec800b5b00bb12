//! The statistics page of a process, as another process finds and reads it.

use crate::harness::{Link, command, preloaded, program, run};

#[test]
fn a_parent_finds_and_reads_the_page_of_its_child() {
    run(&mut preloaded(program("page.c", Link::None))).expect_ok();
    for link in [Link::Shared, Link::ArchivePie, Link::Static] {
        run(&mut command(program("page.c", link))).expect_ok();
    }
}

#[test]
fn the_page_is_kept_without_a_reclaimer_too() {
    for (name, value) in [("HZ3_BACKGROUND", "0"), ("HZ3_POLICY", "off")] {
        run(preloaded(program("page.c", Link::None)).env(name, value)).expect_ok();
    }
}
