//! Runs the trials: progress, interruption, saving, resuming.

use super::analysis::Analysis;
use super::cases::{Case, What};
use super::progress::Progress;
use super::record::{Record, Trial};
use super::schedule::{self, Slot};
use super::trial::Runner;
use crate::counts::StatisticsFile;
use crate::failure::{Failure, Result};
use crate::files;
use crate::measure;
use crate::measure::signals::Interruption;
use crate::text;
use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All trials are done.
    Complete,
    /// A signal came; the results so far are kept. The code is that with which this program exits.
    Interrupted(u8),
}

/// Time limits of a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// A trial that takes longer is killed and counts as failed.
    pub(crate) trial: Duration,
    /// No further round starts after this time.
    pub(crate) session: Option<Duration>,
}

/// The intervals are tested only at every tenth round. A test after every round would often
/// stop at an interval that is narrow by chance.
const TEST_EVERY: u32 = 10;

/// Rounds end when every interval of a speed is narrower than this, from low to high.
const NARROW: f64 = 1.02;

/// Runs the trials that `record` lacks and saves to `path` after each. Warms up first if the record
/// has no trial. From now on a signal interrupts the session and does not end this program.
pub(crate) fn run(record: &mut Record, path: &Path, limits: Limits) -> Result<Ended> {
    measure::adopt_orphans()?;
    let signals = &Interruption::watch()?;
    let began = Instant::now();
    let order = schedule::order(&record.cases, record.peers.len(), record.rounds, record.seed);
    let done: HashSet<_> = record.trials.iter().map(|trial| trial.slot).collect();
    let todo: Vec<_> = order.iter().filter(|slot| !done.contains(slot)).copied().collect();
    if todo.is_empty() && !done.is_empty() {
        let all = text::count(done.len() as u64);
        text::err::note(&format!("hz3: all {all} trials are there; nothing is left to measure"))?;
        return Ok(Ended::Complete);
    }
    // Without a place for its files every trial would fail.
    StatisticsFile::new()?;
    let mut progress = Progress::new(order.len(), done.len());
    let (measure, latency) = (record.measure, record.latency);
    let runner = Runner { signals, limit: limits.trial, measure, latency };
    record.save(path)?;
    if record.trials.is_empty() {
        warm_up(record, &runner, &mut progress)?;
    }
    for (i, slot) in todo.iter().enumerate() {
        let begins = i > 0 && todo[i - 1].round != slot.round;
        let late = limits.session.is_some_and(|limit| began.elapsed() >= limit);
        if begins
            && (late || slot.round.is_multiple_of(TEST_EVERY) && is_settled(record, &todo[i..]))
        {
            break;
        }
        let (case, peer) = (&record.cases[slot.case], &record.peers[slot.peer]);
        let left = left(record, &todo[i..]);
        progress.show(&format!("{left} left, {} on {}", case.name, peer.name))?;
        let start = Instant::now();
        // The first round also takes latencies and series, which serve pictures, not verdicts.
        let result = runner.run(case, peer, slot.round == 0).map_err(|failure| failure.to_string());
        if let Some(code) = signals.exit_code() {
            progress.finish();
            record.save(path)?;
            return Ok(Ended::Interrupted(code));
        }
        if let Err(reason) = &result {
            progress.line(&format!("hz3: {} on {}: {reason}", case.name, peer.name))?;
        }
        record.trials.push(Trial { slot: *slot, took_s: start.elapsed().as_secs_f64(), result });
        record.save(path)?;
        progress.step();
    }
    progress.finish();
    Ok(Ended::Complete)
}

/// Reads a record of `hz3 COMMAND` for resuming and checks that its allocators have not changed.
pub(crate) fn resume(path: &Path, command: &str) -> Result<Record> {
    let file = files::json_and_csv(path).0;
    let shown = file.display();
    if !file.exists() {
        return Err(Failure::usage(format!("{shown} does not exist, so nothing can be resumed"))
            .with_remedy("--out names the results, and without --resume they are begun"));
    }
    let record = Record::read(&file)?;
    if let Some(other) = record.subcommand().filter(|other| *other != command) {
        return Err(Failure::usage(format!("{shown} has results of `hz3 {other}`"))
            .with_remedy(format!("`hz3 {command} --resume` continues its own alone")));
    }
    for peer in &record.peers {
        let changed = match (&peer.library, &peer.digest) {
            (Some(library), Some(digest)) => crate::peers::digest(library)? != *digest,
            _ => false,
        };
        if changed {
            return Err(Failure::new(format!(
                "the library of {} has changed since the first part was measured",
                peer.name
            ))
            .with_remedy("start anew without --resume"));
        }
    }
    Ok(record)
}

/// Runs each command, and the first workload, once on every allocator without counting it. Cold
/// files and a sleeping processor would otherwise slow down the first counted trials. A failure
/// here is ignored because the counted trial fails again and reports it.
fn warm_up(record: &Record, runner: &Runner<'_>, progress: &mut Progress) -> Result<()> {
    let is_command = |case: &&Case| matches!(case.what, What::Command(_));
    let workload = record.cases.iter().find(|case| case.is_speed && !is_command(case));
    for case in record.cases.iter().filter(is_command).chain(workload) {
        for peer in &record.peers {
            progress.show(&format!("warming up: {} on {}", case.name, peer.name))?;
            let _ = runner.run(case, peer, false);
            if runner.signals.signal().is_some() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Returns whether further rounds would add nothing: all remaining cases are about speed, and every
/// speed is known well.
fn is_settled(record: &Record, todo: &[Slot]) -> bool {
    todo.iter().all(|slot| record.cases[slot.case].is_speed)
        && Analysis::of(record).is_narrow(record, NARROW)
}

/// Estimates the time of the remaining trials from those that are done. A case that has not run yet
/// counts like the average of all.
fn left(record: &Record, todo: &[Slot]) -> String {
    let all = mean(record.trials.iter());
    let expected = |slot: &Slot| {
        let same = |trial: &&Trial| trial.slot.case == slot.case && trial.slot.peer == slot.peer;
        let case = |trial: &&Trial| trial.slot.case == slot.case;
        mean(record.trials.iter().filter(same))
            .or_else(|| mean(record.trials.iter().filter(case)))
            .or(all)
    };
    match todo.iter().map(expected).sum::<Option<f64>>() {
        Some(seconds) => text::about(seconds),
        None => "?".to_owned(),
    }
}

fn mean<'a>(trials: impl Iterator<Item = &'a Trial>) -> Option<f64> {
    crate::stats::mean(&trials.map(|trial| trial.took_s).collect::<Vec<_>>())
}
