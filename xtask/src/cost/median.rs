//! The middle of several measurements, and how far they scatter.

/// Returns the median; the mean of the two middle values of an even number. `None` of nothing.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 { Some(upper) } else { Some(f64::midpoint(sorted[middle - 1], upper)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(values: &[f64], expected: f64) -> bool {
        median(values).is_some_and(|found| (found - expected).abs() < 1e-12)
    }

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert!(is(&[5.0, 1.0, 900.0], 5.0));
        assert!(is(&[4.0, 1.0, 2.0, 900.0], 3.0));
        assert!(is(&[7.0], 7.0));
        assert!(median(&[]).is_none());
    }
}
