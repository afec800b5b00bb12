//! Rising series: the slope of Theil and Sen with its lower bound.
//!
//! The slope is the median of the slopes between any two values, so a few outliers hardly move it.
//! Its lower bound is Sen's: Kendall's count of rising pairs limits how far chance may shift the
//! ranks of the slopes. No shape of the scatter is assumed.

/// The 97.5 % quantile of the normal distribution.
const QUANTILE: f64 = 1.96;

/// A slope per step, and its lower bound at 97.5 % confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Trend {
    pub(crate) slope: f64,
    pub(crate) low: f64,
}

/// Returns the slope within one series of at least three values.
pub(crate) fn slope(values: &[f64]) -> Option<f64> {
    if values.len() < 3 { None } else { super::median(&slopes(values).collect::<Vec<_>>()) }
}

/// Returns the common slope within several series at any levels. `None` if there are too few values
/// for a bound.
pub(crate) fn trend(series: &[Vec<f64>]) -> Option<Trend> {
    let mut all: Vec<f64> = series.iter().flat_map(|values| slopes(values)).collect();
    all.sort_by(f64::total_cmp);
    let variance = |values: &Vec<f64>| {
        let n = values.len() as f64;
        n * (n - 1.0) * (2.0 * n + 5.0) / 18.0
    };
    let shift = QUANTILE * series.iter().map(variance).sum::<f64>().sqrt();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank lies below the number of pairs, and a negative one saturates to 0"
    )]
    let rank = ((all.len() as f64 - shift) / 2.0) as usize;
    let low = *all.get(rank.checked_sub(1)?)?;
    Some(Trend { slope: super::median(&all)?, low })
}

/// Returns the slopes between any two values.
fn slopes(values: &[f64]) -> impl Iterator<Item = f64> {
    let later = |(i, first): (usize, &f64)| {
        let first = *first;
        let rise = move |(steps, value): (usize, &f64)| (value - first) / (steps + 1) as f64;
        values[i + 1..].iter().enumerate().map(rise)
    };
    values.iter().enumerate().flat_map(later)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::support::random::Random;

    #[test]
    fn one_value_far_off_does_not_move_the_slope() {
        assert_eq!(slope(&[5.0, 7.0, 9.0, 11.0]), Some(2.0));
        assert_eq!(slope(&[5.0, 5.0, 40_000.0, 5.0, 5.0, 5.0]), Some(0.0));
        assert_eq!(slope(&[1.0, 2.0]), None);
    }

    #[test]
    fn few_values_have_no_bound() {
        assert_eq!(trend(&[vec![1.0, 2.0, 3.0]]), None);
        assert_eq!(trend(&[]), None);
        let line: Vec<f64> = (0..8).map(|i| f64::from(i) * 3.0).collect();
        assert_eq!(trend(&[line]), Some(Trend { slope: 3.0, low: 3.0 }));
    }

    #[test]
    fn levels_that_differ_between_series_are_no_slope() {
        let [low, high] = [8000.0, 80_000.0].map(|level| vec![level; 10]);
        assert_eq!(trend(&[low, high]), Some(Trend { slope: 0.0, low: 0.0 }));
    }

    /// The resident set at the ends of 23 idle times, in KiB: random values that scatter as those
    /// of the benchmark burst-idle do (8.3 to 9.4 MiB), and `leak` KiB more in each cycle.
    fn idle_ends(seed: u32, leak: f64) -> Vec<f64> {
        let mut random = Random::for_thread(seed, 0);
        let mut end = |cycle| f64::from(random.between(8_500, 9_626)) + leak * f64::from(cycle);
        (0..23).map(&mut end).collect()
    }

    #[test]
    fn a_leak_of_64_kib_a_cycle_is_told_from_scatter() {
        for seed in 0..50 {
            let scatter = trend(&[idle_ends(seed, 0.0)]).unwrap();
            assert!(scatter.low < 16.0 && scatter.slope.abs() < 32.0, "{seed}: {scatter:?}");
            let leak = trend(&[idle_ends(seed, 64.0)]).unwrap();
            assert!(leak.low > 16.0 && leak.slope < 96.0, "{seed}: {leak:?}");
        }
    }

    #[test]
    fn four_cycles_say_nothing() {
        let seen = [[8_912.0, 8_500.0, 8_964.0], [10_240.0, 9_728.0, 10_444.0]];
        assert_eq!(trend(&seen.map(|ends| ends.to_vec())[..1]), None);
    }
}
