//! The statistics as `OpenMetrics` text.

use super::observation::Observation;
use crate::measure::page::{Class, Snapshot};
use std::fmt::Write as _;

/// The values that only grow. All others are gauges.
const COUNTERS: [&str; 25] = [
    "requests",
    "frees",
    "refills",
    "flushes",
    "large_allocs",
    "large_frees",
    "huge_allocs",
    "ticks",
    "stolen_bytes",
    "idle_class_bytes",
    "retired_bytes",
    "madvise_calls",
    "madvise_refused",
    "purged_bytes",
    "hole_bytes",
    "time_ns",
    "refaulted_bytes",
    "prefaulted_bytes",
    "reliefs",
    "contended_caches",
    "contended_transfers",
    "contended_bins",
    "contended_pages",
    "updates",
    "update_ns",
];
/// The gauges that are no bytes.
const NUMBERS: [&str; 5] = ["threads", "segments", "slabs", "tick_ms", "reclaimer"];

/// Returns whether a value is a counter of the experiments, or of use to readers of the page alone.
fn is_left_out(name: &str, page: &Snapshot) -> bool {
    let is_of_experiment = |name: &str| {
        let at = |wanted: &str| page.names.iter().position(|other| other == wanted);
        match (at("epochs"), at("exit_segments"), at(name)) {
            (Some(first), Some(last), Some(at)) => (first..=last).contains(&at),
            _ => false,
        }
    };
    ["updated_ns", "slow_ns", "threads_shown", "resident"].contains(&name) || is_of_experiment(name)
}

type Figure = fn(&Class) -> u64;

/// Returns the text, with its end mark.
pub(super) fn text(seen: &Observation) -> String {
    let mut out = String::new();
    gauge(&mut out, "hz3_resident_bytes", seen.resident);
    gauge(&mut out, "hz3_mapped_bytes", seen.page.value("committed"));
    for name in seen.page.names.iter().filter(|name| !is_left_out(name, &seen.page)) {
        let value = seen.page.value(name);
        let base = name.strip_suffix("_bytes");
        if let Some(base) = name.strip_suffix("_ns") {
            let seconds = format!("{}.{:09}", value / 1_000_000_000, value % 1_000_000_000);
            metric(&mut out, &format!("hz3_{base}_seconds"), "counter", "_total", &seconds);
        } else if COUNTERS.contains(&name.as_str()) {
            metric(&mut out, &format!("hz3_{name}"), "counter", "_total", &value.to_string());
        } else if NUMBERS.contains(&name.as_str()) {
            gauge(&mut out, &format!("hz3_{name}"), value);
        } else {
            gauge(&mut out, &format!("hz3_{}_bytes", base.unwrap_or(name)), value);
        }
    }
    let figures: [(&str, Figure); 3] =
        [("live", |class| class.live), ("cached", |class| class.cached), ("", |class| class.slabs)];
    for (name, figure) in figures {
        let full = if name.is_empty() {
            "hz3_class_slabs".to_owned()
        } else {
            format!("hz3_class_{name}_blocks")
        };
        let _ = writeln!(out, "# TYPE {full} gauge");
        for class in &seen.page.classes {
            let _ = writeln!(out, "{full}{{size=\"{}\"}} {}", class.block_bytes, figure(class));
        }
    }
    out.push_str("# EOF\n");
    out
}

fn gauge(out: &mut String, name: &str, value: u64) {
    metric(out, name, "gauge", "", &value.to_string());
}

fn metric(out: &mut String, name: &str, kind: &str, suffix: &str, value: &str) {
    // Writing to a string never fails.
    let _ = writeln!(out, "# TYPE {name} {kind}\n{name}{suffix} {value}");
}
