//! Intervals and weights of samples, from the exponential distribution. `core` has no logarithm and
//! no exponential function, so they are here.

/// Returns a value of the exponential distribution with mean 1 for a uniform random word.
pub(crate) fn standard_exponential(word: u64) -> f64 {
    // A half is added to the upper 52 bits, so the quotient is above 0 and below 1.
    #[expect(clippy::cast_precision_loss, reason = "these are exact")]
    let uniform = ((word >> 12) as f64 + 0.5) / (1u64 << 52) as f64;
    -ln(uniform)
}

/// Returns the whole part of `value * rate`.
pub(crate) fn scaled(value: f64, rate: u64) -> i64 {
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "saturates")]
    let product = (value * rate as f64) as i64;
    product
}

/// Returns the bytes that a sample of `size` bytes stands for.
pub(crate) fn weighted(weight: f64, size: usize) -> u64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate; saturates"
    )]
    let bytes = (weight * size as f64 + 0.5) as u64;
    bytes
}

/// Returns the probability `1 - exp(-counted / rate)` that a request which counts `counted` bytes
/// is sampled. Both are at least 1.
pub(crate) fn sampled_share(counted: i64, rate: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let mut exponent = counted as f64 / rate as f64;
    if exponent > 40.0 {
        return 1.0;
    }
    let mut doublings = 0;
    while exponent > 0.5 {
        exponent /= 2.0;
        doublings += 1;
    }
    // The series of `exp(-x) - 1`, because a subtraction of 1 would lose digits.
    let (mut term, mut exp_less_1) = (1.0, 0.0);
    for step in 1..=16 {
        term *= -exponent / f64::from(step);
        exp_less_1 += term;
    }
    for _ in 0..doublings {
        // `exp(2y) - 1 = (exp(y) - 1) * (exp(y) + 1)`.
        exp_less_1 *= exp_less_1 + 2.0;
    }
    -exp_less_1
}

/// Returns the natural logarithm of a positive, normal number.
fn ln(value: f64) -> f64 {
    const MANTISSA: u32 = 52;
    const BIAS: u64 = 1023;
    let bits = value.to_bits();
    let mut exponent = (bits >> MANTISSA) - BIAS.min(bits >> MANTISSA);
    let mut negative = BIAS.saturating_sub(bits >> MANTISSA);
    let mut part = f64::from_bits((bits & ((1 << MANTISSA) - 1)) | (BIAS << MANTISSA));
    if part > core::f64::consts::SQRT_2 {
        part /= 2.0;
        if negative > 0 {
            negative -= 1;
        } else {
            exponent += 1;
        }
    }
    // `ln(m) = 2 * artanh((m - 1) / (m + 1))`, for `m` between the root of a half and that of two.
    let ratio = (part - 1.0) / (part + 1.0);
    let (mut sum, mut power) = (0.0, ratio);
    for odd in (1..=27).step_by(2) {
        sum += power / f64::from(odd);
        power *= ratio * ratio;
    }
    #[expect(clippy::cast_precision_loss, reason = "an exponent")]
    let whole = exponent as f64 - negative as f64;
    2.0 * sum + whole * core::f64::consts::LN_2
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, clippy::float_cmp, reason = "the values are exact")]
mod tests {
    use super::{ln, sampled_share, standard_exponential};

    #[test]
    fn the_logarithm_agrees_with_the_standard_library() {
        let mut value = f64::from_bits(1 << 53);
        while value < 1e300 {
            let (found, expected) = (ln(value), value.ln());
            let error = (found - expected).abs();
            assert!(error <= 1e-14 * expected.abs().max(1.0), "{value:e}: {found} {expected}");
            value *= 1.037;
        }
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn the_sampled_share_agrees_with_the_standard_library() {
        for rate in [1u64, 100, 4096, 1 << 19, 1 << 32] {
            for counted in (0..47).map(|shift| 1i64 << shift) {
                let expected = -(-(counted as f64) / rate as f64).exp_m1();
                let found = sampled_share(counted, rate);
                assert!(
                    (found - expected).abs() <= 1e-12 * expected,
                    "{counted} of {rate}: {found}"
                );
            }
        }
    }

    #[test]
    fn draws_are_positive_and_finite_at_both_ends() {
        assert!(standard_exponential(u64::MAX) > 0.0);
        assert!((standard_exponential(0) - 53.0 * core::f64::consts::LN_2).abs() < 1e-9);
    }
}
