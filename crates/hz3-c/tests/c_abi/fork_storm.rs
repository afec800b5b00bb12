//! Forks during calls that allocate while they hold a lock of the C library.
//!
//! Each test makes 60 forks, or as many as `HZ3_TEST_FORKS` says.

use std::process::Command;

use crate::harness::{Link, preloaded, program, run};

fn storm(name: &str) -> Command {
    let forks = std::env::var("HZ3_TEST_FORKS").unwrap_or_else(|_| "60".to_owned());
    let program = program("fork_storm.c", Link::None);
    let mut command = preloaded(program);
    command.args([name, &forks]);
    command
}

#[track_caller]
fn passes(name: &str) {
    run(&mut storm(name)).expect_ok();
}

#[test]
fn forks_complete_during_calls_of_streams() {
    passes("stdio");
    passes("popen");
    passes("directories");
}

#[test]
fn forks_complete_during_calls_of_the_environment_and_the_time_zone() {
    passes("environment");
    passes("zones");
}

#[test]
fn forks_complete_during_calls_of_locales_and_conversions() {
    passes("locale");
    passes("messages");
    passes("iconv");
}

#[test]
fn forks_complete_during_calls_of_the_loader() {
    passes("loader");
}

#[test]
fn forks_complete_while_handlers_are_registered() {
    passes("exit-handlers");
    passes("fork-handlers");
}

#[test]
fn forks_complete_while_threads_start_and_end() {
    passes("threads");
    passes("keys");
}

#[test]
fn forks_complete_during_look_ups_of_users_and_hosts() {
    passes("users");
    passes("hosts");
}

/// The stacks of sampled blocks are read while other threads change the list of loaded libraries.
#[test]
fn forks_complete_while_a_profile_is_taken() {
    let profile = std::env::temp_dir().join(format!("hz3-storm-{}.pb.gz", std::process::id()));
    for name in ["loader", "stdio", "threads"] {
        let mut command = storm(name);
        command.env("HZ3_PROFILE", &profile).env("HZ3_PROFILE_RATE", "1K").env("HZ3_GUARD", "1");
        run(&mut command).expect_ok();
        std::fs::remove_file(&profile).expect("the profile that the exit wrote");
    }
}
