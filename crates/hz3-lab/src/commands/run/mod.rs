//! `hz3 run`: a command on hz3 and on the system's malloc, in pairs of runs.

mod medians;
mod passes;
mod report;
mod server;
mod stop;
mod verdict;

use crate::cli::RunArgs;
use crate::failure::{Failure, Result, WRONG_USAGE};
use crate::measure::job::Tee;
use crate::measure::signals::Interruption;
use crate::measure::stdin::Input;
use crate::peers::{self, Peer};
use crate::{measure, preload, text};
use indicatif::ProgressBar;
use passes::{Outcomes, Passes, Side};
use report::Report;
use std::path::Path;
use std::time::Instant;
use stop::Stop;

/// Runs the command and reports. Returns the exit code of its first run on hz3.
pub(crate) fn run(args: &RunArgs) -> Result<u8> {
    let library = preload::find(args.lib.as_deref())?;
    check_library(&library)?;
    measure::adopt_orphans()?;
    let mut passes = Passes {
        words: &args.command,
        library,
        input: Input::ours()?,
        signals: Interruption::watch()?,
        tee: if args.json { Tee::Stderr } else { Tee::Through },
    };
    if args.duration.is_some() || args.load.is_some() {
        return server::run(args, &mut passes);
    }
    let (first, counts) = passes.first(!args.no_count)?;
    if passes.signals.signal().is_some() {
        text::err::note(
            "hz3: interrupted in the first run; for a command that does not end by itself use --for \
             TIME or --load CMD",
        )?;
        return interrupted(&passes);
    }
    let stop = Stop { pairs: args.runs.map(usize::from), time: args.time };
    let mut outcomes = pairs(&mut passes, &stop)?;
    outcomes.complete();
    if outcomes.pairs() > 0 {
        let report = Report::of(args, &passes, &mut outcomes, &first, counts)?;
        if args.json {
            text::out::json(&report)?;
        } else {
            let load = report.machine_load.as_deref().unwrap_or_default();
            let sentences = verdict::sentences(&report);
            text::err::note(&format!("\n{load}\n{}\n\n{sentences}", report.table()))?;
        }
    }
    if passes.signals.signal().is_some() {
        let pairs = outcomes.pairs();
        let noun = if pairs == 1 { "pair" } else { "pairs" };
        text::err::note(&format!("hz3: interrupted after {pairs} {noun} of runs"))?;
        return interrupted(&passes);
    }
    Ok(first.exit_code())
}

/// Fails if the library rejects the settings in the environment or has no malloc: the figures would
/// be those of other settings, or of another malloc. The runs themselves show any other fault.
fn check_library(library: &Path) -> Result<()> {
    let peer = Peer::new(&preload::name(library), Some(library.to_owned()));
    match peers::probe(&peer) {
        Ok(probed) if !peer.is_origin(&probed.origin) => {
            let (library, from) = (library.display(), probed.origin);
            Err(Failure::usage(format!("with {library} preloaded, malloc still comes from {from}"))
                .with_remedy("expected a library that has malloc"))
        }
        Err(failure) if failure.code() == WRONG_USAGE => Err(failure),
        _ => Ok(()),
    }
}

fn interrupted(passes: &Passes<'_>) -> Result<u8> {
    passes.signals.exit_code().ok_or_else(|| Failure::new("stopped without a signal"))
}

/// Makes pairs of runs until `stop` is satisfied or a signal comes.
fn pairs(passes: &mut Passes<'_>, stop: &Stop) -> Result<Outcomes> {
    let began = Instant::now();
    let progress = ProgressBar::new_spinner();
    let mut outcomes = Outcomes::default();
    while !stop.is_reached(&outcomes, began.elapsed()) {
        let pair = outcomes.pairs();
        for side in Side::in_pair(pair) {
            progress.set_message(format!("pair {}: {}", pair + 1, side.name()));
            progress.tick();
            let mut outcome = passes.silent(side)?;
            if passes.signals.signal().is_some() {
                progress.finish_and_clear();
                return Ok(outcomes);
            }
            if pair >= KEPT {
                outcome.output = None;
            }
            outcomes.of(side).push(outcome);
        }
    }
    progress.finish_and_clear();
    Ok(outcomes)
}

/// Number of runs on each allocator whose output is kept. The first ones are compared with each
/// other, and those on the system's malloc among themselves.
const KEPT: usize = 2;
