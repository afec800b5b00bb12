//! The cost of reclaim beside none, and of hz3 beside other allocators.

use std::fmt::Write;

use super::digits::divided;
use super::recording::{Recording, interval, median};

/// The settings of a recording of `hz3 ab`.
const PAIR: [&str; 2] = ["candidate", "baseline"];
/// The unit of the rows of which more is better.
const RATE: &str = "M steps/s";

/// One row a case of `hz3 ab`: the candidate's speed, percentiles and page faults beside the
/// baseline's, each the median of the rounds.
pub(super) fn of_reclaim(recording: &Recording) -> String {
    let mut table = "| loop | speed | 95 % interval | malloc's 99.9th percentile | free's | \
        page faults, off and default |\n|---|---|---|---|---|---|\n"
        .to_owned();
    let mut cases = recording.cases();
    cases.sort();
    for case in cases {
        let ratios = |column| recording.ratios(&case, PAIR, column);
        let percent = |ratio: f64| format!("{:+.1} %", (ratio - 1.0) * 100.0);
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let speed = or_dash(median(ratios("speed_per_s")).map(percent));
        let range = interval(ratios("speed_per_s"));
        let range = or_dash(range.map(|range| range.map(percent).join(" to ")));
        let times = |column| or_dash(median(ratios(column)).map(|ratio| format!("x {ratio:.2}")));
        let [malloc, free] = ["malloc_p999_ns", "free_p999_ns"].map(times);
        let faults = |allocator| median(recording.values(&case, allocator, "faults"));
        let faults = ["baseline", "candidate"].map(|name| or_dash(faults(name).map(whole)));
        let faults = faults.join(", ");
        let _ = writeln!(table, "| `{case}` | {speed} | {range} | {malloc} | {free} | {faults} |");
    }
    table
}

/// One row a case of `cargo xtask cost`: hz3 and the allocator beside it, the better one bold.
pub(super) fn beside_others(recording: &Recording) -> String {
    let mut table =
        "| measured | hz3 | beside | ratio | 95 % interval |\n|---|---|---|---|---|\n".to_owned();
    for case in recording.cases() {
        let middle = |name: &str| median(recording.values(&case, name, "value"));
        let beside =
            recording.allocators().into_iter().find(|name| name != "hz3" && middle(name).is_some());
        let unit = recording.text(&case, "unit");
        let Some(own) = middle("hz3") else { continue };
        let Some((beside, other)) = beside.and_then(|name| Some((name.clone(), middle(&name)?)))
        else {
            let _ = writeln!(table, "| {case} | {} {unit} | - | - | - |", plain(own));
            continue;
        };
        let is_better = if unit == RATE { own > other } else { own < other };
        let (own, other) = (plain(own), plain(other));
        let (own, other) =
            if is_better { (format!("**{own}**"), other) } else { (own, format!("**{other}**")) };
        let ratios = recording.ratios(&case, ["hz3", &beside], "value");
        let range = interval(ratios.clone())
            .map_or("-".to_owned(), |[low, high]| format!("{low:.2} to {high:.2}"));
        let ratio = median(ratios).map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        let title = recording.title(&beside);
        let _ = writeln!(table, "| {case} | {own} {unit} | {title}: {other} | {ratio} | {range} |");
    }
    table
}

/// Returns a number for readers: whole from a thousand on, with two digits after the point below.
fn plain(value: f64) -> String {
    if value < 1000.0 { format!("{value:.2}") } else { whole(value) }
}

fn whole(value: f64) -> String {
    divided(&format!("{value:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reclaim_is_beside_none() {
        let mut text =
            "# commit: abc\nround,case,allocator,speed_per_s,faults,malloc_p999_ns,free_p999_ns\n"
                .to_owned();
        for round in 0..6 {
            let speed = 90 + round;
            let _ = write!(
                text,
                "{round},b --x 1,baseline,100,1000,50,10\n{round},b --x 1,candidate,{speed},2000,75,9\n\
                 {round},a,baseline,1,1,,\n"
            );
        }
        let table = of_reclaim(&Recording::parse(&text).unwrap());
        let rows: Vec<&str> = table.lines().skip(2).collect();
        let expected = [
            "| `a` | - | - | - | - | 1, - |",
            "| `b --x 1` | -7.5 % | -10.0 % to -5.0 % | x 1.50 | x 0.90 | 1,000, 2,000 |",
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn the_better_one_is_bold() {
        let text = "# allocator hz3: version ?, x\n# allocator tcmalloc: version 2.10\n\
            # allocator glibc: version 2.36\nround,case,allocator,unit,value\n\
            0,\"loop, 1 thread\",hz3,M steps/s,110\n0,\"loop, 1 thread\",tcmalloc,M steps/s,100\n\
            0,idle,hz3,KiB,1500\n0,idle,glibc,KiB,1000\n0,tables,hz3,%,1.38\n";
        let table = beside_others(&Recording::parse(text).unwrap());
        let rows: Vec<&str> = table.lines().skip(2).collect();
        let expected = [
            "| loop, 1 thread | **110.00** M steps/s | tcmalloc 2.10: 100.00 | 1.10 | - |",
            "| idle | 1,500 KiB | glibc 2.36: **1,000** | 1.50 | - |",
            "| tables | 1.38 % | - | - | - |",
        ];
        assert_eq!(rows, expected);
    }
}
