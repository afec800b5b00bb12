//! The comparison as tables and a sentence.

use crate::experiment::analysis::{Analysis, Cell};
use crate::experiment::record::Record;
use crate::stats::bootstrap::Estimate;
use crate::text;

/// Prints everything that a record says.
pub(crate) fn print(record: &Record, analysis: &Analysis) {
    let base = &record.peers[record.base].name;
    println!("speed: ratio to {base} (above 1 is faster), +- half of the 95 % interval");
    println!("{}\n", speed(record, analysis));
    println!("memory: peak resident set / at the end of the idle time");
    println!("{}", memory(record, analysis));
    if analysis.cells.iter().flatten().any(|cell| cell.malloc_p999_ns.is_some()) {
        println!("\nlatency: 99.9th percentile of malloc / of free");
        println!("{}", latency(record, analysis));
    }
    for missing in &record.missing {
        println!("missing: {} ({})", missing.name, missing.remedy);
    }
    for (case, peer, reason) in record.failures() {
        println!("FAILED: {} on {}: {reason}", case.name, peer.name);
    }
    if let Some(sentence) = sentence(record, analysis) {
        println!("\n{sentence}");
    }
}

fn speed(record: &Record, analysis: &Analysis) -> String {
    let base = &record.peers[record.base].name;
    let others = || (0..record.peers.len()).filter(|&peer| peer != record.base);
    let base_head = format!("{base}, op/s");
    let heads: Vec<&str> = ["case", base_head.as_str()]
        .into_iter()
        .chain(others().map(|peer| record.peers[peer].name.as_str()))
        .collect();
    let mut table = text::table::plain(&heads, 1);
    for (case, cells) in record.cases.iter().zip(&analysis.cells) {
        let absolute = cells[record.base].speed.map_or("-".to_owned(), text::si);
        let ratios = others().map(|peer| ratio(&cells[peer]));
        let row = [case.name.clone(), absolute].into_iter().chain(ratios);
        table.add_row(row.collect::<Vec<_>>());
    }
    let means = others().map(|peer| match &analysis.overall[peer] {
        Some((estimate, _)) => with_interval(estimate),
        None => "-".to_owned(),
    });
    let row = ["geometric mean".to_owned(), String::new()].into_iter().chain(means);
    table.add_row(row.collect::<Vec<_>>());
    table.trim_fmt()
}

fn ratio(cell: &Cell) -> String {
    match &cell.ratio {
        Some(estimate) => with_interval(estimate),
        None if cell.failures > 0 => "failed".to_owned(),
        None => "-".to_owned(),
    }
}

fn with_interval(estimate: &Estimate) -> String {
    format!("{:.2} +-{:.0}%", estimate.value, estimate.relative_half_width() * 100.0)
}

fn memory(record: &Record, analysis: &Analysis) -> String {
    let heads: Vec<&str> =
        std::iter::once("case").chain(record.peers.iter().map(|peer| peer.name.as_str())).collect();
    let mut table = text::table::plain(&heads, 1);
    for (case, cells) in record.cases.iter().zip(&analysis.cells) {
        let figures = cells.iter().map(|cell| {
            let peak = cell.peak_rss_kb.map_or("-".to_owned(), text::kib);
            cell.idle_rss_kb
                .map_or_else(|| peak.clone(), |idle| format!("{peak} / {}", text::kib(idle)))
        });
        table.add_row(std::iter::once(case.name.clone()).chain(figures).collect::<Vec<_>>());
    }
    table.trim_fmt()
}

fn latency(record: &Record, analysis: &Analysis) -> String {
    let heads: Vec<&str> =
        std::iter::once("case").chain(record.peers.iter().map(|peer| peer.name.as_str())).collect();
    let mut table = text::table::plain(&heads, 1);
    for (case, cells) in record.cases.iter().zip(&analysis.cells) {
        let word = |ns: Option<f64>| ns.map_or("-".to_owned(), text::nanoseconds);
        let figures =
            cells.iter().map(|c| format!("{} / {}", word(c.malloc_p999_ns), word(c.free_p999_ns)));
        if cells.iter().any(|cell| cell.malloc_p999_ns.is_some()) {
            table.add_row(std::iter::once(case.name.clone()).chain(figures).collect::<Vec<_>>());
        }
    }
    table.trim_fmt()
}

/// The verdict on hz3, or on the first allocator that is not the base, in a sentence.
pub(crate) fn sentence(record: &Record, analysis: &Analysis) -> Option<String> {
    let others = || (0..record.peers.len()).filter(|&peer| peer != record.base);
    let judged =
        others().find(|&peer| record.peers[peer].name == "hz3").or_else(|| others().next())?;
    let (name, base) = (&record.peers[judged].name, &record.peers[record.base].name);
    let speed = analysis.overall[judged].as_ref().map(|(mean, cases)| {
        let relation = if mean.low > 1.0 {
            "faster than"
        } else if mean.high < 1.0 {
            "slower than"
        } else {
            "not distinguishable in speed from"
        };
        let plural = if *cases == 1 { "" } else { "s" };
        format!(
            "{name} is {relation} {base}: {:.2} times its speed ({:.2} to {:.2}) over {cases} case{plural}.",
            mean.value, mean.low, mean.high
        )
    });
    let mut idle = record.cases.iter().zip(&analysis.cells);
    let memory = idle.find_map(|(case, cells)| {
        let (peak, idle) = (cells[judged].peak_rss_kb?, cells[judged].idle_rss_kb?);
        let least = cells.iter().filter_map(|cell| cell.idle_rss_kb).fold(f64::INFINITY, f64::min);
        let place = if idle <= least { "the least of all" } else { "not the least of all" };
        let (peak, idle) = (text::kib(peak), text::kib(idle));
        Some(format!("In {} it keeps {idle} of {peak} when idle, {place}.", case.name))
    });
    let sentences: Vec<String> = speed.into_iter().chain(memory).collect();
    (!sentences.is_empty()).then(|| sentences.join(" "))
}
