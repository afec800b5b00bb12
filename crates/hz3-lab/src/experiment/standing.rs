//! Whether a measured figure keeps to a limit, over its whole interval.

use crate::stats::bootstrap::Estimate;
use serde::{Deserialize, Serialize};

/// How a criterion, or the whole, stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    Go,
    NoGo,
    Uncertain,
    NoDifference,
}

impl Standing {
    /// In words.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Go => "GO",
            Self::NoGo => "NO-GO",
            Self::Uncertain => "UNCERTAIN",
            Self::NoDifference => "NO DIFFERENCE",
        }
    }
}

/// Whether a change is at least `limit`: yes, no, or not to be said.
pub(crate) fn at_least(change: &Estimate, limit: f64) -> Standing {
    if change.low >= limit {
        Standing::Go
    } else if change.high < limit {
        Standing::NoGo
    } else {
        Standing::Uncertain
    }
}

/// The same the other way round.
pub(crate) fn at_most(change: &Estimate, limit: f64) -> Standing {
    let mirrored =
        Estimate { value: -change.value, low: -change.high, high: -change.low, n: change.n };
    at_least(&mirrored, -limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_across_the_limit_is_uncertain() {
        let change = |low, high| Estimate { value: f64::midpoint(low, high), low, high, n: 9 };
        assert_eq!(at_least(&change(-1.5, 3.0), -2.0), Standing::Go);
        assert_eq!(at_least(&change(-2.5, 3.0), -2.0), Standing::Uncertain);
        assert_eq!(at_least(&change(-9.0, -2.5), -2.0), Standing::NoGo);
        assert_eq!(at_most(&change(-12.0, -11.0), -10.0), Standing::Go);
        assert_eq!(at_most(&change(-12.0, -9.0), -10.0), Standing::Uncertain);
        assert_eq!(at_most(&change(-5.0, 1.0), -10.0), Standing::NoGo);
    }
}
