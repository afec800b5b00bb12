//! `hz3 demo`: the seeds' case in small, for everything that is here.

use super::compare::print_tables;
use super::report;
use crate::cli::DemoArgs;
use crate::experiment::analysis::Analysis;
use crate::experiment::cases::{Case, Level};
use crate::experiment::machine::Machine;
use crate::experiment::record::{FORMAT, Record};
use crate::experiment::session::{self, Ended};
use crate::experiment::trial::Measure;
use crate::failure::Result;
use crate::measure;
use crate::measure::signals::Interruption;
use crate::peers::{Roster, Selection};
use std::time::Duration;

/// S59-2's second reference: the setting with which mimalloc gives everything back at once. Debian 12's 2.0.9
/// does not know it yet.
const REFERENCE: (&str, &str) = ("mimalloc3", "mimalloc3:MIMALLOC_PURGE_DELAY=0");
/// A trial takes a few seconds; one that takes this long hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Measures, prints, and writes the page.
pub(crate) fn run(args: &DemoArgs) -> Result<u8> {
    let mut record = plan(args)?;
    let results = args.out.with_extension("json");
    measure::adopt_orphans()?;
    let signals = Interruption::watch()?;
    eprintln!(
        "{} allocators: bursts of 100,000 blocks that are freed, then idle; then speed. About a minute.",
        record.peers.len()
    );
    let ended = session::run(&mut record, &results, LIMIT, &signals)?;
    print_tables(&record, &Analysis::of(&record));
    report::write(&record, &args.out)?;
    println!("\nthe page with the pictures: {}", args.out.display());
    if ended == Ended::Interrupted {
        return Ok(signals.exit_code().unwrap_or(1));
    }
    Ok(u8::from(record.failures().next().is_some()))
}

fn plan(args: &DemoArgs) -> Result<Record> {
    let roster = Roster::find(&args.peers.extra)?;
    let Selection { mut peers, missing } = roster.select(&args.allocators)?;
    let (known, reference) = REFERENCE;
    if args.allocators.is_empty() && peers.iter().any(|peer| peer.name == known) {
        peers.extend(roster.select(&[reference.to_owned()])?.peers);
    }
    let base = peers.iter().position(|peer| peer.name == "glibc").unwrap_or(0);
    Ok(Record {
        format: FORMAT,
        machine: Machine::here(),
        level: Level::Quick,
        rounds: 3,
        seed: 1,
        measure: Measure::Time,
        latency: false,
        suite: None,
        base,
        peers,
        missing,
        cases: cases(),
        trials: Vec::new(),
    })
}

fn cases() -> Vec<Case> {
    vec![
        Case::bench("burst-idle", "burst-idle 100000 2 2 0 4", false, 1),
        Case::bench("small", "mixed --sizes small --ops 1000000", true, 3),
        Case::bench("remote", "remote --ops 30000", true, 3),
    ]
}
