//! The targets of a suite, each with the measured figure.

use super::tables::by_case;
use crate::experiment::analysis::{Analysis, Cell};
use crate::experiment::cases::Suite;
use crate::experiment::record::Record;
use crate::experiment::suites::Judgement;
use crate::text;
use std::fmt::Write;

/// Formats the targets, and for the reclaim suite the charges of the control group.
pub(super) fn all(
    record: &Record,
    analysis: &Analysis,
    suite: Suite,
    lines: &[Judgement],
) -> String {
    let mut out = String::new();
    if suite == Suite::Reclaim
        && let Some(charges) = charges(record, analysis)
    {
        let _ = writeln!(
            out,
            "\nmemory charged to the control group: at the peak / at the end of the idle time"
        );
        let _ = writeln!(out, "{charges}");
    }
    let mut table = text::table::plain(&["case", "found", "wanted", "beside", ""], 5);
    for line in lines {
        let word = match line.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "uncertain",
        };
        table.add_row([&line.case, &line.found, &line.wanted, &line.beside, word]);
    }
    let _ = writeln!(out, "\n{}\n\n{}", table.trim_fmt(), sentence(lines));
    out
}

fn sentence(lines: &[Judgement]) -> String {
    let met = lines.iter().filter(|line| line.met == Some(true)).count();
    let missed: Vec<&str> = lines
        .iter()
        .filter(|line| line.met == Some(false))
        .map(|line| line.case.as_str())
        .collect();
    let rest =
        if missed.is_empty() { String::new() } else { format!("; missed: {}", missed.join(", ")) };
    format!("{met} of {} targets met{rest}.", lines.len())
}

/// Returns one row per case that idles; `None` if no charge could be read.
fn charges(record: &Record, analysis: &Analysis) -> Option<String> {
    let charge = |kb: Option<f64>| kb.map_or("-".to_owned(), text::kib);
    let figure =
        |cell: &Cell| format!("{} / {}", charge(cell.peak_cgroup_kb), charge(cell.idle_cgroup_kb));
    let table = by_case(record, analysis, |cell| cell.idle_cgroup_kb.is_some(), figure);
    (!table.is_empty()).then(|| table.trim_fmt())
}
