//! A histogram of durations with buckets of at most 1/32 relative width, in fixed memory without
//! allocation.

use super::mapped::Mapped;
use crate::failure::Result;
use crate::measure::bench_report::Percentiles;

const SUB_BITS: u32 = 5;
const SUB: u64 = 1 << SUB_BITS;
/// One linear group for 0..32, then one group of 32 for each further bit of a u64.
const BUCKETS: usize = ((64 - SUB_BITS + 1) as usize) << SUB_BITS;

/// Counts per duration in nanoseconds.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: Mapped<u64>,
    max: u64,
}

impl Histogram {
    /// Maps an empty histogram.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { buckets: Mapped::new(BUCKETS, || 0)?, max: 0 })
    }

    /// Counts one value.
    #[inline]
    pub(crate) fn record(&mut self, value: u64) {
        self.buckets[bucket(value)] += 1;
        self.max = self.max.max(value);
    }

    /// Adds all values of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets.iter()) {
            *mine += theirs;
        }
        self.max = self.max.max(other.max);
    }

    /// Returns the number of values.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Returns the nearest-rank value for `per_mille`: the upper end of its bucket, at most the
    /// maximum.
    fn value_at(&self, per_mille: u64) -> u64 {
        let rank = (self.count() * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (i, n) in self.buckets.iter().enumerate() {
            seen += n;
            if seen >= rank {
                return upper_end(i).min(self.max);
            }
        }
        self.max
    }

    /// Returns the percentiles; `None` if the histogram is empty.
    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        let n = self.count();
        (n > 0).then(|| Percentiles {
            n,
            p50: self.value_at(500),
            p99: self.value_at(990),
            p999: self.value_at(999),
            max: self.max,
        })
    }

    /// Returns for every used bucket its upper end and the share of values up to it.
    pub(crate) fn curve(&self) -> Vec<(u64, f64)> {
        let total = self.count().max(1) as f64;
        let mut seen = 0;
        let used = self.buckets.iter().enumerate().filter(|(_, n)| **n > 0);
        used.map(|(i, n)| {
            seen += n;
            (upper_end(i).min(self.max), seen as f64 / total)
        })
        .collect()
    }
}

#[inline]
fn bucket(value: u64) -> usize {
    let index = if value < SUB {
        value
    } else {
        let exponent = u64::from(value.ilog2() - SUB_BITS);
        ((exponent + 1) << SUB_BITS) + ((value >> exponent) - SUB)
    };
    // An index is below BUCKETS, so it fits any usize.
    usize::try_from(index).unwrap_or(BUCKETS - 1)
}

/// The largest value that falls into bucket `index`.
fn upper_end(index: usize) -> u64 {
    let (group, sub) = (index as u64 >> SUB_BITS, index as u64 & (SUB - 1));
    match group.checked_sub(1) {
        None => sub,
        Some(exponent) => {
            u64::try_from((u128::from(SUB + sub + 1) << exponent) - 1).unwrap_or(u64::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bucket_that_reaches_it_closely() {
        let edges = (0..64).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) + 1]);
        for value in edges.chain([100, 12_345, u64::MAX]) {
            let end = upper_end(bucket(value));
            assert!(bucket(value) < BUCKETS && end >= value, "{value}");
            assert!((end - value) as f64 <= value as f64 / 32.0, "{value}: {end}");
        }
    }

    #[test]
    fn percentiles_are_nearest_rank() {
        let mut histogram = Histogram::new().unwrap();
        assert_eq!(histogram.percentiles(), None);
        (1..=1000).for_each(|value| histogram.record(value));
        let p = histogram.percentiles().unwrap();
        assert_eq!((p.n, p.max), (1000, 1000));
        assert!((500..=516).contains(&p.p50) && (990..=1000).contains(&p.p99), "{p:?}");
        assert!((999..=1000).contains(&p.p999), "{p:?}");
    }

    #[test]
    fn merging_adds_and_the_curve_ends_at_one() {
        let (mut a, mut b) = (Histogram::new().unwrap(), Histogram::new().unwrap());
        a.record(3);
        b.record(3);
        b.record(70_000);
        a.merge(&b);
        assert_eq!((a.count(), a.percentiles().unwrap().max), (3, 70_000));
        let curve = a.curve();
        assert_eq!(curve.first().map(|point| point.0), Some(3));
        assert_eq!(curve.last(), Some(&(70_000, 1.0)));
    }
}
