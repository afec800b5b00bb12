//! Speed by the number of threads.

use std::fmt::Write;

use super::recording::{Recording, median};

/// One row an allocator and one column a number of threads, in million operations a second over all
/// threads, for the cases that are lines of this workload of `hz3 bench`.
pub(super) fn table(recording: &Recording, workload: &str) -> String {
    let cases = recording.cases();
    let of_workload = cases.iter().filter(|case| case.split(' ').next() == Some(workload));
    let mut columns: Vec<(u32, &String)> =
        of_workload.filter_map(|case| Some((threads(case)?, case))).collect();
    columns.sort_unstable();
    let mut table = "| threads |".to_owned();
    for (threads, _) in &columns {
        let _ = write!(table, " {threads} |");
    }
    let _ = writeln!(table, "\n|---|{}", "---|".repeat(columns.len()));
    let allocators = recording.allocators();
    let speed = |name: &str, case: &str| median(recording.values(case, name, "speed_per_s"));
    let text = |speed: f64| format!("{:.1}", speed / 1e6);
    let best = columns.iter().map(|(_, case)| {
        allocators.iter().filter_map(|name| speed(name, case)).max_by(f64::total_cmp).map(text)
    });
    let best: Vec<Option<String>> = best.collect();
    for name in &allocators {
        let _ = write!(table, "| {} |", recording.title(name));
        for ((_, case), best) in columns.iter().zip(&best) {
            // A value that reads the same as the best one counts as best too.
            let _ = match speed(name, case).map(text) {
                Some(cell) if best.as_ref() == Some(&cell) => write!(table, " **{cell}** |"),
                Some(cell) => write!(table, " {cell} |"),
                None => write!(table, " - |"),
            };
        }
        table.push('\n');
    }
    table
}

/// Returns the number behind `--threads`.
fn threads(case: &str) -> Option<u32> {
    let mut words = case.split(' ').skip_while(|word| *word != "--threads");
    words.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_run_across_and_the_best_of_each_is_bold() {
        let text = "# allocator hz3: version 1, x\n# allocator glibc: version 2, \n\
            round,case,allocator,speed_per_s\n\
            0,mixed --threads 16 --ops 5,hz3,90000000\n0,mixed --threads 16 --ops 5,glibc,91000000\n\
            0,mixed --threads 2 --ops 9,hz3,7000000\n0,mixed --threads 2 --ops 9,glibc,\n\
            0,remote --threads 1,hz3,1000000\n0,remote --threads 1,glibc,1000001\n";
        let recording = Recording::parse(text).unwrap();
        let expected = "| threads | 2 | 16 |\n|---|---|---|\n\
            | hz3 | **7.0** | 90.0 |\n| glibc 2 | - | **91.0** |\n";
        assert_eq!(table(&recording, "mixed"), expected);
        let expected = "| threads | 1 |\n|---|---|\n| hz3 | **1.0** |\n| glibc 2 | **1.0** |\n";
        assert_eq!(table(&recording, "remote"), expected);
    }
}
