//! When each part of a workload began and ended, on the clock that a watcher outside reads too.

use crate::measure::clock::monotonic_ms;
use serde::Serialize;

/// One part.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Phase {
    /// `burst`, `free`, `idle`...
    pub(crate) name: &'static str,
    /// Start and end in milliseconds of the system's monotonic clock.
    pub(crate) start_ms: f64,
    pub(crate) end_ms: f64,
}

/// The parts so far. Its memory is taken before the workload starts.
#[derive(Debug)]
pub(crate) struct Phases {
    parts: Vec<Phase>,
}

impl Phases {
    /// Room for `expected` parts.
    pub(crate) fn new(expected: usize) -> Self {
        Self { parts: Vec::with_capacity(expected) }
    }

    /// Does `work` as the part `name`; returns its result and how long it took in seconds.
    pub(crate) fn during<T>(&mut self, name: &'static str, work: impl FnOnce() -> T) -> (T, f64) {
        let start_ms = monotonic_ms();
        let result = work();
        let end_ms = monotonic_ms();
        self.parts.push(Phase { name, start_ms, end_ms });
        (result, (end_ms - start_ms) / 1e3)
    }

    /// As JSON.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(&self.parts).unwrap_or_default()
    }
}
