//! The figures of one allocator: medians over its runs.

use crate::measure::job::Outcome;
use crate::stats::median;
use serde::Serialize;

/// One row of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Medians {
    /// Wall time in seconds.
    pub(crate) wall_s: f64,
    /// User and system time in seconds.
    pub(crate) cpu_s: f64,
    /// Largest resident set in KiB.
    pub(crate) peak_rss_kb: f64,
    /// Resident set at the last sample, in KiB.
    pub(crate) last_rss_kb: Option<f64>,
    /// Minor and major page faults.
    pub(crate) faults: f64,
    /// How the first run ended: its exit code, or the signal.
    pub(crate) exit: String,
    /// Whether the command mapped the library; `None` if it ended before it could be sampled.
    pub(crate) library_mapped: Option<bool>,
}

impl Medians {
    /// Computes the medians of `outcomes`, which must not be empty.
    pub(crate) fn of(outcomes: &[Outcome]) -> Self {
        let over = |figure: &dyn Fn(&Outcome) -> Option<f64>| {
            median(&outcomes.iter().filter_map(figure).collect::<Vec<_>>())
        };
        let all = |figure: &dyn Fn(&Outcome) -> f64| over(&|o| Some(figure(o))).unwrap_or(f64::NAN);
        Self {
            wall_s: all(&|o| o.wall.as_secs_f64()),
            cpu_s: all(&|o| o.cost.cpu.as_secs_f64()),
            peak_rss_kb: all(&|o| o.peak_rss_kb() as f64),
            last_rss_kb: over(&|o| o.last_rss_kb().map(|kb| kb as f64)),
            faults: all(&|o| o.cost.faults as f64),
            exit: outcomes.first().map(Outcome::exit_word).unwrap_or_default(),
            library_mapped: outcomes.iter().filter_map(|o| o.series.library_mapped).max(),
        }
    }
}
