//! Every counter is explained in the header of the C library and listed among the metrics, with the
//! unit that its comment says.

use super::Finding;
use super::source::{Tree, words};

const TABLE: &str = "crates/hz3/src/stats.rs";
const HEADER: &str = "crates/hz3-c/include/hz3.h";
const METRICS: &str = "contrib/metrics.txt";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let [table, header, metrics] = [TABLE, HEADER, METRICS].map(|file| tree.text(file));
    let (header, metrics) = (header.unwrap_or_default(), metrics.unwrap_or_default());
    let mut findings = Vec::new();
    for (line, name, is_number) in fields(table.unwrap_or_default()) {
        let mut find = |what| findings.push(Finding::new(TABLE, line, what));
        if !words(header).any(|word| word == name) {
            find(format!("{HEADER} does not explain `{name}`"));
        }
        let stem = name.trim_end_matches("_bytes").trim_end_matches("_ns");
        let metric = |unit: &str| {
            let start = format!("hz3_{stem}{unit} ");
            metrics.lines().any(|metric| metric.starts_with(&start))
        };
        if is_number && !metric("") {
            find(format!("{METRICS} has no `hz3_{name}` without a unit"));
        } else if !is_number && !metric("_bytes") && !metric("_seconds") {
            find(format!("{METRICS} has no `hz3_{stem}` in bytes or seconds"));
        }
    }
    findings
}

/// Returns the fields of the table without those of the experiments: the line, the name, and
/// whether the comment says that it is a number of something.
fn fields(table: &str) -> Vec<(usize, &str, bool)> {
    let mut fields = Vec::new();
    let (mut is_number, mut is_experiment, mut is_inside) = (false, false, false);
    for (index, line) in table.lines().enumerate() {
        let line = line.trim();
        if line == "stats! {" {
            (is_inside, is_number) = (true, false);
        } else if line == "}" {
            is_inside = false;
        } else if line.starts_with("#[cfg") {
            is_experiment = true;
        } else if let Some(comment) = line.strip_prefix("/// ") {
            is_number |= comment.starts_with("Number of");
        } else if let Some(name) = line.strip_suffix(',').filter(|_| is_inside) {
            if !is_experiment {
                fields.push((index + 1, name, is_number));
            }
            (is_number, is_experiment) = (false, false);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    const STATS: &str = "macro_rules! stats {}\nstats! {\n    /// Number of naps.\n    naps,\n    \
        /// Free bytes.\n    free,\n    /// Number of epochs.\n    #[cfg(feature = \"x\")]\n    \
        epochs,\n}\n";

    fn found(header: &str, metrics: &str) -> Vec<String> {
        lines(&check(&Tree::of([(TABLE, STATS), (HEADER, header), (METRICS, metrics)])))
    }

    #[test]
    fn counters_that_are_explained_and_listed_are_fine() {
        let fine = "hz3_naps counter\nhz3_free_bytes gauge\n";
        assert!(found("naps and free", fine).is_empty());
    }

    #[test]
    fn a_counter_that_is_not_explained_or_has_another_unit_is_found() {
        let expected = [
            "crates/hz3/src/stats.rs:4: crates/hz3-c/include/hz3.h does not explain `naps`",
            "crates/hz3/src/stats.rs:4: contrib/metrics.txt has no `hz3_naps` without a unit",
            "crates/hz3/src/stats.rs:6: contrib/metrics.txt has no `hz3_free` in bytes or seconds",
        ];
        assert_eq!(found("free", "hz3_naps_bytes gauge\nhz3_free gauge\n"), expected);
    }
}
