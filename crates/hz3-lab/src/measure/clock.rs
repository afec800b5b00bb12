//! The clock that the measuring and the measured process share.

use std::time::Duration;

/// Returns milliseconds of the system-wide monotonic clock.
pub(crate) fn monotonic_ms() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::try_from(now).map_or(0.0, |since| since.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_clock_runs_forward() {
        let before = super::monotonic_ms();
        assert!(before > 0.0 && super::monotonic_ms() >= before);
    }
}
