//! The same programs with hz3 linked in every possible way.

use crate::harness::{Link, command, program, run};

const WAYS: [Link; 4] = [Link::Shared, Link::Archive, Link::ArchivePie, Link::Static];

#[test]
fn c_programs_work() {
    for link in WAYS {
        for source in ["family_edges.c", "family_contents.c"] {
            run(&mut command(program(source, link))).expect_ok();
        }
    }
}

#[test]
fn cxx_programs_work() {
    for link in WAYS {
        for source in ["cxx_operators.cc", "cxx_handler.cc", "cxx_workload.cc"] {
            run(&mut command(program(source, link))).expect_ok();
        }
    }
}

#[test]
fn threads_and_forks_work() {
    for link in WAYS {
        run(command(program("threads.c", link)).arg("keys")).expect_ok();
        run(&mut command(program("fork_handlers.c", link))).expect_ok();
    }
}

#[test]
fn allocation_works_before_and_after_main() {
    for link in WAYS {
        run(&mut command(program("early.c", link))).expect_output("ok\nlast\n");
    }
}

#[test]
fn blocks_of_the_c_library_are_passed_on_to_it() {
    // A static program has one allocator only.
    for link in [Link::Shared, Link::Archive, Link::ArchivePie] {
        run(&mut command(program("foreign.c", link))).expect_ok();
    }
}

#[test]
fn misuse_ends_the_program() {
    for link in WAYS {
        for (abuse, reason) in [("double", "double free"), ("stack", "in a stack")] {
            let outcome = run(command(program("misuse.c", link)).arg(abuse));
            assert_eq!(outcome.signal(), Some(libc::SIGABRT), "{link:?}, {abuse}: {outcome}");
            assert!(outcome.stderr.contains(reason), "{link:?}, {abuse}: {outcome}");
        }
    }
    // A static program has no allocator to which a foreign block could be passed on.
    let outcome = run(command(program("misuse.c", Link::Static)).arg("mapped"));
    assert_eq!(outcome.signal(), Some(libc::SIGABRT), "{outcome}");
    assert!(outcome.stderr.contains("no other allocator"), "{outcome}");
}
