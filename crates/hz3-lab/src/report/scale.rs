//! Axes: positions of values, and the round values that label them.

/// A linear or logarithmic axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
    is_log: bool,
}

impl Scale {
    /// Maps values `from..to` linearly to positions `start..end`.
    pub(crate) fn linear((from, to): (f64, f64), (start, end): (f64, f64)) -> Self {
        Self { from, to: to.max(from + f64::MIN_POSITIVE), start, end, is_log: false }
    }

    /// Maps values logarithmically; all must be above 0.
    pub(crate) fn log((from, to): (f64, f64), places: (f64, f64)) -> Self {
        let (from, to) = (from.max(1e-9), to.max(from.max(1e-9) * 1.01));
        Self { is_log: true, ..Self::linear((from, to), places) }
    }

    /// Returns whether equal distances are equal factors.
    pub(crate) fn is_logarithmic(&self) -> bool {
        self.is_log
    }

    /// Returns the position of `value`; a value outside is clamped to the nearest end.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let part = if self.is_log {
            (value.max(1e-9) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.start + part.clamp(0.0, 1.0) * (self.end - self.start)
    }

    /// Returns about `count` round values.
    pub(crate) fn ticks(&self, count: u32) -> Vec<f64> {
        if self.is_log { self.powers(count) } else { self.steps(count) }
    }

    fn steps(&self, count: u32) -> Vec<f64> {
        let rough = (self.to - self.from) / f64::from(count.max(1));
        let power = 10f64.powf(rough.log10().floor());
        let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|f| f * power >= rough).unwrap_or(10.0);
        let step = factor * power;
        let first = (self.from / step).ceil();
        let values = (0..=2 * count).map(|i| (first + f64::from(i)) * step);
        values.take_while(|value| *value <= self.to + step * 1e-6).collect()
    }

    fn powers(&self, count: u32) -> Vec<f64> {
        let decades = (self.to / self.from).log10();
        let factors: &[f64] = if decades < 1.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let stride = (decades / f64::from(count.max(1))).ceil().max(1.0);
        let mut values = Vec::new();
        let mut exponent = self.from.log10().floor();
        while exponent <= self.to.log10() {
            values.extend(factors.iter().map(|factor| factor * 10f64.powf(exponent)));
            exponent += stride;
        }
        let inside = self.from * 0.999..=self.to * 1.001;
        values.retain(|value| inside.contains(value));
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_middle_and_outside() {
        let scale = Scale::linear((0.0, 10.0), (100.0, 200.0));
        for (value, place) in [(0.0, 100.0), (5.0, 150.0), (10.0, 200.0), (99.0, 200.0)] {
            assert!((scale.at(value) - place).abs() < 1e-9, "{value}: {}", scale.at(value));
        }
        let log = Scale::log((1.0, 100.0), (0.0, 2.0));
        assert!((log.at(10.0) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn ticks_are_round_and_inside() {
        let names =
            |scale: Scale| scale.ticks(6).iter().map(|t| format!("{t}")).collect::<Vec<_>>();
        let places = (0.0, 1.0);
        assert_eq!(names(Scale::linear((0.0, 9.3), places)), ["0", "2", "4", "6", "8"]);
        assert_eq!(names(Scale::log((8.0, 1200.0), places)), ["10", "100", "1000"]);
        assert_eq!(names(Scale::log((0.4, 2.5), places)), ["0.5", "1", "2"]);
    }
}
