//! A generator of random numbers and sizes: Knuth's linear congruential one.

use crate::base::size_class::MAX_SMALL;

pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// Mostly small, sometimes to the edge of what slabs hold, rarely beyond.
    pub(super) fn size(&mut self) -> usize {
        let random = usize::try_from(self.next()).unwrap_or(0);
        match self.next() % 100 {
            0 => MAX_SMALL + random % 200_000,
            1..10 => random % MAX_SMALL,
            _ => random % 1024,
        }
    }
}
