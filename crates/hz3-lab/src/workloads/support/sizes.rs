//! The distributions of request sizes.

use super::random::Random;
use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A distribution of request sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sizes {
    /// Every size from `min` to `max` with equal probability.
    Uniform { min: u32, max: u32 },
    /// The C hz3's `dist`: 80 % 16-256, 15 % 257-2048, 5 % 2049-32768.
    Application,
}

/// The named ranges of the benchmark loop of the C hz3.
const NAMED: [(&str, u32, u32); 3] =
    [("small", 16, 2048), ("medium", 4096, 32_768), ("mixed", 16, 32_768)];
/// The least size that holds the mark.
pub(crate) const SMALLEST: u32 = 8;

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "app" {
            return Ok(Self::Application);
        }
        if let Some((_, min, max)) = NAMED.iter().find(|(name, _, _)| *name == text) {
            return Ok(Self::Uniform { min: *min, max: *max });
        }
        let range = text
            .split_once('-')
            .and_then(|(min, max)| Some((min.parse().ok()?, max.parse().ok()?)));
        match range {
            Some((min, max)) if SMALLEST <= min && min <= max => Ok(Self::Uniform { min, max }),
            _ => Err(format!(
                "expected small, medium, mixed, app, or MIN-MAX in bytes from {SMALLEST} on"
            )),
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Application => f.write_str("app"),
            Self::Uniform { min, max } => write!(f, "{min}-{max}"),
        }
    }
}

impl Serialize for Sizes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Sizes {
    /// Returns the mean size in bytes, rounded down.
    pub(crate) fn mean(self) -> u128 {
        match self {
            Self::Uniform { min, max } => u128::from(min).midpoint(u128::from(max)),
            Self::Application => (80 * 136 + 15 * 1152 + 5 * 17_408) / 100,
        }
    }

    /// Draws the next size.
    #[inline]
    pub(crate) fn draw(self, random: &mut Random) -> usize {
        let size = match self {
            Self::Uniform { min, max } => random.between(min, max),
            Self::Application => match random.below(100) {
                0..80 => random.between(16, 256),
                80..95 => random.between(257, 2048),
                _ => random.between(2049, 32_768),
            },
        };
        size as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_ranges_and_nonsense() {
        assert_eq!("small".parse(), Ok(Sizes::Uniform { min: 16, max: 2048 }));
        assert_eq!("64-64".parse(), Ok(Sizes::Uniform { min: 64, max: 64 }));
        assert_eq!("app".parse(), Ok(Sizes::Application));
        for wrong in ["", "7-16", "20-10", "x", "16-"] {
            assert!(wrong.parse::<Sizes>().is_err(), "{wrong}");
        }
        assert_eq!("medium".parse::<Sizes>().unwrap().to_string(), "4096-32768");
    }

    #[test]
    fn uniform_sizes_reach_both_ends() {
        let mut random = Random::for_thread(1, 0);
        let sizes = Sizes::Uniform { min: 16, max: 20 };
        let drawn: std::collections::BTreeSet<_> =
            (0..200).map(|_| sizes.draw(&mut random)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [16, 17, 18, 19, 20]);
    }

    #[test]
    fn the_application_mix_has_its_shares() {
        let mut random = Random::for_thread(1, 0);
        let drawn: Vec<_> = (0..20_000).map(|_| Sizes::Application.draw(&mut random)).collect();
        let share = |low, high| {
            drawn.iter().filter(|size| (low..=high).contains(*size)).count() as f64 / 20_000.0
        };
        for (low, high, expected) in [(16, 256, 0.80), (257, 2048, 0.15), (2049, 32_768, 0.05)] {
            assert!(
                (share(low, high) - expected).abs() < 0.01,
                "{low}..{high}: {}",
                share(low, high)
            );
        }
    }
}
