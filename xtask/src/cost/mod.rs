//! The cost of hz3 beside other allocators: every target of the design, measured in one run.
//!
//! Each row is a small C program, run on both allocators in turn, again and again; the median of
//! the repetitions counts, and what counts of two medians is their ratio (or difference, where the
//! target is one). All rows are interleaved, so that a slow minute of the machine falls on both.

mod head;
mod measure;
mod median;

use std::path::Path;

use hz3_programs::packages;
use hz3_tools::load::{self, Meter};
use hz3_tools::{Failure, Result};

use crate::shell;
use measure::{COLUMNS, Programs, Row, line};

/// Measures all rows, prints the table and writes the measurements to `csv`; fails when a target is
/// missed.
pub(crate) fn run(repetitions: u32, library: Option<&Path>, csv: Option<&Path>) -> Result {
    let subject = match library {
        Some(path) => std::fs::canonicalize(path)?,
        None => shell::library()?,
    };
    let tcmalloc = packages::find("tcmalloc")?.path();
    let programs = Programs::compile(&shell::target().join("cost"))?;
    let mut rows = measure::rows(&subject, &tcmalloc);
    let (meter, before) = (Meter::start(), load::of_children());
    for repetition in 1..=repetitions {
        eprintln!("repetition {repetition} of {repetitions}");
        for row in &mut rows {
            row.repeat(&programs, repetition % 2 == 0)?;
        }
    }
    let load = meter.stop(load::of_children().saturating_sub(before));
    println!(
        "| measured | hz3 | beside | ratio or difference | target | |\n|---|---|---|---|---|---|"
    );
    let mut missed: Vec<String> = rows.iter().filter_map(Row::report).collect();
    let share = metadata(&programs, &subject)?;
    missed.extend((share > METADATA).then(|| METADATA_NAME.to_owned()));
    if let Some(file) = csv {
        let lines: String = rows.iter().flat_map(Row::lines).collect();
        let last = line(0, METADATA_NAME, "hz3", "%", share);
        let head = head::head(&subject, repetitions, &load)?;
        std::fs::write(file, format!("{head}{COLUMNS}\n{lines}{last}"))?;
    }
    println!("\nMedians of {repetitions} interleaved repetitions.");
    if missed.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(format!("missed: {}", missed.join("; "))))
    }
}

const METADATA_NAME: &str = "metadata of 1 GiB in 64-byte blocks";
/// Per cent of the heap that its tables may take.
const METADATA: f64 = 2.0;

/// Returns the per cent that hz3's own tables take of a heap of 1 GiB of small blocks.
fn metadata(programs: &Programs, subject: &Path) -> Result<f64> {
    let name = METADATA_NAME;
    let text = programs.output("metadata", Some(subject), &[])?;
    let json: toml::Table = as_toml(&text).parse()?;
    let bytes = |key: &str| {
        let value = json.get(key).and_then(toml::Value::as_integer);
        value.ok_or_else(|| Failure::new(format!("no number {key} in {text}")))
    };
    let (metadata, allocated) = (bytes("metadata")?, bytes("allocated")?);
    if allocated < 1 << 30 {
        return Err(Failure::new(format!(
            "{name}: only {allocated} bytes are said to be allocated"
        )));
    }
    let share = to_float(metadata) / to_float(allocated) * 100.0;
    let verdict = if share <= METADATA { "met" } else { "MISSED" };
    println!(
        "| {name} | {metadata} B | {allocated} B | {share:.2} % | at most {METADATA} % | {verdict} |"
    );
    Ok(share)
}

/// Rewrites a flat JSON object of numbers as TOML, which the chores read already.
fn as_toml(json: &str) -> String {
    json.trim().trim_matches(['{', '}']).replace(':', " = ").replace(',', "\n")
}

#[expect(clippy::cast_precision_loss, reason = "byte counts far below 2^52")]
fn to_float(bytes: i64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_read() {
        let table: toml::Table = as_toml("{\"allocated\":12,\"metadata\": 3}\n").parse().unwrap();
        assert_eq!(table["allocated"].as_integer(), Some(12));
        assert_eq!(table["metadata"].as_integer(), Some(3));
    }
}
