//! `hz3 compare`.

mod tables;
mod targets;

use crate::cli::{CompareArgs, parse};
use crate::experiment::analysis::Analysis;
use crate::experiment::cases::{Case, Level, Suite, What};
use crate::experiment::record::{FORMAT, Record, own_command};
use crate::experiment::session::{self, Ended, Limits};
use crate::experiment::suites::Line;
use crate::experiment::trial::Measure;
use crate::failure::{self, Failure, Result};
use crate::files;
use crate::measure;
use crate::measure::signals::Interruption;

use crate::peers::{Candidates, Peer, Selection};
use crate::text;
use hz3_tools::machine::Machine;
use std::path::Path;

pub(super) use tables::{all as tables, sentence};

/// Exit code when a trial failed.
const TRIAL_FAILED: u8 = 1;
/// Exit code when a target of the suite is missed.
const TARGET_MISSED: u8 = 3;

/// Measures, or resumes measuring, and prints the tables.
pub(crate) fn run(args: &CompareArgs) -> Result<u8> {
    let mut record = if args.resume {
        session::resume(&args.out)?
    } else {
        may_write_results(&args.out, args.effort.force)?;
        plan(args)?
    };
    measure::adopt_orphans()?;
    let signals = Interruption::watch()?;
    let limits = Limits::of(&args.effort);
    let ended = session::run(&mut record, &args.out, limits, &signals)?;
    let analysis = Analysis::of(&record);
    let lines = record.suite.map(|suite| suite.lines(&record, &analysis)).unwrap_or_default();
    if args.json {
        text::out::line(&json(&record, &analysis, &lines)?)?;
    } else {
        let mut out = tables::all(&record, &analysis);
        if let Some(suite) = record.suite {
            out += &targets::all(&record, &analysis, suite, &lines);
        }
        let (json, csv) = files::json_and_csv(&args.out);
        text::out::line(&format!("{out}\nresults: {} and {}", json.display(), csv.display()))?;
    }
    if ended == Ended::Interrupted {
        let out = args.out.display();
        text::err::note(&format!(
            "hz3: interrupted; continue with `hz3 compare --resume --out {out}`"
        ))?;
        return Ok(signals.exit_code().unwrap_or(TRIAL_FAILED));
    }
    Ok(if record.failures().next().is_some() {
        TRIAL_FAILED
    } else if lines.iter().any(|line| line.met == Some(false)) {
        TARGET_MISSED
    } else {
        0
    })
}

/// Fails if `hz3 bench` does not understand a case.
pub(super) fn check_cases(cases: &[Case], standard: &[Case]) -> Result<()> {
    let workloads = parse::workloads();
    let names = workloads.iter().chain(standard.iter().map(|case| &case.name)).map(String::as_str);
    for case in cases {
        let What::Bench(words) = &case.what else { continue };
        let first = words.first().map_or("", String::as_str);
        if !workloads.iter().any(|name| name == first) {
            return Err(failure::unknown("workload", first, names));
        }
        parse::bench(words)?;
    }
    Ok(())
}

/// Fails if there are results under this name and `force` is not set.
pub(super) fn may_write_results(out: &Path, force: bool) -> Result<()> {
    let (json, csv) = files::json_and_csv(out);
    files::may_write(&json, force)?;
    files::may_write(&csv, force)
}

fn plan(args: &CompareArgs) -> Result<Record> {
    let level = args.effort.level().unwrap_or(Level::Normal);
    let rounds = args.effort.rounds;
    let cases = if let Some(suite) = args.suite {
        suite.cases(level, rounds)
    } else {
        let mut cases = level.cases(level.standard(), &args.workloads, &args.commands)?;
        check_cases(&cases, &level.standard())?;
        for case in &mut cases {
            case.rounds = rounds.unwrap_or(case.rounds);
        }
        cases
    };
    let candidates = Candidates::find(&args.peers.extra)?;
    let mut selection = candidates.select(&args.allocators)?;
    let variants = args.suite.filter(|_| args.allocators.is_empty()).map(Suite::variants);
    for variant in variants.unwrap_or_default() {
        let Selection { peers, missing } = candidates.select(&[(*variant).to_owned()])?;
        selection.peers.extend(peers);
        selection.missing.extend(missing);
    }
    selection.missing.extend(args.suite.map(Suite::missing).unwrap_or_default());
    if cases.is_empty() {
        return Err(Failure::new("no program of the suite is here").with_remedy("see --help"));
    }
    Ok(Record {
        format: FORMAT,
        machine: Machine::here(),
        command: Some(own_command()),
        level,
        rounds: cases.iter().map(|case| case.rounds).max().unwrap_or(0),
        seed: args.effort.seed,
        measure: Measure::Time,
        latency: args.latency,
        suite: args.suite,
        base: base(&selection.peers, args.base.as_deref())?,
        peers: selection.peers,
        missing: selection.missing,
        cases,
        trials: Vec::new(),
    })
}

fn base(peers: &[Peer], named: Option<&str>) -> Result<usize> {
    let find = |name: &str| peers.iter().position(|peer| peer.name == name);
    match named {
        Some(name) => find(name).ok_or_else(|| {
            let there: Vec<_> = peers.iter().map(|peer| peer.name.as_str()).collect();
            Failure::usage(format!(
                "the base {name} is not among the allocators: {}",
                there.join(", ")
            ))
        }),
        None if peers.is_empty() => Err(Failure::new("none of these allocators is here")
            .with_remedy("`hz3 peers` says how to get them")),
        None => Ok(find("glibc").unwrap_or(0)),
    }
}

/// The analysis as one object.
fn json(record: &Record, analysis: &Analysis, lines: &[Line]) -> Result<String> {
    let names = |names: Vec<&String>| serde_json::to_value(names);
    let write = || {
        Ok::<_, serde_json::Error>(serde_json::json!({
            "machine": record.machine,
            "seed": record.seed,
            "allocators": names(record.peers.iter().map(|peer| &peer.name).collect())?,
            "cases": names(record.cases.iter().map(|case| &case.name).collect())?,
            "base": record.peers[record.base].name,
            "missing": record.missing,
            "analysis": analysis,
            "targets": lines,
        }))
    };
    write().map(|value| value.to_string()).map_err(|e| Failure::io("write JSON", e))
}
