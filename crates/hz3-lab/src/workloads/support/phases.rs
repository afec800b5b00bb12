//! Start and end of each phase of a workload, on the clock that the watcher reads too.

use crate::measure::clock::monotonic_ms;
use serde::Serialize;

/// A named span of the workload.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Span {
    /// `burst`, `free`, `idle`...
    pub(crate) name: &'static str,
    /// Start and end in milliseconds of the system's monotonic clock.
    pub(crate) start_ms: f64,
    pub(crate) end_ms: f64,
}

/// The phases so far. The memory is reserved before the workload starts.
#[derive(Debug)]
pub(crate) struct Phases {
    parts: Vec<Span>,
}

impl Phases {
    /// Reserves memory for `expected` phases.
    pub(crate) fn new(expected: usize) -> Self {
        Self { parts: Vec::with_capacity(expected) }
    }

    /// Runs `work` as the phase `name`. Returns its result and its duration in seconds.
    pub(crate) fn during<T>(&mut self, name: &'static str, work: impl FnOnce() -> T) -> (T, f64) {
        let start_ms = monotonic_ms();
        let result = work();
        let end_ms = monotonic_ms();
        self.parts.push(Span { name, start_ms, end_ms });
        (result, (end_ms - start_ms) / 1e3)
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(&self.parts).unwrap_or_default()
    }
}
