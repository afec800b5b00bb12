//! Decides whether a measured figure keeps to a limit over its whole interval.

use crate::stats::estimate::{Estimate, Interval};
use serde::{Deserialize, Serialize};

/// The decision on one criterion, or on all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Decision {
    Go,
    NoGo,
    Uncertain,
    NoDifference,
}

impl Decision {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Go => "GO",
            Self::NoGo => "NO-GO",
            Self::Uncertain => "UNCERTAIN",
            Self::NoDifference => "NO DIFFERENCE",
        }
    }
}

/// Decides whether a change is at least `limit`. Without an interval it is uncertain.
pub(crate) fn at_least(change: &Estimate, limit: f64) -> Decision {
    match change.interval {
        Some(Interval { low, .. }) if low >= limit => Decision::Go,
        Some(Interval { high, .. }) if high < limit => Decision::NoGo,
        _ => Decision::Uncertain,
    }
}

/// Decides whether a change is at most `limit`. Without an interval it is uncertain.
pub(crate) fn at_most(change: &Estimate, limit: f64) -> Decision {
    match change.interval {
        Some(Interval { high, .. }) if high <= limit => Decision::Go,
        Some(Interval { low, .. }) if low > limit => Decision::NoGo,
        _ => Decision::Uncertain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_across_the_limit_is_uncertain() {
        let change = |low, high| Estimate {
            value: f64::midpoint(low, high),
            interval: Some(Interval { low, high }),
            n: 9,
        };
        assert_eq!(at_least(&change(-1.5, 3.0), -2.0), Decision::Go);
        assert_eq!(at_least(&change(-2.5, 3.0), -2.0), Decision::Uncertain);
        assert_eq!(at_least(&change(-9.0, -2.5), -2.0), Decision::NoGo);
        assert_eq!(at_most(&change(-12.0, -11.0), -10.0), Decision::Go);
        assert_eq!(at_most(&change(-12.0, -9.0), -10.0), Decision::Uncertain);
        assert_eq!(at_most(&change(-5.0, 1.0), -10.0), Decision::NoGo);
        let one_round = Estimate { value: -50.0, interval: None, n: 1 };
        assert_eq!(at_least(&one_round, -2.0), Decision::Uncertain);
        assert_eq!(at_most(&one_round, -10.0), Decision::Uncertain);
    }
}
