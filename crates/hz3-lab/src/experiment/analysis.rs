//! From trials to statements: medians, ratios to the base with intervals, geometric means.
//!
//! A ratio is taken within a round, where both trials ran close to each other in time; the median over the
//! rounds is the figure, and a bootstrap over the rounds gives its interval.

use super::record::Record;
use super::trial::Figures;
use crate::stats::bootstrap::{Estimate, Resampler};
use crate::stats::median;
use serde::Serialize;

/// What came of one case on one allocator.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Cell {
    /// Median speed.
    pub(crate) speed: Option<f64>,
    /// Median ratio of speeds to the base.
    pub(crate) ratio: Option<Estimate>,
    /// Medians.
    pub(crate) peak_rss_kb: Option<f64>,
    pub(crate) idle_rss_kb: Option<f64>,
    pub(crate) peak_cgroup_kb: Option<f64>,
    pub(crate) idle_cgroup_kb: Option<f64>,
    pub(crate) malloc_p999_ns: Option<f64>,
    pub(crate) free_p999_ns: Option<f64>,
    /// Trials that failed.
    pub(crate) failures: usize,
}

/// Everything that a record says.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Analysis {
    /// By case, then by allocator.
    pub(crate) cells: Vec<Vec<Cell>>,
    /// By allocator: the geometric mean of its speed ratios, over how many cases.
    pub(crate) overall: Vec<Option<(Estimate, usize)>>,
}

/// A figure of one allocator against the same of another, round by round.
pub(crate) fn ratios(
    record: &Record,
    case: usize,
    (peer, base): (usize, usize),
    figure: impl Fn(&Figures) -> Option<f64>,
) -> Vec<f64> {
    let theirs: Vec<(u32, f64)> =
        record.results(case, base).filter_map(|(round, f)| Some((round, figure(f)?))).collect();
    let ratio = |(round, f): (u32, &Figures)| {
        let (_, base) = theirs.iter().find(|(other, _)| *other == round)?;
        Some(figure(f)? / base).filter(|ratio| ratio.is_finite() && *ratio > 0.0)
    };
    record.results(case, peer).filter_map(ratio).collect()
}

impl Analysis {
    /// Analyses `record`; the resampling is seeded by it, so the same record gives the same intervals.
    pub(crate) fn of(record: &Record) -> Self {
        let mut resampler = Resampler::new(record.seed);
        let speeds = |case, peer| ratios(record, case, (peer, record.base), |f| f.speed);
        let cell = |resampler: &mut Resampler, case: usize, peer: usize| {
            let over = |figure: fn(&Figures) -> Option<f64>| {
                median(
                    &record.results(case, peer).filter_map(|(_, f)| figure(f)).collect::<Vec<_>>(),
                )
            };
            let failed = |t: &&super::record::Trial| {
                t.slot.case == case && t.slot.peer == peer && t.result.is_err()
            };
            Cell {
                speed: over(|f| f.speed),
                ratio: resampler.estimate(&speeds(case, peer), median),
                peak_rss_kb: over(|f| Some(f.peak_rss_kb)),
                idle_rss_kb: over(|f| f.idle_rss_kb),
                peak_cgroup_kb: over(|f| f.peak_cgroup_kb),
                idle_cgroup_kb: over(|f| f.idle_cgroup_kb),
                malloc_p999_ns: over(|f| f.malloc_p999_ns),
                free_p999_ns: over(|f| f.free_p999_ns),
                failures: record.trials.iter().filter(failed).count(),
            }
        };
        let cases = 0..record.cases.len();
        let peers = 0..record.peers.len();
        let cells = cases
            .clone()
            .map(|case| peers.clone().map(|peer| cell(&mut resampler, case, peer)).collect())
            .collect();
        let overall = peers
            .map(|peer| {
                let speed_cases = cases.clone().filter(|&case| record.cases[case].is_speed);
                let all: Vec<Vec<f64>> =
                    speed_cases.map(|case| speeds(case, peer)).filter(|r| !r.is_empty()).collect();
                let estimate = resampler.mean_ratio(&all);
                estimate.map(|estimate| (estimate, all.len()))
            })
            .collect();
        Self { cells, overall }
    }
}
