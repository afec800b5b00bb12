//! The changes from baseline to candidate: ratios within a round, with their intervals.

use super::Criteria;
use crate::experiment::analysis::{ByRound, mean_ratio, paired, ratios, sums, values};
use crate::experiment::record::Record;
use crate::experiment::trial::Figures;
use crate::stats::estimate::{self, Estimate, Interval};

const BASELINE: usize = 0;
pub(super) const CANDIDATE: usize = 1;
const PAIR: (usize, usize) = (CANDIDATE, BASELINE);

/// Changes below this, in per cent or KiB, count as none however narrow the interval is. Of several
/// intervals at 95 % one misses 0 by chance now and then, and then by little.
const NEGLIGIBLE: f64 = 2.0;

/// The changes that a record shows.
#[derive(Debug)]
pub(crate) struct Changes {
    /// Of all speed cases together, in per cent.
    pub(crate) speed: Option<Estimate>,
    /// Of memory over all cases, in per cent.
    pub(crate) memory: Option<Estimate>,
    /// Of the growth a cycle, in KiB.
    pub(crate) growth: Option<Estimate>,
    /// Of the madvise calls, as a difference of counts.
    pub(crate) calls: Option<Estimate>,
    /// Of the 99.9th percentile of malloc's and of free's latency over all cases, as a factor.
    pub(crate) malloc_latency: Option<Estimate>,
    pub(crate) free_latency: Option<Estimate>,
    /// By case: speed and memory in per cent.
    pub(crate) cases: Vec<(Option<Estimate>, Option<Estimate>)>,
}

/// Returns the memory that a case is about: idle if it idles, else the peak.
pub(crate) fn memory_of(figures: &Figures) -> Option<f64> {
    figures.idle_rss_kb.or(Some(figures.peak_rss_kb)).filter(|kb| *kb > 0.0)
}

impl Changes {
    /// Computes the changes from `record`.
    pub(crate) fn of(record: &Record) -> Self {
        let all = 0..record.cases.len();
        let ratios_of = |figure: fn(&Figures) -> Option<f64>| -> Vec<ByRound> {
            all.clone().map(|case| ratios(record, case, PAIR, figure)).collect()
        };
        let differences_of = |figure: fn(&Figures) -> Option<f64>| -> Vec<ByRound> {
            let difference = |ours, theirs| ours - theirs;
            all.clone().map(|case| paired(record, case, PAIR, figure, difference)).collect()
        };
        let (speeds, memories) = (ratios_of(|f| f.speed), ratios_of(memory_of));
        let counted = record.cases.iter().zip(&speeds).filter(|(case, _)| case.is_speed);
        let counted: Vec<ByRound> = counted.map(|(_, speeds)| speeds.clone()).collect();
        let one = |case: &ByRound| estimate::ratio(&values(case)).map(percent);
        Self {
            speed: mean_ratio(&counted).map(percent),
            memory: mean_ratio(&memories).map(percent),
            growth: estimate::difference(&sums(&differences_of(|f| f.growth_kb))),
            calls: estimate::difference(&sums(&differences_of(|f| f.madvise_calls))),
            malloc_latency: mean_ratio(&ratios_of(|f| f.malloc_p999_ns)),
            free_latency: mean_ratio(&ratios_of(|f| f.free_p999_ns)),
            cases: speeds.iter().zip(&memories).map(|(s, m)| (one(s), one(m))).collect(),
        }
    }

    /// Returns the largest difference that the measurements leave open.
    pub(super) fn resolution(&self) -> String {
        let range = |name: &str, change: &Option<Estimate>| {
            let Interval { low, high } = change.as_ref()?.interval?;
            Some(format!("{name} {low:+.1} to {high:+.1} %"))
        };
        let parts: Vec<String> = [range("speed", &self.speed), range("memory", &self.memory)]
            .into_iter()
            .flatten()
            .collect();
        format!("every change lies inside the criteria ({})", parts.join(", "))
    }

    /// Returns whether every measured change lies wholly inside the criteria, in both directions,
    /// and none was seen. A change without an interval does not.
    pub(super) fn are_none(&self, criteria: &Criteria) -> bool {
        let inside = |change: &Option<Estimate>, limit: f64| {
            change.is_none_or(|Estimate { value, interval, .. }| {
                interval.is_some_and(|interval| {
                    let unseen = interval.holds(0.0) || value.abs() < NEGLIGIBLE;
                    unseen && -limit <= interval.low && interval.high <= limit
                })
            })
        };
        let fewer_or_more = |Interval { low, high }| high < 0.0 || low > 0.0;
        let calls_changed = self.calls.and_then(|calls| calls.interval).is_some_and(fewer_or_more);
        inside(&self.speed, criteria.speed_go.abs())
            && inside(&self.memory, criteria.memory_limit)
            && inside(&self.growth, criteria.growth_limit)
            && !calls_changed
    }
}

/// Converts a ratio to a change in per cent.
fn percent(ratio: Estimate) -> Estimate {
    ratio.map(|factor| (factor - 1.0) * 100.0)
}
