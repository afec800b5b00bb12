//! Forks beside calls that allocate while they hold a lock of the C library's.
//!
//! A storm is bounded in forks: 60, or as many as `HZ3_TEST_FORKS` says.

use crate::harness::{Link, preloaded, program, run};

#[track_caller]
fn passes(storm: &str) {
    let forks = std::env::var("HZ3_TEST_FORKS").unwrap_or_else(|_| "60".to_owned());
    let program = program("fork_storm.c", Link::None);
    run(preloaded(program).args([storm, &forks])).expect_ok();
}

#[test]
fn streams() {
    passes("stdio");
    passes("popen");
    passes("directories");
}

#[test]
fn the_environment_and_the_time_zone() {
    passes("environment");
    passes("zones");
}

#[test]
fn locales_and_conversions() {
    passes("locale");
    passes("messages");
    passes("iconv");
}

#[test]
fn the_loader() {
    passes("loader");
}

#[test]
fn handlers_at_exit_and_at_fork() {
    passes("exit-handlers");
    passes("fork-handlers");
}

#[test]
fn threads_and_their_keys() {
    passes("threads");
    passes("keys");
}

#[test]
fn users_and_hosts() {
    passes("users");
    passes("hosts");
}
