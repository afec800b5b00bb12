//! Intervals without assumptions about the distribution: resample what was measured, many times.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

/// A figure with its interval.
#[derive(Debug, Clone, Copy, Serialize, PartialEq)]
pub(crate) struct Estimate {
    /// The figure of all that was measured.
    pub(crate) value: f64,
    /// 95 % of the resampled figures lie from here...
    pub(crate) low: f64,
    /// ...to here.
    pub(crate) high: f64,
    /// Values that went in.
    pub(crate) n: usize,
}

impl Estimate {
    /// Half of the interval's width, relative to the value.
    pub(crate) fn relative_half_width(&self) -> f64 {
        (self.high - self.low) / 2.0 / self.value.abs().max(f64::MIN_POSITIVE)
    }
}

/// Draws resamples; the same seed draws the same.
#[derive(Debug)]
pub(crate) struct Resampler {
    random: StdRng,
}

impl Resampler {
    const RESAMPLES: usize = 2000;
    const TAIL: f64 = 2.5;

    /// Seeded.
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed ^ 0x6266_7374_7261_7021) }
    }

    /// The figure `of` the values, with its interval. `None` when there is no figure.
    pub(crate) fn estimate(
        &mut self,
        values: &[f64],
        of: impl Fn(&[f64]) -> Option<f64>,
    ) -> Option<Estimate> {
        self.estimate_joint(&[values.to_vec()], |samples| of(&samples[0]))
    }

    /// The geometric mean of the groups' medians, each group being the ratios of one case; empty ones do
    /// not count.
    pub(crate) fn mean_ratio(&mut self, groups: &[Vec<f64>]) -> Option<Estimate> {
        let groups: Vec<_> = groups.iter().filter(|group| !group.is_empty()).cloned().collect();
        self.estimate_joint(&groups, |samples| {
            let medians: Vec<f64> =
                samples.iter().filter_map(|sample| super::median(sample)).collect();
            super::geometric_mean(&medians)
        })
    }

    /// The same for a figure of several groups, each resampled by itself.
    pub(crate) fn estimate_joint(
        &mut self,
        groups: &[Vec<f64>],
        of: impl Fn(&[Vec<f64>]) -> Option<f64>,
    ) -> Option<Estimate> {
        let value = of(groups)?;
        let mut resample = groups.to_vec();
        let mut figures = Vec::with_capacity(Self::RESAMPLES);
        for _ in 0..Self::RESAMPLES {
            for (sample, group) in resample.iter_mut().zip(groups) {
                for place in sample.iter_mut() {
                    *place = group[self.random.random_range(0..group.len())];
                }
            }
            figures.extend(of(&resample));
        }
        Some(Estimate {
            value,
            low: super::nearest_rank(&figures, Self::TAIL)?,
            high: super::nearest_rank(&figures, 100.0 - Self::TAIL)?,
            n: groups.iter().map(Vec::len).sum(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::median;

    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_says() {
        // 200 experiments of 15 values around 1.0: about 95 % of the intervals should hold 1.0.
        let mut random = StdRng::seed_from_u64(3);
        let mut resampler = Resampler::new(1);
        let held = (0..200).filter(|_| {
            let values: Vec<f64> = (0..15)
                .map(|_| 1.0 + 0.1 * (random.random::<f64>() + random.random::<f64>() - 1.0))
                .collect();
            let estimate = resampler.estimate(&values, median).unwrap();
            estimate.low <= 1.0 && 1.0 <= estimate.high
        });
        let held = held.count();
        assert!(held >= 180, "{held} of 200");
    }

    #[test]
    fn no_spread_means_no_width_and_nothing_means_nothing() {
        let mut resampler = Resampler::new(1);
        let estimate = resampler.estimate(&[2.0; 5], median).unwrap();
        assert_eq!((estimate.value, estimate.low, estimate.high, estimate.n), (2.0, 2.0, 2.0, 5));
        assert_eq!(resampler.estimate(&[], median), None);
    }
}
