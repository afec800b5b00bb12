//! The idle window: sleeps, ticks, and samples its own resident set at start, middle and end.

use super::dump::Dump;
use crate::workloads::outside;
use serde::Serialize;
use std::time::{Duration, Instant};

/// The resident sets of one window in KiB, as the process itself reads them.
#[derive(Debug, Serialize)]
#[allow(clippy::struct_field_names, reason = "figures carry their unit")]
pub(super) struct Window {
    #[serde(rename = "rss_start_kb")]
    start_kb: u64,
    #[serde(rename = "rss_middle_kb")]
    middle_kb: u64,
    #[serde(rename = "rss_end_kb")]
    end_kb: u64,
}

/// The settings of an idle window.
pub(super) struct Idle {
    length: Duration,
    tick: Option<Duration>,
    force: Option<extern "C" fn()>,
    dump: Dump,
}

impl Idle {
    /// Idles for `seconds`, with a tick every `tick_ms` milliseconds, or none if that is 0.
    pub(super) fn new(seconds: f64, tick_ms: u32, dump: Dump) -> Self {
        let tick = (tick_ms > 0).then(|| Duration::from_millis(tick_ms.into()));
        let length = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        Self { length, tick, force: outside::epoch_force(), dump }
    }

    /// Returns whether the allocator has the function that a tick calls.
    pub(super) fn can_force(&self) -> bool {
        self.force.is_some()
    }

    /// Idles for the window of `cycle`.
    pub(super) fn spend(&mut self, cycle: usize) -> Window {
        let start = Instant::now();
        let start_kb = self.look(cycle, "start");
        self.sleep_until(start + self.length / 2);
        let middle_kb = self.look(cycle, "middle");
        self.sleep_until(start + self.length);
        let end_kb = self.look(cycle, "end");
        Window { start_kb, middle_kb, end_kb }
    }

    fn look(&mut self, cycle: usize, place: &str) -> u64 {
        self.dump.write(cycle, place);
        outside::rss_kb()
    }

    fn sleep_until(&self, end: Instant) {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(self.tick.map_or(left, |tick| tick.min(left)));
            if let (Some(force), Some(_)) = (self.force, self.tick) {
                force();
            }
        }
    }
}
