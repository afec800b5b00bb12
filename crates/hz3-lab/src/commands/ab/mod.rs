//! `hz3 ab`.

mod contenders;
mod experiment;
mod log;
mod page;

use super::compare::{check_cases, may_write_results};
use crate::cli::AbArgs;
use crate::experiment::cases::Level;
use crate::experiment::decision::Decision;
use crate::experiment::record::{FORMAT, Record, own_command};
use crate::experiment::session::{self, Ended, Limits};
use crate::experiment::verdict::{Criteria, Verdict};
use crate::failure::Result;
use crate::files;
use crate::measure;
use crate::measure::signals::Interruption;
use crate::text;
use experiment::Experiment;
use hz3_tools::machine::Machine;
use std::path::Path;

/// Exit code when a trial failed, because the verdict then does not count.
const TRIAL_FAILED: u8 = 5;

/// Measures, judges, and records the experiment if `--record` asks for it.
pub(crate) fn run(args: &AbArgs) -> Result<u8> {
    if !args.resume {
        may_write_results(&args.out, args.effort.force)?;
    }
    if let Some(name) = &args.record {
        files::may_write(&args.log.join(format!("{name}.json")), args.effort.force)?;
    }
    let (mut record, criteria, why) = match &args.replay {
        Some(path) => replayed(path, args)?,
        None if args.resume => {
            (session::resume(&args.out)?, args.criteria.criteria(), args.why.clone())
        }
        None => (plan(args)?, args.criteria.criteria(), args.why.clone()),
    };
    measure::adopt_orphans()?;
    let signals = Interruption::watch()?;
    let limits = Limits::of(&args.effort);
    let ended = session::run(&mut record, &args.out, limits, &signals)?;
    let verdict = Verdict::of(&record, &criteria);
    let name = args.record.clone().unwrap_or_else(|| "unnamed".to_owned());
    let mut experiment = Experiment { name, why, criteria, verdict, record };
    if args.json {
        text::out::line(&to_json(&experiment).to_string())?;
    } else {
        text::out::line(&page::terminal(&experiment))?;
    }
    if ended == Ended::Interrupted {
        let out = args.out.display();
        text::err::note(&format!(
            "hz3: interrupted, nothing is recorded; continue with `hz3 ab --resume --out {out}`"
        ))?;
        return Ok(signals.exit_code().unwrap_or(TRIAL_FAILED));
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

fn plan(args: &AbArgs) -> Result<Record> {
    let level = args.effort.level().unwrap_or(Level::Normal);
    let mut cases = level.cases(level.standard_ab(), &args.workloads, &args.commands)?;
    check_cases(&cases, &level.standard_ab())?;
    if let Some(rounds) = args.effort.rounds {
        for case in &mut cases {
            case.rounds = rounds;
        }
    }
    Ok(Record {
        format: FORMAT,
        machine: Machine::here(),
        command: Some(own_command()),
        level,
        rounds: cases.iter().map(|case| case.rounds).max().unwrap_or(0),
        seed: args.effort.seed,
        measure: args.measure,
        latency: args.latency,
        suite: None,
        base: 0,
        peers: contenders::both(&args.lib, &args.baseline, &args.candidate)?,
        missing: Vec::new(),
        cases,
        trials: Vec::new(),
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
