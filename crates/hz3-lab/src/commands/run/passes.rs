//! The single runs of one command, on either allocator.

use crate::counts::{Counts, StatisticsFile};
use crate::failure::Result;
use crate::measure::job::{self, Job, Outcome, Running, Streams, Tee};
use crate::measure::sampler::{Ends, Plan};
use crate::measure::signals::Interruption;
use crate::measure::stdin::Input;
use crate::preload;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Interval between two samples of the resident set.
const INTERVAL: Duration = Duration::from_millis(20);

/// The malloc that a run is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    System,
    Hz3,
}

impl Side {
    /// Returns its name in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::System => "on the system's malloc",
            Self::Hz3 => "on hz3",
        }
    }

    /// Returns both, in the order in which they run in pair number `pair`.
    pub(super) fn in_pair(pair: usize) -> [Self; 2] {
        if pair.is_multiple_of(2) { [Self::System, Self::Hz3] } else { [Self::Hz3, Self::System] }
    }
}

/// The finished runs on each allocator. Runs with the same index are a pair.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    pub(super) system: Vec<Outcome>,
    pub(super) hz3: Vec<Outcome>,
}

impl Outcomes {
    /// Returns the runs of `side`.
    pub(super) fn of(&mut self, side: Side) -> &mut Vec<Outcome> {
        match side {
            Side::System => &mut self.system,
            Side::Hz3 => &mut self.hz3,
        }
    }

    /// Returns the number of complete pairs.
    pub(super) fn pairs(&self) -> usize {
        self.system.len().min(self.hz3.len())
    }

    /// Drops a run that has no partner.
    pub(super) fn complete(&mut self) {
        let pairs = self.pairs();
        self.system.truncate(pairs);
        self.hz3.truncate(pairs);
    }

    /// Returns the ratio hz3 / system of `figure` for every pair that has one.
    pub(super) fn ratios(&self, figure: impl Fn(&Outcome) -> f64) -> Vec<f64> {
        let pairs = self.system.iter().zip(&self.hz3);
        let ratios = pairs.map(|(system, hz3)| figure(hz3) / figure(system));
        ratios.filter(|ratio| ratio.is_finite() && *ratio > 0.0).collect()
    }
}

/// The settings that all runs of one command share.
#[derive(Debug)]
pub(super) struct Passes<'a> {
    pub(super) words: &'a [OsString],
    pub(super) library: PathBuf,
    pub(super) input: Input,
    pub(super) signals: Interruption,
    pub(super) tee: Tee,
}

impl Passes<'_> {
    /// Runs the command on hz3 with its output shown. Returns the outcome and hz3's counts.
    pub(super) fn first(&mut self, count: bool) -> Result<(Outcome, Option<Counts>)> {
        let statistics = StatisticsFile::new()?;
        let file = statistics.path();
        let job = self.job(Side::Hz3, count.then_some(file.as_path()));
        let outcome = self.start(&job, self.tee, Ends::default())?.finish()?;
        let counts = count.then(|| statistics.read()).transpose()?;
        Ok((outcome, counts))
    }

    /// Runs the command with its output kept and not shown.
    pub(super) fn silent(&mut self, side: Side) -> Result<Outcome> {
        let mut job = self.job(side, None);
        // Statistics that the user asked for would count as a difference in the output.
        job.environment.push(("HZ3_STATS".into(), None));
        self.start(&job, Tee::Silent, Ends::default())?.finish()
    }

    /// Starts a run whose output is shown and that ends as `ends` says.
    pub(super) fn shown(&mut self, side: Side, ends: Ends) -> Result<Running<'_>> {
        let job = self.job(side, None);
        self.start(&job, self.tee, ends)
    }

    fn start(&mut self, job: &Job, tee: Tee, ends: Ends) -> Result<Running<'_>> {
        let plan = Plan {
            interval: INTERVAL,
            detail_every: 0,
            eager: true,
            library: Some(self.library.clone()),
            limit: None,
            may_end: true,
            ends,
            sink: None,
        };
        job::start(job, plan, Streams::Keep { input: &mut self.input, tee }, &self.signals)
    }

    fn job(&self, side: Side, statistics: Option<&Path>) -> Job {
        let current = std::env::var_os(preload::VARIABLE);
        let value = match side {
            Side::System => preload::without_hz3(current.as_deref()),
            Side::Hz3 => Some(preload::with_library(&self.library, current.as_deref())),
        };
        let mut environment = vec![(preload::VARIABLE.into(), value)];
        if let Some(file) = statistics {
            environment.push(("HZ3_COUNT".into(), Some("1".into())));
            environment.push(("HZ3_STATS".into(), Some(file.into())));
        }
        Job { words: self.words.to_vec(), environment }
    }
}
