//! Decides when there are enough pairs of runs.

use super::passes::Outcomes;
use crate::stats::estimate;
use std::time::Duration;

/// The number of pairs, or the time after which no further one begins.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) pairs: Option<usize>,
    pub(super) time: Duration,
}

/// Narrow intervals end the pairs only after this many, twice as many, and so on. A test after
/// every pair would often stop at an interval that is narrow by chance and misses the truth.
const LOOK_EVERY: usize = 10;
const MAX_PAIRS: usize = 50;
/// The largest ratio of the ends of a narrow interval.
const NARROW: f64 = 1.02;

impl Stop {
    /// Returns whether `outcomes`, which took `elapsed` in total, are enough.
    pub(super) fn is_reached(&self, outcomes: &Outcomes, elapsed: Duration) -> bool {
        let pairs = outcomes.pairs();
        if let Some(wanted) = self.pairs {
            return pairs >= wanted;
        }
        let next_end = elapsed + elapsed / u32::try_from(pairs.max(1)).unwrap_or(u32::MAX);
        let figures = [
            outcomes.ratios(|o| o.wall.as_secs_f64()),
            outcomes.ratios(|o| o.peak_rss_kb() as f64),
        ];
        pairs >= MAX_PAIRS || pairs > 0 && next_end > self.time || are_narrow(&figures)
    }
}

fn are_narrow(figures: &[Vec<f64>]) -> bool {
    figures.iter().all(|ratios| {
        !ratios.is_empty()
            && ratios.len().is_multiple_of(LOOK_EVERY)
            && estimate::ratio(ratios)
                .and_then(|estimate| estimate.width_factor())
                .is_some_and(|factor| factor <= NARROW)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    /// Pairs of the same command until the interval is narrow: does the interval at that moment
    /// still cover 1 as often as stated, although its narrowness chose the moment?
    #[test]
    fn stopping_at_a_narrow_interval_keeps_its_coverage() {
        let mut random = Rng::with_seed(11);
        for spread in [0.005, 0.01, 0.02, 0.05] {
            let mut covered = 0;
            for _ in 0..400 {
                let mut ratios = Vec::new();
                let mut side = || spread * (random.f64() + random.f64());
                while ratios.len() < MAX_PAIRS && !are_narrow(&[ratios.clone()]) {
                    ratios.push((side() - side()).exp());
                }
                let interval = estimate::ratio(&ratios).and_then(|e| e.interval);
                covered += u32::from(interval.is_some_and(|interval| interval.holds(1.0)));
            }
            // Stopping costs about one point of the 95 %, and 400 experiments scatter by as much.
            assert!(covered >= 360, "spread {spread}: {covered} of 400");
        }
    }
}
