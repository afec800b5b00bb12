//! Programs that were built with their allocator: each is a setting `GLOBAL=NAME-VERSION`.

use std::fmt::Write;

use super::recording::{Recording, interval, median};

/// One row a command, named by its last word, and one column an allocator: the median of the wall
/// times with its 95 % interval, the least bold, and the median of the peaks.
pub(super) fn table(recording: &Recording) -> String {
    let allocators = recording.allocators();
    let mut table = "| ms, MiB |".to_owned();
    for name in &allocators {
        let _ = write!(table, " {} |", title(name));
    }
    let _ = writeln!(table, "\n|---|{}", "---|".repeat(allocators.len()));
    for case in recording.cases() {
        let times = |name: &str| -> Vec<f64> {
            recording.values(&case, name, "wall_s").iter().map(|seconds| seconds * 1e3).collect()
        };
        let middle = |name: &String| median(times(name));
        let least = allocators.iter().filter_map(middle).min_by(f64::total_cmp);
        let _ = write!(table, "| {} |", case.rsplit(' ').next().unwrap_or_default());
        for name in &allocators {
            let peak = median(recording.values(&case, name, "peak_rss_kb"));
            let (Some(time), Some(peak)) = (middle(name), peak) else {
                table += " - |";
                continue;
            };
            let bold = if least.is_some_and(|least| time <= least) { "**" } else { "" };
            let range = interval(times(name))
                .map_or(String::new(), |[low, high]| format!(" ({low:.0} to {high:.0})"));
            let _ = write!(table, " {bold}{time:.0}{bold}{range}, {:.0} |", peak / 1024.0);
        }
        table.push('\n');
    }
    table
}

/// `glibc:GLOBAL=jemalloc-0.7.0` is `jemalloc 0.7.0`.
fn title(allocator: &str) -> String {
    let name = allocator.rsplit('=').next().unwrap_or_default();
    name.replacen('-', " ", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_the_time_and_the_peak() {
        let mut text = "# allocator glibc:GLOBAL=hz3: version 2.36, , digest -\n\
            # allocator glibc:GLOBAL=jemalloc-0.7.0: version 2.36, , digest -\n\
            round,case,allocator,wall_s,peak_rss_kb\n"
            .to_owned();
        for round in 0..6 {
            let _ = writeln!(text, "{round},exec x json,glibc:GLOBAL=hz3,0.{round}1,2048");
        }
        text +=
            "0,exec x json,glibc:GLOBAL=jemalloc-0.7.0,0.5,1024\n0,exec x map,glibc:GLOBAL=hz3,,\n";
        let expected = "| ms, MiB | hz3 | jemalloc 0.7.0 |\n|---|---|---|\n\
            | json | **260** (10 to 510), 2 | 500, 1 |\n| map | - | - |\n";
        assert_eq!(table(&Recording::parse(&text).unwrap()), expected);
    }
}
