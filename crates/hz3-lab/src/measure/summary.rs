//! Summaries of a series of samples: a few numbers per quantity.

use super::sample::{Detail, Sample};
use crate::stats::{mean, nearest_rank};
use serde::Serialize;

/// The summary of one quantity over time.
#[derive(Debug, Serialize, PartialEq)]
pub(crate) struct Summary {
    /// The name of its column.
    pub(crate) quantity: &'static str,
    /// Number of samples that read it.
    pub(crate) n: usize,
    /// Their mean.
    pub(crate) mean_kb: f64,
    /// The largest.
    pub(crate) max_kb: f64,
    /// The 95th percentile by nearest rank.
    pub(crate) p95_kb: f64,
    /// Value of the last sample.
    pub(crate) last_kb: f64,
}

/// Summarises every quantity that was read at least once, the resident set first.
pub(crate) fn all(samples: &[Sample]) -> Vec<Summary> {
    let detail =
        |field: fn(&Detail) -> u64| move |sample: &Sample| sample.detail.as_ref().map(field);
    [
        one("rss", samples, |s| Some(s.rss_kb)),
        one("vms", samples, |s| Some(s.vms_kb)),
        one("pss", samples, detail(|d| d.pss_kb)),
        one("uss", samples, detail(|d| d.uss_kb)),
        one("lazyfree", samples, detail(|d| d.lazyfree_kb)),
        one("anon_huge", samples, detail(|d| d.anon_huge_kb)),
        one("cgroup", samples, |s| s.cgroup_kb),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn one(
    quantity: &'static str,
    samples: &[Sample],
    field: impl Fn(&Sample) -> Option<u64>,
) -> Option<Summary> {
    let values: Vec<f64> = samples.iter().filter_map(field).map(|kb| kb as f64).collect();
    Some(Summary {
        quantity,
        n: values.len(),
        mean_kb: mean(&values)?,
        max_kb: nearest_rank(&values, 100.0)?,
        p95_kb: nearest_rank(&values, 95.0)?,
        last_kb: *values.last()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_of_a_hundred() {
        let samples: Vec<Sample> =
            (1..=100).map(|rss_kb| Sample { rss_kb, ..Sample::default() }).collect();
        let summaries = all(&samples);
        let rss = &summaries[0];
        assert_eq!((rss.quantity, rss.n), ("rss", 100));
        let figures = [rss.mean_kb, rss.max_kb, rss.p95_kb, rss.last_kb];
        assert!(figures.iter().zip([50.5, 100.0, 95.0, 100.0]).all(|(a, b)| (a - b).abs() < 1e-9));
        let names: Vec<_> = summaries.iter().map(|summary| summary.quantity).collect();
        assert_eq!(names, ["rss", "vms"], "what was never read is left out");
    }
}
