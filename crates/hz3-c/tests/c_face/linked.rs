//! The same programs with hz3 linked in, in every way there is.

use crate::harness::{Link, command, program, run};

const WAYS: [Link; 4] = [Link::Shared, Link::Archive, Link::ArchivePie, Link::Static];

#[test]
fn c_programs() {
    for link in WAYS {
        for source in ["family_edges.c", "family_contents.c"] {
            run(&mut command(program(source, link))).expect_ok();
        }
    }
}

#[test]
fn cxx_programs() {
    for link in WAYS {
        for source in ["cxx_operators.cc", "cxx_handler.cc", "cxx_workload.cc"] {
            run(&mut command(program(source, link))).expect_ok();
        }
    }
}

#[test]
fn threads_and_forks() {
    for link in WAYS {
        run(command(program("threads.c", link)).arg("keys")).expect_ok();
        run(&mut command(program("fork_handlers.c", link))).expect_ok();
    }
}

#[test]
fn allocation_before_and_after_main() {
    for link in WAYS {
        run(&mut command(program("early.c", link))).expect_output("ok\nlast\n");
    }
}
