//! The tables of the pages, each made from one recording.

use std::cmp::Ordering;
use std::fmt::Write;

use super::beside::{self, SPEED, TIME};
use super::digits::{mib, thousands};
use super::recording::{Recording, median};
use super::{cost, global, scaling};

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

/// A table that stands in pages between `<!-- numbers: NAME -->` and `<!-- end of numbers -->`.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// The recording in `docs/benchmarks/`, without its ending.
    pub(super) source: &'static str,
    pub(super) make: fn(&Recording) -> String,
}

pub(super) const TABLES: [Table; 18] = [
    Table { name: "reclaim", source: "reclaim", make: reclaim },
    Table { name: "reclaim, short", source: "reclaim", make: reclaim_short },
    Table { name: "growth", source: "reclaim", make: growth },
    Table { name: "s59-2", source: "s59-2", make: s59_2 },
    Table { name: "control group", source: "control-group", make: control_group },
    Table { name: "speed", source: "speed", make: speed },
    Table { name: "speed, beside the best", source: "speed", make: speed_beside_best },
    Table { name: "speed, in words", source: "speed", make: speed_in_words },
    Table { name: "speed, beside jemalloc", source: "speed", make: speed_beside_jemalloc },
    Table { name: "peaks", source: "speed", make: peaks },
    Table { name: "programs, in words", source: "programs", make: programs_in_words },
    Table { name: "programs, beside the best", source: "programs", make: programs_beside_best },
    Table { name: "programs, means", source: "programs", make: programs_means },
    Table { name: "rust programs", source: "rust", make: global::table },
    Table { name: "cost of reclaim", source: "cost", make: cost::of_reclaim },
    Table { name: "cost, beside others", source: "cost-beside", make: cost::beside_others },
    Table { name: "threads, mixed", source: "scaling", make: threads_mixed },
    Table { name: "threads, remote", source: "scaling", make: threads_remote },
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

fn speed_beside_jemalloc(recording: &Recording) -> String {
    beside::one_in_words(recording, &cases(recording, |_| true), SPEED, "jemalloc5")
}

fn peaks(recording: &Recording) -> String {
    let cases = cases(recording, |_| true);
    medians(recording, &cases, &recording.allocators(), PEAK, Best::Least)
}

fn programs_in_words(recording: &Recording) -> String {
    beside::in_words(recording, &cases(recording, |_| true), TIME)
}

fn programs_beside_best(recording: &Recording) -> String {
    beside::table(recording, &cases(recording, |_| true), TIME)
}

fn programs_means(recording: &Recording) -> String {
    beside::means(recording, &cases(recording, |_| true))
}

fn threads_mixed(recording: &Recording) -> String {
    scaling::table(recording, "mixed")
}

fn threads_remote(recording: &Recording) -> String {
    scaling::table(recording, "remote")
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

/// One row a case: the control group's charge at its peak and at the end of the idle time, and the
/// resident set then, in MiB. The least charge at the end is bold.
fn control_group(recording: &Recording) -> String {
    let allocators = recording.allocators();
    let mut table = String::from("| |");
    for allocator in &allocators {
        let _ = write!(table, " {} |", recording.title(allocator));
    }
    let _ = write!(table, "\n|---|{}\n", "---|".repeat(allocators.len()));
    let mut cases = recording.cases();
    cases.sort();
    for case in cases {
        let value = |name: &str, column| median(recording.values(&case, name, column));
        let charges = allocators.iter().filter_map(|name| value(name, "idle_cgroup_kb"));
        let least = charges.min_by(f64::total_cmp);
        let _ = write!(table, "| `{case}` |");
        for name in &allocators {
            let columns = ["peak_cgroup_kb", "idle_cgroup_kb", "idle_rss_kb"];
            let [Some(peak), Some(idle), Some(resident)] =
                columns.map(|column| value(name, column))
            else {
                table += " - |";
                continue;
            };
            let bold = if least.is_some_and(|least| idle <= least) { "**" } else { "" };
            let (peak, idle, resident) = (mib(peak), mib(idle), mib(resident));
            let _ = write!(table, " {peak} to {bold}{idle}{bold} ({resident}) |");
        }
        table.push('\n');
    }
    table
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
    fn the_least_charge_is_bold() {
        let text = "# allocator hz3: version 1, x, digest 1\n# allocator glibc: version 2.36, , digest -\n\
            round,case,allocator,peak_cgroup_kb,idle_cgroup_kb,idle_rss_kb\n\
            0,holes --idle 1,hz3,2048,1536,1024\n0,holes --idle 1,glibc,2048,1024,512\n\
            0,a,hz3,,,\n0,a,glibc,1024,1024,512\n";
        let expected = "| | hz3 | glibc 2.36 |\n|---|---|---|\n| `a` | - | 1.0 to **1.0** (0.5) |\n\
            | `holes --idle 1` | 2.0 to 1.5 (1.0) | 2.0 to **1.0** (0.5) |\n";
        assert_eq!(control_group(&Recording::parse(text).unwrap()), expected);
    }
}
