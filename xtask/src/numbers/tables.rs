//! The tables of the pages, each made from one recording.

use std::cmp::Ordering;
use std::fmt::Write;

use super::beside::{self, SPEED};
use super::recording::{Recording, median};

/// Cases of the table of a page that says only the most.
const SHORT: [&str; 8] = [
    "threads exit",
    "threads blocked",
    "freed by another",
    "200 blocked",
    "3 million small",
    "8,000 buffers",
    "5 % of 512-2048",
    "holes",
];
/// The order of the cases in tables; cases that are not in it follow by name.
const ORDER: [&str; 25] = [
    "threads exit",
    "threads blocked",
    "freed by another",
    "200 blocked",
    "3 million small",
    "8,000 buffers",
    "5 % of 512-2048",
    "5 % of 64-1024, 4 threads",
    "holes",
    "16-2048",
    "4096-32768",
    "16-32768",
    "dist",
    "200,000 slots",
    "50,000 slots, 2 threads",
    "2 threads",
    "2 threads, 50 %",
    "2 threads, 90 %",
    "16 threads, 90 %",
    "16 threads, wide, 50 %",
    "xfer",
    "larson",
    "churn",
    "buffers",
    "grow",
];
/// Allocators of that table.
const SHORT_ALLOCATORS: [&str; 5] = ["hz3", "glibc", "jemalloc5", "mimalloc3", "tcmalloc"];
/// The end of the name of a case that is judged by its growth.
const GROWTH: &str = ": growth";
/// The largest end of an idle time, in KiB.
const IDLE: &str = "worst_idle_rss_kb";
const PEAK: &str = "peak_rss_kb";
const KIB_IN_MIB: f64 = 1024.0;

/// A table that stands in pages between `<!-- numbers: NAME -->` and `<!-- end of numbers -->`.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// The recording in `docs/benchmarks/`, without its ending.
    pub(super) source: &'static str,
    pub(super) make: fn(&Recording) -> String,
}

pub(super) const TABLES: [Table; 8] = [
    Table { name: "reclaim", source: "reclaim", make: reclaim },
    Table { name: "reclaim, short", source: "reclaim", make: reclaim_short },
    Table { name: "growth", source: "reclaim", make: growth },
    Table { name: "s59-2", source: "s59-2", make: s59_2 },
    Table { name: "speed", source: "speed", make: speed },
    Table { name: "speed, beside the best", source: "speed", make: speed_beside_best },
    Table { name: "speed, in words", source: "speed", make: speed_in_words },
    Table { name: "peaks", source: "speed", make: peaks },
];

fn reclaim(recording: &Recording) -> String {
    let cases = cases(recording, |case| !case.ends_with(GROWTH));
    medians(recording, &cases, &recording.allocators(), IDLE, Best::Least)
}

fn reclaim_short(recording: &Recording) -> String {
    let (cases, allocators) = (SHORT.map(str::to_owned), SHORT_ALLOCATORS.map(str::to_owned));
    medians(recording, &cases, &allocators, IDLE, Best::Least)
}

fn growth(recording: &Recording) -> String {
    let cases = cases(recording, |case| case.ends_with(GROWTH));
    medians(recording, &cases, &recording.allocators(), IDLE, Best::Least)
}

fn speed(recording: &Recording) -> String {
    let cases = cases(recording, |_| true);
    medians(recording, &cases, &recording.allocators(), "speed_per_s", Best::Most)
}

fn speed_beside_best(recording: &Recording) -> String {
    beside::table(recording, &cases(recording, |_| true), SPEED)
}

fn speed_in_words(recording: &Recording) -> String {
    beside::in_words(recording, &cases(recording, |_| true), SPEED)
}

fn peaks(recording: &Recording) -> String {
    let cases = cases(recording, |_| true);
    medians(recording, &cases, &recording.allocators(), PEAK, Best::Least)
}

/// Returns the wanted cases in the order of `ORDER`, then by name.
fn cases(recording: &Recording, wanted: fn(&str) -> bool) -> Vec<String> {
    let mut cases = recording.cases();
    cases.retain(|case| wanted(case));
    let place = |case: &str| {
        ORDER
            .iter()
            .position(|&known| known == case.trim_end_matches(GROWTH))
            .unwrap_or(ORDER.len())
    };
    cases.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.cmp(b)));
    cases
}

/// One row an allocator, the least idle first: its peak, its idle memory, and that of each round.
fn s59_2(recording: &Recording) -> String {
    let case = recording.cases().into_iter().next().unwrap_or_default();
    let mut rows: Vec<(f64, String)> = Vec::new();
    for allocator in recording.allocators() {
        let rounds = recording.values(&case, &allocator, "idle_rss_kb");
        let each: Vec<String> = rounds.iter().map(|&kib| mib(kib)).collect();
        let peak = median(recording.values(&case, &allocator, PEAK)).map_or("-".into(), mib);
        let idle = median(rounds).unwrap_or(f64::INFINITY);
        let title = recording.title(&allocator);
        rows.push((idle, format!("| {title} | {peak} | {} | {} |\n", mib(idle), each.join(", "))));
    }
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let rows = rows.into_iter().map(|(_, row)| row);
    "| allocator | peak | idle | idle in each round |\n|---|---|---|---|\n".to_owned()
        + &rows.collect::<String>()
}

/// Which value of a row is the best one.
#[derive(Clone, Copy)]
enum Best {
    Least,
    Most,
}

/// One row a case and one column an allocator: medians of the rounds, the best of each row bold.
fn medians(
    recording: &Recording,
    cases: &[String],
    allocators: &[String],
    column: &str,
    best: Best,
) -> String {
    let mut table = String::from("| |");
    for allocator in allocators {
        let _ = write!(table, " {} |", recording.title(allocator));
    }
    let _ = write!(table, "\n|---|{}\n", "---|".repeat(allocators.len()));
    for case in cases {
        let value = |allocator: &String| median(recording.values(case, allocator, column));
        let values: Vec<Option<f64>> = allocators.iter().map(value).collect();
        let text = |value: f64| match best {
            Best::Least => mib(value),
            Best::Most => thousands(value),
        };
        let order = |a: &f64, b: &f64| match best {
            Best::Least => a.total_cmp(b),
            Best::Most => b.total_cmp(a),
        };
        // A value that reads the same as the best one counts as best too.
        let first = values.iter().flatten().copied().min_by(order).map(text);
        let _ = write!(table, "| {} |", case.trim_end_matches(GROWTH));
        for value in values {
            let cell = value.map_or("-".to_owned(), text);
            let is_best = first.as_ref().is_some_and(|first| first.cmp(&cell) == Ordering::Equal);
            let _ =
                if is_best { write!(table, " **{cell}** |") } else { write!(table, " {cell} |") };
        }
        table.push('\n');
    }
    table
}

/// Returns a number of MiB with one digit after the point.
pub(super) fn mib(kib: f64) -> String {
    let text = format!("{:.1}", kib / KIB_IN_MIB);
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    divided(whole) + fraction
}

/// Returns operations a second in thousands: whole ones from 10,000 operations on.
fn thousands(value: f64) -> String {
    let text =
        if value < 1e4 { format!("{:.1}", value / 1e3) } else { format!("{:.0}", value / 1e3) };
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    divided(whole) + fraction
}

/// Returns a whole number with a comma between thousands.
fn divided(whole: &str) -> String {
    let first = (whole.len() + 2) % 3 + 1;
    let mut text = whole[..first.min(whole.len())].to_owned();
    for at in (first..whole.len()).step_by(3) {
        text.push(',');
        text += &whole[at..at + 3];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_a_row_is_bold_whoever_it_is() {
        let text = "# allocator hz3: version 1, x, digest 1\n# allocator glibc: version 2.36, , digest -\n\
            round,case,allocator,speed_per_s,peak_rss_kb\n0,a,hz3,2000000,2048\n0,a,glibc,1000,1024\n\
            0,b,hz3,5,1025\n0,b,glibc,5,1024\n";
        let recording = Recording::parse(text).unwrap();
        let head = "| | hz3 | glibc 2.36 |\n|---|---|---|\n";
        let expected = format!("{head}| a | **2,000** | 1.0 |\n| b | **0.0** | **0.0** |\n");
        assert_eq!(speed(&recording), expected);
        let expected = format!("{head}| a | 2.0 | **1.0** |\n| b | **1.0** | **1.0** |\n");
        assert_eq!(peaks(&recording), expected);
    }

    #[test]
    fn long_numbers_are_divided() {
        assert_eq!(mib(1024.0 * 1234.5), "1,234.5");
        assert_eq!(mib(1024.0 * 12.34), "12.3");
        assert_eq!(mib(1024.0 * 123.0), "123.0");
        assert_eq!(thousands(1_234_567_890.0), "1,234,568");
        assert_eq!(thousands(642.0), "0.6");
    }
}
