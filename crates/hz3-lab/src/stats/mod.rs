//! Order statistics of small samples.

pub(crate) mod estimate;
pub(crate) mod trend;

/// Returns the median: for an even count the mean of the middle two. `None` if there are no values.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let n = sorted.len();
    match n {
        0 => None,
        _ if n % 2 == 1 => Some(sorted[n / 2]),
        _ => Some(f64::midpoint(sorted[n / 2 - 1], sorted[n / 2])),
    }
}

/// Returns the nearest-rank percentile: the smallest value that at least `percent` % do not exceed.
pub(crate) fn nearest_rank(values: &[f64], percent: f64) -> Option<f64> {
    let sorted = sorted(values);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank lies in 0..=len, and a negative percent saturates to rank 0"
    )]
    let index = (rank as usize).saturating_sub(1);
    sorted.get(index).copied()
}

/// Returns the arithmetic mean.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_even_and_nothing() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn nearest_rank_is_always_a_value_that_was_seen() {
        let values = [15.0, 20.0, 35.0, 40.0, 50.0];
        for (percent, expected) in
            [(0.0, 15.0), (5.0, 15.0), (30.0, 20.0), (40.0, 20.0), (50.0, 35.0), (100.0, 50.0)]
        {
            assert_eq!(nearest_rank(&values, percent), Some(expected), "{percent} %");
        }
        assert_eq!(nearest_rank(&[], 95.0), None);
    }

    #[test]
    fn mean_of_values() {
        assert_eq!(mean(&[1.0, 2.0, 6.0]), Some(3.0));
        assert_eq!(mean(&[]), None);
    }
}
