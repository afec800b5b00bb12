//! The report: a table and sentences for people, or one JSON object for programs.

use super::medians::Medians;
use super::passes::{Outcomes, Passes};
use crate::cli::RunArgs;
use crate::counts::Counts;
use crate::failure::{Failure, Result};
use crate::measure::capture::Difference;
use crate::measure::job::Outcome;
use crate::preload;
use crate::stats::estimate::{self, Estimate};
use crate::text;
use hz3_tools::load;
use serde::Serialize;

/// The results of `hz3 run`.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) command: Vec<String>,
    pub(crate) name: String,
    pub(crate) library: String,
    /// Pairs of runs.
    pub(crate) runs: usize,
    pub(crate) system: Medians,
    pub(crate) hz3: Medians,
    pub(crate) ratios: Ratios,
    pub(crate) counts: Option<Counts>,
    pub(crate) agreement: Agreement,
    /// The other load of the machine, in a sentence.
    pub(crate) machine_load: Option<String>,
}

/// The ratios hz3 / system, pair by pair.
#[derive(Debug, Serialize)]
pub(crate) struct Ratios {
    pub(crate) wall: Option<Estimate>,
    pub(crate) cpu: Option<Estimate>,
    pub(crate) peak_rss: Option<Estimate>,
    pub(crate) faults: Option<Estimate>,
}

impl Ratios {
    fn of(outcomes: &Outcomes) -> Self {
        let of = |figure: fn(&Outcome) -> f64| estimate::ratio(&outcomes.ratios(figure));
        Self {
            wall: of(|o| o.wall.as_secs_f64()),
            cpu: of(|o| o.cost.cpu.as_secs_f64()),
            peak_rss: of(|o| o.peak_rss_kb() as f64),
            faults: of(|o| o.cost.faults as f64),
        }
    }
}

/// Formats the cell of a ratio.
pub(super) fn ratio(ratios: &[f64]) -> String {
    estimate::ratio(ratios).as_ref().map_or("-".to_owned(), text::ratio)
}

/// Whether the command did the same on both allocators.
#[derive(Debug, Serialize)]
pub(crate) struct Agreement {
    /// Whether both ended the same way.
    pub(crate) same_exit: bool,
    /// First difference between the standard outputs of the first two runs.
    pub(crate) stdout: Option<Difference>,
    /// First difference between their standard errors.
    pub(crate) stderr: Option<Difference>,
    /// Whether two runs on the system's malloc differ from each other; needs 2 runs or more.
    pub(crate) differs_by_itself: Option<bool>,
}

impl Agreement {
    /// Compares the first runs on both allocators, and the first two on the system's malloc.
    pub(crate) fn of(outcomes: &mut Outcomes) -> Result<Self> {
        let differs_by_itself = match outcomes.system.as_mut_slice() {
            [first, second, ..] => {
                let (stdout, stderr) = differences(first, second)?;
                Some(stdout.is_some() || stderr.is_some())
            }
            _ => None,
        };
        let (Some(system), Some(hz3)) = (outcomes.system.first_mut(), outcomes.hz3.first_mut())
        else {
            return Err(Failure::new("there is no pair of runs to compare"));
        };
        let (stdout, stderr) = differences(system, hz3)?;
        Ok(Self { same_exit: system.status == hz3.status, stdout, stderr, differs_by_itself })
    }
}

fn differences(
    left: &mut Outcome,
    right: &mut Outcome,
) -> Result<(Option<Difference>, Option<Difference>)> {
    match (&mut left.output, &mut right.output) {
        (Some(left), Some(right)) => {
            let stdout = left.stdout.difference(&mut right.stdout)?;
            Ok((stdout, left.stderr.difference(&mut right.stderr)?))
        }
        _ => Err(Failure::new("the output of a run was not kept")),
    }
}

impl Report {
    /// Builds the report from at least one pair of runs and the first run.
    pub(super) fn of(
        args: &RunArgs,
        passes: &Passes<'_>,
        outcomes: &mut Outcomes,
        first: &Outcome,
        counts: Option<Counts>,
    ) -> Result<Self> {
        let loads: Vec<_> = outcomes.system.iter().chain(&outcomes.hz3).map(|o| o.load).collect();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let mut hz3 = Medians::of(&outcomes.hz3);
        hz3.library_mapped = hz3.library_mapped.max(first.series.library_mapped);
        Ok(Self {
            command: args.command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
            name: preload::name(&passes.library),
            library: passes.library.display().to_string(),
            runs: outcomes.pairs(),
            system: Medians::of(&outcomes.system),
            hz3,
            ratios: Ratios::of(outcomes),
            counts,
            agreement: Agreement::of(outcomes)?,
            machine_load: load::sentence(loads.iter(), processors),
        })
    }

    /// Formats the figures side by side.
    pub(super) fn table(&self) -> String {
        let heads = ["", "system", &self.name, &format!("{} / system", self.name)];
        let mut table = text::table::plain(&heads, 1);
        let mut row =
            |name: &str, cell: &dyn Fn(&Medians) -> String, ratio: Option<&Option<Estimate>>| {
                let ratio = ratio.map_or_else(String::new, |ratio| {
                    ratio.as_ref().map_or("-".to_owned(), text::ratio)
                });
                table.add_row([name.to_owned(), cell(&self.system), cell(&self.hz3), ratio]);
            };
        let last = |f: &Medians| f.last_rss_kb.map_or_else(|| "-".to_owned(), text::kib);
        row("wall", &|f| text::seconds(f.wall_s), Some(&self.ratios.wall));
        row("CPU", &|f| text::seconds(f.cpu_s), Some(&self.ratios.cpu));
        row("peak RSS", &|f| text::kib(f.peak_rss_kb), Some(&self.ratios.peak_rss));
        row("last RSS", &last, None);
        row("page faults", &|f| text::count(whole(f.faults)), Some(&self.ratios.faults));
        row("exit", &|f| f.exit.clone(), None);
        let requests = match self.counts {
            Some(counts) if counts.processes > 0 => text::count(counts.requests),
            _ => "-".to_owned(),
        };
        table.add_row(["requests".to_owned(), "-".to_owned(), requests, String::new()]);
        table.trim_fmt()
    }
}

fn whole(faults: f64) -> u64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a median of page fault counts is small and not negative"
    )]
    let faults = faults as u64;
    faults
}
