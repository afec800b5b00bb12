//! Forks of a process with threads.

use crate::harness::{Link, helper_library, preloaded, program, run, shared_library};

#[test]
fn two_hundred_children_of_a_busy_process_work() {
    run(&mut preloaded(program("fork_threads.c", Link::None))).expect_ok();
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
