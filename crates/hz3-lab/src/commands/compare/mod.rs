//! `hz3 compare`.

mod tables;
mod targets;

use super::plan;
use crate::cli::CompareArgs;
use crate::experiment::analysis::Analysis;
use crate::experiment::cases::Suite;
use crate::experiment::record::Record;
use crate::experiment::session::{self, Ended, Limits};
use crate::experiment::suites::Judgement;
use crate::failure::{Failure, Result};
use crate::files;
use crate::peers::{Candidates, Peer, Selection};
use crate::text;

pub(super) use tables::{all as tables, sentence};

/// Exit code when a trial failed.
const TRIAL_FAILED: u8 = 1;
/// Exit code when a target of the suite is missed.
const TARGET_MISSED: u8 = 3;

/// Measures, or resumes measuring, and prints the tables.
pub(crate) fn run(args: &CompareArgs) -> Result<u8> {
    let mut record = if args.resume {
        session::resume(&args.out, "compare")?
    } else {
        plan::may_write_results(&args.out, args.effort.force)?;
        planned(args)?
    };
    let ended = session::run(&mut record, &args.out, Limits::of(&args.effort))?;
    let analysis = Analysis::of(&record);
    let lines = record.suite.map(|suite| suite.lines(&record, &analysis)).unwrap_or_default();
    if args.json {
        text::out::json(&json(&record, &analysis, &lines))?;
    } else {
        let mut out = tables::all(&record, &analysis);
        if let Some(suite) = record.suite {
            out += &targets::all(&record, &analysis, suite, &lines);
        }
        let (json, csv) = files::json_and_csv(&args.out);
        text::out::line(&format!("{out}\nresults: {} and {}", json.display(), csv.display()))?;
    }
    if let Ended::Interrupted(code) = ended {
        let out = args.out.display();
        text::err::note(&format!(
            "hz3: interrupted; continue with `hz3 compare --resume --out {out}`"
        ))?;
        return Ok(code);
    }
    Ok(if record.failures().next().is_some() {
        TRIAL_FAILED
    } else if lines.iter().any(|line| line.met == Some(false)) {
        TARGET_MISSED
    } else {
        0
    })
}

fn planned(args: &CompareArgs) -> Result<Record> {
    let level = args.effort.level();
    let cases = match args.suite {
        Some(suite) => suite.cases(level, args.effort.rounds),
        None => plan::cases(&args.effort, level.standard(), &args.workloads, &args.commands)?,
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
        seed: args.effort.seed,
        latency: args.latency,
        suite: args.suite,
        base: base(&selection.peers, args.base.as_deref())?,
        missing: selection.missing,
        ..Record::new(level, cases, selection.peers)
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
fn json(record: &Record, analysis: &Analysis, lines: &[Judgement]) -> serde_json::Value {
    let allocators: Vec<&String> = record.peers.iter().map(|peer| &peer.name).collect();
    let cases: Vec<&String> = record.cases.iter().map(|case| &case.name).collect();
    serde_json::json!({
        "machine": record.machine,
        "seed": record.seed,
        "allocators": allocators,
        "cases": cases,
        "base": record.peers[record.base].name,
        "missing": record.missing,
        "analysis": analysis,
        "targets": lines,
    })
}
