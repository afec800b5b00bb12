//! Operators `new` and `delete`, and the exceptions that they throw.

use crate::harness::{Link, helper_library, on_hz3, preloaded, program, run};

#[test]
fn all_forms_of_new_and_delete_work() {
    run(&mut on_hz3("cxx_operators.cc")).expect_ok();
}

#[test]
fn new_calls_its_handler_or_throws_bad_alloc() {
    run(&mut on_hz3("cxx_handler.cc")).expect_ok();
}

#[test]
fn new_succeeds_after_its_handler_freed_a_reserve() {
    let program = program("cxx_reserve.cc", Link::None);
    let mut limited = preloaded("/bin/sh");
    limited.args(["-c", "ulimit -v 1500000 && exec \"$0\""]).arg(program);
    run(&mut limited).expect_ok();
}

#[test]
fn containers_and_exceptions_work_in_four_threads() {
    run(&mut on_hz3("cxx_workload.cc")).expect_ok();
}

#[test]
fn other_forms_call_the_plain_operators_of_the_program() {
    run(&mut on_hz3("cxx_replaced.cc")).expect_ok();
    run(&mut crate::harness::command(program("cxx_replaced.cc", Link::Shared))).expect_ok();
}

#[test]
fn new_throws_by_the_runtime_of_a_plugin() {
    let plugin = helper_library("cxx_plugin_lib.cc");
    run(on_hz3("cxx_plugin.c").arg(plugin)).expect_ok();
}

#[test]
fn plain_new_ends_a_process_without_a_cxx_runtime() {
    let outcome = run(&mut on_hz3("cxx_without_runtime.c"));
    assert_eq!(outcome.signal(), Some(libc::SIGABRT), "{outcome}");
    assert_eq!(outcome.stdout, "ok\n", "{outcome}");
    assert!(outcome.stderr.contains("no C++ runtime"), "{outcome}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome}");
}
