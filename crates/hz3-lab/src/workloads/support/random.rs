//! The C hz3's random numbers: one multiplication and one addition.

/// The linear congruential generator of the C hz3's benches (1664525, 1013904223).
#[derive(Debug, Clone)]
pub(crate) struct Random(u32);

impl Random {
    /// The C hz3's seed.
    pub(crate) const SEED: u32 = 0x1234_5678;

    /// Returns the generator of one thread; thread 0 starts from the seed itself.
    pub(crate) fn for_thread(seed: u32, thread: usize) -> Self {
        let thread = u32::try_from(thread).unwrap_or(u32::MAX);
        Self(seed.wrapping_add(thread.wrapping_mul(0x9e37_79b9)))
    }

    #[inline]
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0
    }

    /// Returns a number below `n`, from the high bits because the low ones repeat soon. This also
    /// avoids a division.
    #[inline]
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        let wide = u64::from(self.next()) * u64::from(n);
        // The product is below 2^32 * n, so its upper half is below n.
        u32::try_from(wide >> 32).unwrap_or(0)
    }

    /// Returns a number from `min` to `max`, both included.
    #[inline]
    pub(crate) fn between(&mut self, min: u32, max: u32) -> u32 {
        debug_assert!(min <= max);
        min + self.below(max - min + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_numbers_of_a_range_come_about_equally_often() {
        let mut random = Random::for_thread(Random::SEED, 0);
        let mut seen = [0u32; 16];
        (0..16_000).for_each(|_| seen[random.between(5, 20) as usize - 5] += 1);
        assert!(seen.iter().all(|&n| (800..1200).contains(&n)), "{seen:?}");
    }

    #[test]
    fn a_seed_repeats_and_threads_differ() {
        let draw = |thread| {
            let mut random = Random::for_thread(7, thread);
            [random.below(1 << 30), random.below(1 << 30)]
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(0), draw(1));
    }
}
