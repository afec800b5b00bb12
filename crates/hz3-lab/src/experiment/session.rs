//! Going through the trials: progress, interruption, saving, going on later.

use super::record::{Record, Trial};
use super::schedule;
use super::trial::Runner;
use crate::failure::{Failure, Result};
use crate::measure::signals::Interruption;
use crate::text;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All trials are done.
    Complete,
    /// A signal came; what was measured is kept.
    Interrupted,
}

/// Runs what is not yet in `record`, saving to `path` as it goes.
pub(crate) fn run(
    record: &mut Record,
    path: &Path,
    limit: Duration,
    signals: &Interruption,
) -> Result<Ended> {
    let order = schedule::order(&record.cases, record.peers.len(), record.rounds, record.seed);
    let done: HashSet<_> = record.trials.iter().map(|trial| trial.slot).collect();
    let todo: Vec<_> = order.iter().filter(|slot| !done.contains(slot)).copied().collect();
    let bar = bar(order.len(), done.len());
    let runner = Runner { signals, limit, measure: record.measure, latency: record.latency };
    record.save(path)?;
    for (i, slot) in todo.iter().enumerate() {
        let (case, peer) = (&record.cases[slot.case], &record.peers[slot.peer]);
        let left = left(record, &todo[i..]);
        bar.set_message(format!("{left} left · {} on {}", case.name, peer.name));
        let start = Instant::now();
        // The first round also takes latencies and series: they are for pictures, not for verdicts.
        let result = runner.run(case, peer, slot.round == 0).map_err(|failure| failure.to_string());
        if signals.signal().is_some() {
            bar.abandon_with_message("interrupted");
            record.save(path)?;
            return Ok(Ended::Interrupted);
        }
        if let Err(reason) = &result {
            bar.suspend(|| eprintln!("hz3: {} on {}: {reason}", case.name, peer.name));
        }
        record.trials.push(Trial { slot: *slot, took_s: start.elapsed().as_secs_f64(), result });
        record.save(path)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(Ended::Complete)
}

/// A record that can be gone on with: its allocators are still what they were.
pub(crate) fn resume(path: &Path) -> Result<Record> {
    let record = Record::load(path)?;
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

fn bar(total: usize, done: usize) -> ProgressBar {
    let bar = ProgressBar::new(total as u64).with_position(done as u64);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar
}

/// How long the trials still take, judging by those that are done; a case that has not run yet counts like
/// the average of all.
fn left(record: &Record, todo: &[schedule::Slot]) -> String {
    let all = mean(record.trials.iter());
    let expected = |slot: &schedule::Slot| {
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
