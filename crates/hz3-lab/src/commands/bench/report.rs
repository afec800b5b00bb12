//! The result of a benchmark, as a table and as JSON.

use crate::failure::{Failure, Result};
use crate::measure::bench_report::BenchReport;
use crate::text;
use crate::workloads::Workload;
use crate::workloads::outside;
use crate::workloads::support::heap::Latency;
use crate::workloads::support::histogram::Histogram;
use crate::workloads::support::threads::Totals;
use serde_json::{Map, Value};
use std::fmt::Write;

/// The results of the passes.
#[derive(Debug)]
pub(super) struct PassResults {
    pub(super) throughput: Totals,
    /// When the throughput passes ended, on the system's monotonic clock.
    pub(super) measured_until_ms: f64,
    pub(super) harness: Option<Totals>,
    pub(super) latency: Option<Totals>,
}

impl BenchReport {
    pub(super) fn of(workload: &Workload, passes: PassResults) -> Result<Self> {
        let PassResults { throughput, measured_until_ms, harness, latency } = passes;
        let parameters =
            serde_json::to_value(workload).map_err(|e| Failure::io("write the parameters", e))?;
        let latency = latency.and_then(|totals| totals.latency);
        let figures = |which: fn(&Latency) -> &Histogram| {
            let histogram = latency.as_ref().map(which);
            (histogram.and_then(Histogram::percentiles), histogram.map(Histogram::curve))
        };
        let (malloc_ns, malloc_curve) = figures(|latency| &latency.malloc);
        let (free_ns, free_curve) = figures(|latency| &latency.free);
        Ok(Self {
            workload: workload.name().to_owned(),
            parameters,
            allocator: outside::malloc_origin(),
            operations: throughput.operations,
            seconds: throughput.elapsed.as_secs_f64(),
            ops_per_s: throughput.rate(),
            ns_per_op: 1e9 / throughput.rate(),
            harness_ns_per_op: harness.map(|totals| 1e9 / totals.rate()),
            malloc_ns,
            free_ns,
            malloc_curve: malloc_curve.unwrap_or_default(),
            free_curve: free_curve.unwrap_or_default(),
            measured_until_ms,
            details: throughput.details,
        })
    }

    pub(super) fn print_json(&self) -> Result<()> {
        text::out::json(self)
    }

    pub(super) fn print_table(&self) -> Result<()> {
        let mut out = String::new();
        let _ = writeln!(out, "{} on {}", self.workload, self.allocator);
        let _ = writeln!(out, "  parameters  {}", words(self.parameters.as_object()));
        let _ = writeln!(
            out,
            "  speed       {} operations/s: {} in {}, {:.1} ns each",
            text::si(self.ops_per_s),
            text::count(self.operations),
            text::seconds(self.seconds),
            self.ns_per_op
        );
        if let Some(harness) = self.harness_ns_per_op {
            let net = (self.ns_per_op - harness).max(0.0);
            let _ = writeln!(
                out,
                "  net         {net:.1} ns each without the harness, which takes {harness:.1} ns"
            );
        }
        let mut table = text::table::plain(&["  latency", "p50", "p99", "p99.9", "max", "n"], 1);
        for (name, figures) in [("  malloc", self.malloc_ns), ("  free", self.free_ns)] {
            if let Some(p) = figures {
                let times = [p.p50, p.p99, p.p999, p.max].map(|ns| text::nanoseconds(ns as f64));
                let row = std::iter::once(name.to_owned()).chain(times);
                table.add_row(row.chain([text::count(p.n)]).collect::<Vec<_>>());
            }
        }
        if !table.is_empty() {
            let _ = writeln!(out, "{}", table.trim_fmt());
        }
        for (name, value) in self.details.iter().filter(|(name, _)| *name != "phases") {
            add_detail(&mut out, name, value);
        }
        text::out::bytes(out.as_bytes())
    }
}

fn add_detail(out: &mut String, name: &str, value: &Value) {
    match value {
        Value::Array(items) => {
            let _ = writeln!(out, "  {name}");
            for (i, item) in items.iter().enumerate() {
                let _ = writeln!(out, "    {:>2}  {}", i + 1, words(item.as_object()));
            }
        }
        single => {
            let _ = writeln!(out, "  {name}  {}", word(single));
        }
    }
}

/// Formats `key value` pairs in one line.
fn words(object: Option<&Map<String, Value>>) -> String {
    let pairs = object.into_iter().flatten().filter(|(_, value)| !value.is_null());
    let words: Vec<String> = pairs.map(|(name, value)| format!("{name} {}", word(value))).collect();
    words.join(", ")
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            format!("{:.4}", number.as_f64().unwrap_or(f64::NAN))
        }
        other => other.to_string(),
    }
}
