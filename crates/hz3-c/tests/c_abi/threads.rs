//! Threads that come and go.

use crate::harness::{Link, preloaded, program, run};

fn run_with(way: &str) {
    run(preloaded(program("threads.c", Link::None)).arg(way)).expect_ok();
}

#[test]
fn five_thousand_short_ones() {
    run_with("short");
}

#[test]
fn sixty_four_that_end_in_any_order() {
    run_with("order");
}

#[test]
fn destructors_that_allocate() {
    run_with("keys");
}

#[test]
fn detached() {
    run_with("detached");
}

#[test]
fn blocks_of_threads_that_have_ended() {
    run_with("remote");
}

#[test]
fn main_ends_before_the_last() {
    run_with("main-ends");
}

#[test]
fn no_call_is_a_cancellation_point() {
    let mut command = preloaded(program("cancellation.c", Link::None));
    let outcome = run(&mut command);
    assert!(outcome.status.success() && outcome.stdout == "ok\n", "{outcome}");
}
