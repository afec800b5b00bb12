//! Medians, ratios to the base with intervals, and geometric means of a record.
//!
//! A ratio is taken within a round, where both trials ran close to each other in time. The
//! geometric mean over the counted cases is taken within a round too. Its interval therefore comes
//! from the rounds in the same way as that of a single case.

use super::record::Record;
use super::trial::Figures;
use crate::stats::estimate::{self, Estimate, FEWEST};
use crate::stats::median;
use serde::Serialize;

/// A case whose interval is wider than this factor on any allocator does not count in the mean,
/// because it runs at two speeds or other work disturbed it.
const WIDEST: f64 = 1.5;

/// The results of one case on one allocator.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Cell {
    /// Median speed.
    pub(crate) speed: Option<f64>,
    /// Ratio of speeds to the base.
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

/// The analysis of a record.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Analysis {
    /// Indexed by case, then by allocator.
    pub(crate) cells: Vec<Vec<Cell>>,
    /// By allocator: the geometric mean of its speed ratios, over how many cases.
    pub(crate) overall: Vec<Option<(Estimate, usize)>>,
    /// The speed cases that are left out of the mean because their intervals are too wide.
    pub(crate) unsteady: Vec<usize>,
}

/// Values by round.
pub(crate) type ByRound = Vec<(u32, f64)>;

/// Pairs a figure of one allocator with the same figure of another, round by round.
pub(crate) fn ratios(
    record: &Record,
    case: usize,
    pair: (usize, usize),
    figure: impl Fn(&Figures) -> Option<f64>,
) -> ByRound {
    let all = paired(record, case, pair, figure, |ours, theirs| ours / theirs);
    all.into_iter().filter(|(_, ratio)| ratio.is_finite() && *ratio > 0.0).collect()
}

/// Applies `relate(ours, theirs)` in each round that has both.
pub(crate) fn paired(
    record: &Record,
    case: usize,
    (peer, base): (usize, usize),
    figure: impl Fn(&Figures) -> Option<f64>,
    relate: impl Fn(f64, f64) -> f64,
) -> ByRound {
    let theirs: ByRound =
        record.results(case, base).filter_map(|(round, f)| Some((round, figure(f)?))).collect();
    let related = |(round, figures): (u32, &Figures)| {
        let (_, base) = theirs.iter().find(|(other, _)| *other == round)?;
        Some((round, relate(figure(figures)?, *base)))
    };
    record.results(case, peer).filter_map(related).collect()
}

/// Returns the values without their rounds.
pub(crate) fn values(by_round: &[(u32, f64)]) -> Vec<f64> {
    by_round.iter().map(|(_, value)| *value).collect()
}

/// Returns the geometric mean of the cases' ratios in each round that has all of them, and its
/// interval. Cases without any value do not count.
pub(crate) fn mean_ratio(cases: &[ByRound]) -> Option<Estimate> {
    let count = cases.iter().filter(|case| !case.is_empty()).count() as f64;
    let logarithms: Vec<ByRound> = cases
        .iter()
        .map(|case| case.iter().map(|(round, ratio)| (*round, ratio.ln() / count)).collect())
        .collect();
    estimate::difference(&sums(&logarithms)).map(|mean| mean.map(f64::exp))
}

/// Sums the cases in each round that has all of them. Cases without any value do not count.
pub(crate) fn sums(cases: &[ByRound]) -> Vec<f64> {
    let mut present = cases.iter().filter(|case| !case.is_empty());
    let Some(first) = present.next() else { return Vec::new() };
    let rest: Vec<&ByRound> = present.collect();
    let sum = |(round, value): &(u32, f64)| {
        let others = rest
            .iter()
            .map(|case| case.iter().find(|(other, _)| other == round).map(|(_, value)| *value));
        others.sum::<Option<f64>>().map(|others| value + others)
    };
    first.iter().filter_map(sum).collect()
}

impl Analysis {
    /// Analyses `record`.
    pub(crate) fn of(record: &Record) -> Self {
        let cells: Vec<Vec<Cell>> = (0..record.cases.len())
            .map(|case| (0..record.peers.len()).map(|peer| cell(record, case, peer)).collect())
            .collect();
        let (steady, unsteady): (Vec<usize>, Vec<usize>) = (0..record.cases.len())
            .filter(|&case| record.cases[case].is_speed)
            .partition(|&case| is_steady(&cells[case]));
        let overall = (0..record.peers.len())
            .map(|peer| {
                let ratios: Vec<ByRound> = steady
                    .iter()
                    .map(|&case| ratios(record, case, (peer, record.base), |f| f.speed))
                    .collect();
                let cases = ratios.iter().filter(|case| !case.is_empty()).count();
                mean_ratio(&ratios).map(|estimate| (estimate, cases))
            })
            .collect();
        Self { cells, overall, unsteady }
    }

    /// Returns whether every ratio of speeds is known within `factor`, from low to high end.
    pub(crate) fn is_narrow(&self, record: &Record, factor: f64) -> bool {
        let speeds = record.cases.iter().zip(&self.cells).filter(|(case, _)| case.is_speed);
        let mut ratios = speeds.flat_map(|(_, cells)| cells).filter_map(|cell| cell.ratio);
        ratios.all(|ratio| ratio.width_factor().is_some_and(|width| width <= factor))
    }
}

fn is_steady(cells: &[Cell]) -> bool {
    let mut widths = cells.iter().filter_map(|cell| cell.ratio?.width_factor());
    widths.all(|width| width <= WIDEST)
}

fn cell(record: &Record, case: usize, peer: usize) -> Cell {
    let over = |figure: fn(&Figures) -> Option<f64>| {
        median(&record.results(case, peer).filter_map(|(_, f)| figure(f)).collect::<Vec<_>>())
    };
    let failed =
        |t: &&super::record::Trial| t.slot.case == case && t.slot.peer == peer && t.result.is_err();
    Cell {
        speed: over(|f| f.speed),
        ratio: estimate::ratio(&values(&ratios(record, case, (peer, record.base), |f| f.speed))),
        peak_rss_kb: over(|f| Some(f.peak_rss_kb)),
        idle_rss_kb: over(|f| f.idle_rss_kb),
        peak_cgroup_kb: over(|f| f.peak_cgroup_kb),
        idle_cgroup_kb: over(|f| f.idle_cgroup_kb),
        malloc_p999_ns: over(|f| f.malloc_p999_ns),
        free_p999_ns: over(|f| f.free_p999_ns),
        failures: record.trials.iter().filter(failed).count(),
    }
}

/// The relation of two allocators in one figure, as far as the rounds can tell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Relation {
    /// The interval of the ratio lies below 1, or above it.
    Less(Estimate),
    More(Estimate),
    /// The interval contains 1.
    NotSeen(Estimate),
    /// There are too few rounds for an interval.
    TooFew,
}

impl Relation {
    /// Of a ratio.
    pub(crate) fn of(ratio: Option<Estimate>) -> Self {
        match ratio.and_then(|estimate| Some((estimate, estimate.interval?))) {
            Some((estimate, interval)) if interval.high < 1.0 => Self::Less(estimate),
            Some((estimate, interval)) if interval.low > 1.0 => Self::More(estimate),
            Some((estimate, _)) => Self::NotSeen(estimate),
            None => Self::TooFew,
        }
    }
}

/// Explains for messages that so few rounds give no interval.
pub(crate) fn rounds_needed(rounds: usize) -> String {
    let plural = if rounds == 1 { "" } else { "s" };
    format!("{rounds} round{plural}, and an interval needs {FEWEST}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::cases::Case;
    use fastrand::Rng;

    fn by_round(values: &[f64]) -> ByRound {
        (0..).zip(values.iter().copied()).collect()
    }

    #[test]
    fn the_mean_is_that_of_the_cases_within_a_round() {
        let mean = mean_ratio(&[by_round(&[4.0; 6]), by_round(&[1.0; 6]), vec![]]).unwrap();
        assert!((mean.value - 2.0).abs() < 1e-9 && mean.n == 6, "{mean:?}");
        let shorter = mean_ratio(&[by_round(&[4.0; 6]), by_round(&[1.0; 2])]).unwrap();
        assert_eq!((shorter.n, shorter.interval), (2, None), "only rounds that have both count");
        assert_eq!(mean_ratio(&[vec![]]), None);
    }

    #[test]
    fn a_case_of_two_speeds_is_left_out_of_the_mean_and_named() {
        let cases =
            vec![Case::bench("steady", "mixed", true, 7), Case::bench("torn", "remote", true, 7)];
        let mut random = Rng::with_seed(5);
        let record = Record::simulated(&["glibc", "hz3"], cases, 5, |slot| {
            let torn = slot.case == 1 && random.bool();
            let noise = 1.0 + 0.02 * random.f64();
            Figures { speed: Some(noise * if torn { 4.0 } else { 1.0 }), ..Figures::default() }
        });
        let analysis = Analysis::of(&record);
        assert_eq!(analysis.unsteady, [1], "{:?}", analysis.cells[1][1].ratio);
        assert_eq!(analysis.overall[1].unwrap().1, 1);
    }

    #[test]
    fn a_relation_needs_an_interval_on_one_side_of_1() {
        let of = |values: &[f64]| Relation::of(estimate::ratio(values));
        assert!(matches!(of(&[0.9, 0.91, 0.92, 0.93, 0.9, 0.94]), Relation::Less(_)));
        assert!(matches!(of(&[1.1, 1.2, 1.3, 1.1, 1.2, 1.3]), Relation::More(_)));
        assert!(matches!(of(&[0.9, 1.2, 1.3, 1.1, 1.2, 1.3]), Relation::NotSeen(_)));
        assert_eq!(of(&[9.0; 5]), Relation::TooFew);
        assert_eq!(Relation::of(None), Relation::TooFew);
    }
}
