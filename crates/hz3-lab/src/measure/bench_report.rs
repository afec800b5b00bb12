//! The report that `hz3 bench --json` prints, and that a trial of an experiment reads.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The results of one run of a workload.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BenchReport {
    pub(crate) workload: String,
    pub(crate) parameters: Value,
    /// The library file that provides malloc.
    pub(crate) allocator: String,
    pub(crate) operations: u64,
    pub(crate) seconds: f64,
    pub(crate) ops_per_s: f64,
    pub(crate) ns_per_op: f64,
    /// Nanoseconds of one operation of the loop itself, without an allocator.
    pub(crate) harness_ns_per_op: Option<f64>,
    pub(crate) malloc_ns: Option<Percentiles>,
    pub(crate) free_ns: Option<Percentiles>,
    /// Points of the latency curves: nanoseconds, and the share of calls that take no longer.
    pub(crate) malloc_curve: Vec<(u64, f64)>,
    pub(crate) free_curve: Vec<(u64, f64)>,
    /// When the throughput passes ended, in milliseconds on the system's monotonic clock. Later
    /// samples do not count for memory.
    pub(crate) measured_until_ms: f64,
    /// Figures that only some workloads have.
    pub(crate) details: Map<String, Value>,
}

/// Percentiles of latencies in nanoseconds.
#[derive(Debug, Serialize, Deserialize, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Percentiles {
    /// Number of values.
    pub(crate) n: u64,
    /// Median.
    pub(crate) p50: u64,
    /// 99th percentile.
    pub(crate) p99: u64,
    /// 99.9th percentile.
    pub(crate) p999: u64,
    /// The exact maximum.
    pub(crate) max: u64,
}
