//! Threads that start and end.

use crate::harness::{on_hz3, run};

fn run_with(way: &str) {
    run(on_hz3("threads.c").arg(way)).expect_ok();
}

#[test]
fn five_thousand_short_threads_leave_no_tables_behind() {
    run_with("short");
}

#[test]
fn sixty_four_threads_may_end_in_any_order() {
    run_with("order");
}

#[test]
fn destructors_of_thread_keys_may_allocate() {
    run_with("keys");
}

#[test]
fn detached_threads_may_outlive_main() {
    run_with("detached");
}

#[test]
fn detached_threads_that_allocate_nothing_leave_no_cache_behind() {
    run_with("no-calls");
}

#[test]
fn threads_that_end_without_a_word_leave_few_caches_behind() {
    run_with("silent");
}

#[test]
fn blocks_of_ended_threads_can_be_freed() {
    run_with("remote");
}

#[test]
fn the_process_ends_with_its_last_thread_after_main() {
    run_with("main-ends");
}

#[test]
fn no_call_is_a_cancellation_point() {
    let mut command = on_hz3("cancellation.c");
    let outcome = run(&mut command);
    assert!(outcome.status.success() && outcome.stdout == "ok\n", "{outcome}");
}
