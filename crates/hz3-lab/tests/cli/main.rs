//! `hz3` on the command line, from its start to its exit status and its files.
//!
//! One binary, because each costs seconds to build. The tests that put a page of statistics into
//! their own process are in `look.rs` and `silent.rs`, a binary each.

#[path = "../common/mod.rs"]
mod common;

mod ab;
mod bench;
mod compare;
mod pages;
mod peers;
mod profile;
mod report;
mod run;
mod watch;
mod wrong_uses;
