//! The changes from baseline to candidate: ratios within a round, with their intervals.

use super::Criteria;
use crate::experiment::analysis::ratios;
use crate::experiment::record::Record;
use crate::experiment::trial::Figures;
use crate::stats::bootstrap::{Estimate, Resampler};
use crate::stats::median;

const BASELINE: usize = 0;
pub(super) const CANDIDATE: usize = 1;
const PAIR: (usize, usize) = (CANDIDATE, BASELINE);
/// Changes below this many per cent are none, however narrow the interval.
const NEGLIGIBLE: f64 = 1.0;

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

/// The memory that a case is about: when idle if it idles, else at its peak.
pub(crate) fn memory_of(figures: &Figures) -> Option<f64> {
    figures.idle_rss_kb.or(Some(figures.peak_rss_kb)).filter(|kb| *kb > 0.0)
}

impl Changes {
    /// Takes them from `record`.
    pub(crate) fn of(record: &Record) -> Self {
        let mut resampler = Resampler::new(record.seed);
        let all = 0..record.cases.len();
        let speeds = |case| ratios(record, case, PAIR, |f| f.speed);
        let memories = |case| ratios(record, case, PAIR, memory_of);
        let speed_cases: Vec<Vec<f64>> =
            all.clone().filter(|&case| record.cases[case].is_speed).map(speeds).collect();
        let memory_cases: Vec<Vec<f64>> = all.clone().map(memories).collect();
        let latencies = |figure: fn(&Figures) -> Option<f64>| -> Vec<Vec<f64>> {
            all.clone().map(|case| ratios(record, case, PAIR, figure)).collect()
        };
        let (mallocs, frees) = (latencies(|f| f.malloc_p999_ns), latencies(|f| f.free_p999_ns));
        let growth: Vec<Vec<f64>> =
            all.clone().map(|case| differences(record, case, |f| f.growth_kb)).collect();
        let calls: Vec<Vec<f64>> =
            all.clone().map(|case| differences(record, case, |f| f.madvise_calls)).collect();
        Self {
            speed: joint_percent(&mut resampler, &speed_cases),
            memory: joint_percent(&mut resampler, &memory_cases),
            growth: joint_sum(&mut resampler, growth),
            calls: joint_sum(&mut resampler, calls),
            malloc_latency: resampler.mean_ratio(&mallocs),
            free_latency: resampler.mean_ratio(&frees),
            cases: all
                .map(|case| {
                    let speed = joint_percent(&mut resampler, &[speeds(case)]);
                    (speed, joint_percent(&mut resampler, &[memories(case)]))
                })
                .collect(),
        }
    }

    /// What the absence of a difference is worth: changes smaller than this would not have been seen.
    pub(super) fn resolution(&self) -> String {
        let width = |change: &Estimate| (change.high - change.low) / 2.0;
        let seen = |name: &str, change: &Option<Estimate>| {
            change.as_ref().map(|change| format!("{name} to {:.1} %", width(change)))
        };
        let parts: Vec<String> = [seen("speed", &self.speed), seen("memory", &self.memory)]
            .into_iter()
            .flatten()
            .collect();
        format!("every change is within the noise, which hides {}", parts.join(" and "))
    }

    /// Whether everything that changed did so within the noise, or by next to nothing.
    pub(super) fn are_none(&self, criteria: &Criteria) -> bool {
        let same = |change: &Option<Estimate>, negligible: f64| {
            change.is_none_or(|c| (c.low <= 0.0 && 0.0 <= c.high) || c.value.abs() < negligible)
        };
        same(&self.speed, NEGLIGIBLE)
            && same(&self.memory, NEGLIGIBLE)
            && same(&self.growth, criteria.growth_limit)
            && same(&self.calls, 1.0)
    }
}

fn differences(record: &Record, case: usize, figure: fn(&Figures) -> Option<f64>) -> Vec<f64> {
    let base: Vec<(u32, f64)> =
        record.results(case, BASELINE).filter_map(|(round, f)| Some((round, figure(f)?))).collect();
    let difference = |(round, f): (u32, &Figures)| {
        let (_, base) = base.iter().find(|(other, _)| *other == round)?;
        Some(figure(f)? - base)
    };
    record.results(case, CANDIDATE).filter_map(difference).collect()
}

/// The mean ratio as a change in per cent.
fn joint_percent(resampler: &mut Resampler, groups: &[Vec<f64>]) -> Option<Estimate> {
    let percent = |factor: f64| (factor - 1.0) * 100.0;
    resampler.mean_ratio(groups).map(|Estimate { value, low, high, n }| Estimate {
        value: percent(value),
        low: percent(low),
        high: percent(high),
        n,
    })
}

/// The sum of the groups' medians.
fn joint_sum(resampler: &mut Resampler, groups: Vec<Vec<f64>>) -> Option<Estimate> {
    let groups: Vec<_> = groups.into_iter().filter(|group| !group.is_empty()).collect();
    if groups.is_empty() {
        return None;
    }
    resampler.estimate_joint(&groups, |samples| samples.iter().map(|sample| median(sample)).sum())
}
