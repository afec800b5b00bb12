//! Forks of a process with threads.

use crate::harness::{
    Link, command, helper_library, on_hz3, preloaded, program, program_with_library, run,
    shared_library,
};

#[test]
fn two_hundred_children_of_a_busy_process_work() {
    run(&mut on_hz3("fork_threads.c")).expect_ok();
}

#[test]
fn fork_handlers_of_other_libraries_may_allocate() {
    let library = helper_library("fork_handlers_lib.c");
    let hz3 = shared_library();
    let program = program("fork_handlers.c", Link::None);
    // The order of initialisation depends on the list, so both orders are tested.
    for order in [[&hz3, &library], [&library, &hz3]] {
        let list = format!("{} {}", order[0].display(), order[1].display());
        run(preloaded(&program).env("LD_PRELOAD", list)).expect_ok();
    }
}

/// A library's handler, registered before hz3's, waits while hz3 holds the heap's locks.
#[track_caller]
fn a_handler_that_waits(how: &str) {
    let library = helper_library("fork_circle_lib.c");
    run(command(program_with_library("fork_circle.c", &library)).arg(how)).expect_ok();
}

#[test]
fn a_handler_that_waits_for_an_allocation() {
    a_handler_that_waits("asleep");
}

#[test]
fn a_handler_that_waits_for_a_thread_that_sets_an_option() {
    a_handler_that_waits("options");
}

#[test]
fn a_slow_handler_leaves_the_child_whole() {
    a_handler_that_waits("awake");
}
