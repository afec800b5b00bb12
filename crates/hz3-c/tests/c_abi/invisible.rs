//! Programs do not notice the reclaimer: they behave as on the C library's malloc.

use crate::harness::{Link, command, plugin, preloaded, program, run};

/// Runs a mode of the program without hz3, which shows that the test is right, and on hz3.
fn on_both(way: &str) {
    let program = program("invisible.c", Link::None);
    run(command(&program).arg(way)).expect_ok();
    run(preloaded(&program).arg(way)).expect_ok();
}

#[test]
fn a_process_without_threads_gets_none() {
    on_both("alone");
}

#[test]
fn a_process_without_threads_gives_back_what_it_frees() {
    on_both("bound");
}

#[test]
fn a_supervisor_learns_that_its_worker_has_ended() {
    for way in ["exit", "filter", "strict"] {
        on_both(way);
    }
}

#[test]
fn namespaces_are_open_to_a_process_without_threads() {
    on_both("namespaces");
}

#[test]
fn setuid_reaches_every_thread() {
    on_both("credentials");
}

#[test]
fn no_thread_keeps_an_old_table_of_files() {
    on_both("files");
}

#[test]
fn the_reclaimer_of_a_real_time_thread_is_an_ordinary_one() {
    on_both("real-time");
}

#[test]
fn the_reclaimers_thread_ends_and_starts_again() {
    on_both("comes-and-goes");
}

#[test]
fn hooks_of_madvise_see_every_page_that_is_given_back() {
    on_both("hooks");
}

#[test]
fn threads_that_allocate_nothing_leave_no_memory_behind() {
    on_both("idlers");
}

#[test]
fn children_of_vfork_and_of_a_bare_fork_work() {
    on_both("borrowed");
    on_both("bare-fork");
}

#[test]
fn a_plugin_that_contains_hz3_can_be_unloaded() {
    run(command(program("plugin.c", Link::None)).arg(plugin("plugin_lib.c"))).expect_ok();
}
