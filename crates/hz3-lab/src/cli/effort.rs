//! The options of `hz3 ab` and `hz3 compare` that say how much to measure.

use super::values::{rounds, span};
use crate::experiment::cases::Level;
use crate::experiment::session::Limits;
use clap::Args;
use std::time::Duration;

/// How much to measure.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own on the command line")]
pub(crate) struct EffortArgs {
    /// A few minutes
    #[arg(long, group = "level")]
    pub(crate) quick: bool,
    /// Half an hour
    #[arg(long, group = "level")]
    pub(crate) normal: bool,
    /// An afternoon
    #[arg(long, group = "level")]
    pub(crate) thorough: bool,

    /// Rounds, in place of the level's number. Cases that judge growth run once, because their
    /// cycles are the repetitions
    #[arg(long, value_name = "N", value_parser = rounds())]
    pub(crate) rounds: Option<u32>,

    /// Seed of the random order
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Start no further round after this time; the results so far count
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub(crate) time: Option<Duration>,

    /// Overwrite the files of --out
    #[arg(long)]
    pub(crate) force: bool,

    /// Time after which a trial is killed and counts as failed
    #[arg(long, value_name = "TIME", default_value = "300s", value_parser = span)]
    pub(crate) limit: Duration,
}

impl EffortArgs {
    /// Returns the chosen level, or the normal one.
    pub(crate) fn level(&self) -> Level {
        match (self.quick, self.normal, self.thorough) {
            (true, ..) => Level::Quick,
            (.., true) => Level::Thorough,
            _ => Level::Normal,
        }
    }
}

impl Limits {
    /// As they were given on the command line.
    pub(crate) fn of(effort: &EffortArgs) -> Self {
        Self { trial: effort.limit, session: effort.time }
    }
}
