//! `hz3 ab`.

mod contenders;
mod experiment;
mod log;
mod page;

use super::plan;
use crate::cli::AbArgs;
use crate::experiment::decision::Decision;
use crate::experiment::record::Record;
use crate::experiment::session::{self, Ended, Limits};
use crate::experiment::verdict::{Criteria, Verdict};
use crate::failure::{Failure, Result};
use crate::files;
use crate::text;
use experiment::Experiment;
use hz3_tools::machine::Machine;
use std::path::Path;

/// Exit code when a trial failed, because the verdict then does not count.
const TRIAL_FAILED: u8 = 5;

/// Measures, judges, and records the experiment if `--record` asks for it.
pub(crate) fn run(args: &AbArgs) -> Result<u8> {
    args.criteria.criteria().check()?;
    args.measure.check()?;
    if !args.resume {
        plan::may_write_results(&args.out, args.effort.force)?;
    }
    if let Some(name) = &args.record {
        log::may_record(&args.log, name, args.effort.force)?;
        if args.log.join(format!("{name}.json")) == files::json_and_csv(&args.out).0 {
            return Err(Failure::usage("--record and --out name the same file"));
        }
    }
    let (mut record, criteria, why) = match &args.replay {
        Some(path) => replayed(path, args)?,
        None if args.resume => {
            (session::resume(&args.out, "ab")?, args.criteria.criteria(), args.why.clone())
        }
        None => (planned(args)?, args.criteria.criteria(), args.why.clone()),
    };
    record.measure.check()?;
    let ended = session::run(&mut record, &args.out, Limits::of(&args.effort))?;
    let verdict = Verdict::of(&record, &criteria);
    let name = args.record.clone().unwrap_or_else(|| "unnamed".to_owned());
    let mut experiment = Experiment { name, why, criteria, verdict, record };
    if args.json {
        text::out::json(&to_json(&experiment))?;
    } else {
        text::out::line(&page::terminal(&experiment))?;
    }
    if let Ended::Interrupted(code) = ended {
        let out = args.out.display();
        text::err::note(&format!(
            "hz3: interrupted, nothing is recorded; continue with `hz3 ab --resume --out {out}`"
        ))?;
        return Ok(code);
    }
    if args.record.is_some() {
        contenders::make_portable(&mut experiment.record.peers)?;
        let written = log::write(&args.log, &experiment)?;
        text::err::note(&format!("recorded in {}", written.display()))?;
    }
    Ok(exit_code(&experiment))
}

fn exit_code(experiment: &Experiment) -> u8 {
    if experiment.record.failures().next().is_some() {
        return TRIAL_FAILED;
    }
    match experiment.verdict.decision {
        Decision::Go => 0,
        Decision::NoGo => 1,
        Decision::Uncertain => 3,
        Decision::NoDifference => 4,
    }
}

fn planned(args: &AbArgs) -> Result<Record> {
    let level = args.effort.level();
    let cases = plan::cases(&args.effort, level.standard_ab(), &args.workloads, &args.commands)?;
    let peers = contenders::both(&args.lib, &args.baseline, &args.candidate)?;
    Ok(Record {
        seed: args.effort.seed,
        measure: args.measure,
        latency: args.latency,
        ..Record::new(level, cases, peers)
    })
}

/// Reads the experiment in `path` for measuring it again; `--lib` replaces its libraries.
fn replayed(path: &Path, args: &AbArgs) -> Result<(Record, Criteria, String)> {
    let old = log::read(path)?;
    let mut record = old.record;
    record.trials.clear();
    record.machine = Machine::here();
    contenders::find_again(&mut record.peers, &args.lib)?;
    Ok((record, old.criteria, old.why))
}

fn to_json(experiment: &Experiment) -> serde_json::Value {
    let (record, verdict) = (&experiment.record, &experiment.verdict);
    serde_json::json!({
        "verdict": verdict.decision.word(),
        "reason": verdict.reason,
        "findings": verdict.findings,
        "trials": record.trials.len(),
        "failures": record.failures().count(),
        "contenders": record.peers,
    })
}
