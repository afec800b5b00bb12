//! Miri on the tests of crate hz3.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use hz3_tools::{Failure, Result};

use super::cargo;
use crate::{counts, setup};

/// Parts of the tests for each of Miri's processes: several, as some tests take a hundred times as
/// long as others, and few, as the start of each takes seconds.
const PARTS: usize = 6;

/// How many of the tests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Those of the modules in `SHORT`.
    Short,
    Full,
}

/// The modules whose unsafe code touches memory by itself; the tests of whole heaps take the most
/// time.
const SHORT: [&str; 8] =
    ["base::", "cache::", "central::", "heap::", "os::", "segment::", "thread::", "transfer::"];

impl Extent {
    fn includes(self, test: &str) -> bool {
        self == Self::Full || SHORT.iter().any(|module| test.starts_with(module))
    }
}

/// Runs the tests of crate hz3 under Miri: in as many processes as there are processors, as one
/// process interprets one thread at a time.
pub(crate) fn miri(extent: Extent, tree_borrows: bool, filter: Option<&str>) -> Result {
    setup::require_nightly(&["miri", "rust-src"])?;
    // The tests read no file and no clock, but proptest asks for the working directory.
    let mut flags = String::from(
        "-Zmiri-strict-provenance -Zmiri-symbolic-alignment-check -Zmiri-disable-isolation",
    );
    if tree_borrows {
        flags.push_str(" -Zmiri-tree-borrows");
    }
    let harness = |words: &[&str]| {
        let mut command = cargo(&["miri", "test", "--package", "hz3", "--lib", "--"]);
        command.args(words).env("MIRIFLAGS", &flags);
        command
    };
    let mut tests = counts::names(harness(&[]).args(filter))?;
    tests.retain(|test| extent.includes(test));
    if extent == Extent::Short {
        println!("{} of the tests; without --short Miri runs all", tests.len());
    }
    let processes = thread::available_parallelism().map_or(1, NonZero::get);
    let parts = (processes * PARTS).min(tests.len());
    let next = AtomicUsize::new(0);
    let worker = || -> Result<u64> {
        let mut done = 0;
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= parts {
                return Ok(done);
            }
            // Dealt out in turn: tests of one module take about the same time.
            let names = tests.iter().skip(part).step_by(parts);
            let words = ["--exact", "-Zunstable-options", "--report-time"];
            let counts = counts::some(harness(&words).args(names))?;
            // A test that is ignored under Miri gives the reason in its source.
            done += counts.passed + counts.ignored;
        }
    };
    let done = thread::scope(|scope| {
        let workers: Vec<_> = (0..processes).map(|_| scope.spawn(worker)).collect();
        let lost = |_| Err(Failure::new("a worker panicked"));
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(lost)).sum::<Result<u64>>()
    })?;
    match tests.len() as u64 {
        0 => Err(Failure::new("no test ran")),
        all if all == done => Ok(()),
        all => Err(Failure::new(format!("of {all} tests {done} ran"))),
    }
}
