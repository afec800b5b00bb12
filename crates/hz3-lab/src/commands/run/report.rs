//! The report: a table and sentences for people, or one JSON object for programs.

use super::Rounds;
use super::figures::Figures;
use crate::counts::Counts;
use crate::failure::{Failure, Result};
use crate::measure::capture::Difference;
use crate::text;
use serde::Serialize;

/// Everything that `hz3 run` found out.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) command: Vec<String>,
    pub(crate) name: String,
    pub(crate) library: String,
    pub(crate) runs: u16,
    pub(crate) system: Figures,
    pub(crate) hz3: Figures,
    pub(crate) counts: Option<Counts>,
    pub(crate) agreement: Agreement,
}

/// Whether the command did the same on both.
#[derive(Debug, Serialize)]
pub(crate) struct Agreement {
    /// Both ended the same way.
    pub(crate) same_exit: bool,
    /// Where the standard outputs of the first two runs part.
    pub(crate) stdout: Option<Difference>,
    /// Where their standard errors part.
    pub(crate) stderr: Option<Difference>,
    /// Whether two runs on the system's malloc differ from each other; known with --runs 2 or more.
    pub(crate) differs_by_itself: Option<bool>,
}

impl Agreement {
    /// Compares the first runs of both; and the first two on the system's malloc with each other.
    pub(crate) fn of(rounds: &mut Rounds) -> Result<Self> {
        let differs_by_itself = match rounds.system.as_mut_slice() {
            [first, second, ..] => {
                let (stdout, stderr) = differences(first, second)?;
                Some(stdout.is_some() || stderr.is_some())
            }
            _ => None,
        };
        let (Some(system), Some(hz3)) = (rounds.system.first_mut(), rounds.hz3.first_mut()) else {
            return Err(Failure::new("there is no pair of runs to compare"));
        };
        let (stdout, stderr) = differences(system, hz3)?;
        Ok(Self { same_exit: system.status == hz3.status, stdout, stderr, differs_by_itself })
    }
}

type Outcome = crate::measure::job::Outcome;

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
    /// Prints the report: JSON on the standard output, or the table on the standard error.
    pub(crate) fn print(&self, json: bool) -> Result<()> {
        if json {
            let line = serde_json::to_string(self).map_err(|e| Failure::io("write JSON", e))?;
            println!("{line}");
        } else {
            eprintln!("\n{}\n\n{}", self.table(), super::verdict::sentences(self));
        }
        Ok(())
    }

    fn table(&self) -> String {
        let heads = ["malloc", "requests", "wall", "CPU", "peak RSS", "last RSS", "faults", "exit"];
        let mut table = text::table::plain(&heads, 1);
        table.add_row(row("system", "-".to_owned(), &self.system));
        let requests = match self.counts {
            Some(counts) if counts.processes > 0 => text::count(counts.requests),
            _ => "-".to_owned(),
        };
        table.add_row(row(&self.name, requests, &self.hz3));
        table.trim_fmt()
    }
}

fn row(name: &str, requests: String, figures: &Figures) -> Vec<String> {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a median of page fault counts is small and not negative"
    )]
    let faults = figures.faults as u64;
    vec![
        name.to_owned(),
        requests,
        text::seconds(figures.wall_s),
        text::seconds(figures.cpu_s),
        text::kib(figures.peak_rss_kb),
        figures.last_rss_kb.map_or_else(|| "-".to_owned(), text::kib),
        text::count(faults),
        figures.exit.clone(),
    ]
}
