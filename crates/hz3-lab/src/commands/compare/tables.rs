//! The comparison as tables and sentences.

use crate::experiment::analysis::{Analysis, Cell, Relation, ratios, rounds_needed, values};
use crate::experiment::record::Record;
use crate::stats::estimate::{self, FEWEST, Interval};
use crate::text;
use comfy_table::Table;
use std::fmt::Write;

/// Formats all tables of a record.
pub(crate) fn all(record: &Record, analysis: &Analysis) -> String {
    let mut out = String::new();
    if let Some(load) = record.load() {
        let _ = writeln!(out, "{load}\n");
    }
    let base = &record.peers[record.base].name;
    let _ = writeln!(
        out,
        "speed: ratio to {base} with its 95 % interval, above 1 is faster; {}",
        text::RATIO_KEY
    );
    let _ = writeln!(out, "{}\n", speed(record, analysis));
    let _ = writeln!(out, "memory: peak resident set / at the end of the idle time");
    let _ = writeln!(out, "{}", memory(record, analysis));
    if analysis.cells.iter().flatten().any(|cell| cell.malloc_p999_ns.is_some()) {
        let _ = writeln!(out, "\nlatency: 99.9th percentile of malloc / of free");
        let _ = writeln!(out, "{}", latency(record, analysis));
    }
    for missing in &record.missing {
        let _ = writeln!(out, "missing: {} ({})", missing.name, missing.remedy);
    }
    for (case, peer, reason) in record.failures() {
        let _ = writeln!(out, "FAILED: {} on {}: {reason}", case.name, peer.name);
    }
    if let Some(sentence) = sentence(record, analysis) {
        let _ = writeln!(out, "\n{sentence}");
    }
    out
}

fn speed(record: &Record, analysis: &Analysis) -> String {
    let base = &record.peers[record.base].name;
    let others = || (0..record.peers.len()).filter(|&peer| peer != record.base);
    let heads: Vec<&str> = ["case", base.as_str()]
        .into_iter()
        .chain(others().map(|peer| record.peers[peer].name.as_str()))
        .collect();
    let mut table = text::table::plain(&heads, 1);
    for (index, (case, cells)) in record.cases.iter().zip(&analysis.cells).enumerate() {
        let absolute = cells[record.base].speed;
        let absolute = absolute.map_or("-".to_owned(), |speed| record.pace(index, speed));
        let ratios = others().map(|peer| ratio(&cells[peer]));
        let row = [case.name.clone(), absolute].into_iter().chain(ratios);
        table.add_row(row.collect::<Vec<_>>());
    }
    let means = others().map(|peer| match &analysis.overall[peer] {
        Some((estimate, _)) => text::ratio(estimate),
        None => "-".to_owned(),
    });
    let row = ["geometric mean".to_owned(), String::new()].into_iter().chain(means);
    table.add_row(row.collect::<Vec<_>>());
    table.trim_fmt()
}

fn ratio(cell: &Cell) -> String {
    match &cell.ratio {
        Some(estimate) => text::ratio(estimate),
        None if cell.failures > 0 => "failed".to_owned(),
        None => "-".to_owned(),
    }
}

fn memory(record: &Record, analysis: &Analysis) -> String {
    let figure = |cell: &Cell| {
        let peak = cell.peak_rss_kb.map_or("-".to_owned(), text::kib);
        match cell.idle_rss_kb {
            Some(idle) => format!("{peak} / {}", text::kib(idle)),
            None => peak,
        }
    };
    by_case(record, analysis, |_| true, figure).trim_fmt()
}

fn latency(record: &Record, analysis: &Analysis) -> String {
    let word = |ns: Option<f64>| ns.map_or("-".to_owned(), text::nanoseconds);
    let figure =
        |cell: &Cell| format!("{} / {}", word(cell.malloc_p999_ns), word(cell.free_p999_ns));
    by_case(record, analysis, |cell| cell.malloc_p999_ns.is_some(), figure).trim_fmt()
}

/// Makes a table of one row a case and one column an allocator. It leaves out the cases of which no
/// allocator has the figure.
pub(super) fn by_case(
    record: &Record,
    analysis: &Analysis,
    has_figure: impl Fn(&Cell) -> bool,
    figure: impl Fn(&Cell) -> String,
) -> Table {
    let names = record.peers.iter().map(|peer| peer.name.as_str());
    let heads: Vec<&str> = std::iter::once("case").chain(names).collect();
    let mut table = text::table::plain(&heads, 1);
    for (case, cells) in record.cases.iter().zip(&analysis.cells) {
        if cells.iter().any(&has_figure) {
            let figures = cells.iter().map(&figure);
            table.add_row(std::iter::once(case.name.clone()).chain(figures).collect::<Vec<_>>());
        }
    }
    table
}

/// Summarises hz3, or the first allocator that is not the base, in sentences.
pub(crate) fn sentence(record: &Record, analysis: &Analysis) -> Option<String> {
    let others = || (0..record.peers.len()).filter(|&peer| peer != record.base);
    let judged =
        others().find(|&peer| record.peers[peer].name == "hz3").or_else(|| others().next())?;
    let sentences: Vec<String> = speed_sentence(record, analysis, judged)
        .into_iter()
        .chain(unsteady_sentence(record, analysis))
        .chain(
            (0..record.cases.len())
                .filter_map(|case| memory_sentence(record, analysis, (case, judged))),
        )
        .collect();
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

fn speed_sentence(record: &Record, analysis: &Analysis, judged: usize) -> Option<String> {
    let (mean, cases) = analysis.overall[judged]?;
    let (name, base) = (&record.peers[judged].name, &record.peers[record.base].name);
    let over = format!("{cases} case{}", if cases == 1 { "" } else { "s" });
    let Some(Interval { low, high }) = mean.interval else {
        return Some(format!(
            "The speeds of {name} and {base} cannot be told apart: {}.",
            rounds_needed(mean.n)
        ));
    };
    let figure = format!("{:.2} times its speed ({low:.2} to {high:.2})", mean.value);
    Some(match Relation::of(Some(mean)) {
        Relation::More(_) => format!("{name} is faster than {base}: {figure} over {over}."),
        Relation::Less(_) => format!("{name} is slower than {base}: {figure} over {over}."),
        Relation::NotSeen(_) | Relation::TooFew => format!(
            "No difference in speed was seen between {name} and {base} ({low:.2} to {high:.2} in {} \
             rounds of {over}).",
            mean.n
        ),
    })
}

/// Names the cases that are not in the mean because their speed is not repeatable.
fn unsteady_sentence(record: &Record, analysis: &Analysis) -> Option<String> {
    let names: Vec<&str> =
        analysis.unsteady.iter().map(|&case| record.cases[case].name.as_str()).collect();
    (!names.is_empty()).then(|| {
        format!(
            "Not in the mean, because the speed changed by more than half between rounds: {}.",
            names.join(", ")
        )
    })
}

/// Compares the idle memory of a case with that of every other allocator.
fn memory_sentence(
    record: &Record,
    analysis: &Analysis,
    (case, judged): (usize, usize),
) -> Option<String> {
    let cell = &analysis.cells[case][judged];
    let (name, peak, kept) = (&record.cases[case].name, cell.peak_rss_kb?, cell.idle_rss_kb?);
    let (mut less, mut more, mut rounds) = (Vec::new(), Vec::new(), None);
    for other in (0..record.peers.len()).filter(|&other| other != judged) {
        let ratios = ratios(record, case, (judged, other), |f| f.idle_rss_kb);
        let ratio = estimate::ratio(&values(&ratios));
        rounds = rounds.or(ratio.map(|ratio| ratio.n));
        let theirs = analysis.cells[case][other].idle_rss_kb.map_or("-".to_owned(), text::kib);
        let name = format!("{} ({theirs})", record.peers[other].name);
        match Relation::of(ratio) {
            Relation::Less(_) => less.push(name),
            Relation::More(_) => more.push(name),
            Relation::NotSeen(_) | Relation::TooFew => {}
        }
    }
    let what = format!(
        "In {name} {} keeps {} of {} when idle",
        record.peers[judged].name,
        text::kib(kept),
        text::kib(peak)
    );
    let rounds = rounds?;
    if rounds < FEWEST {
        return Some(format!("{what} ({}).", rounds_needed(rounds)));
    }
    let list = |word: &str, names: &[String]| {
        (!names.is_empty()).then(|| format!("{word} than {}", names.join(", ")))
    };
    let parts: Vec<String> =
        [list("less", &less), list("more", &more)].into_iter().flatten().collect();
    let comparison = if parts.is_empty() {
        "no difference to the others was seen".to_owned()
    } else {
        parts.join("; ")
    };
    Some(format!("{what}: {comparison}."))
}
