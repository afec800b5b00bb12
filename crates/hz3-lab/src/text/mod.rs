//! Numbers and tables for readers.

pub(crate) mod err;
pub(crate) mod out;
pub(crate) mod table;

use crate::stats::estimate::Estimate;

/// Formats a number with a comma between groups of three digits.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Formats KiB: `640 KiB`, `1.5 MiB`, `2.10 GiB`.
pub(crate) fn kib(kib: f64) -> String {
    const MIB: f64 = 1024.0;
    const GIB: f64 = 1024.0 * MIB;
    match kib {
        k if k < MIB => format!("{k:.0} KiB"),
        k if k < GIB => format!("{:.1} MiB", k / MIB),
        k => format!("{:.2} GiB", k / GIB),
    }
}

/// Formats seconds: `850 us`, `12.3 ms`, `1.234 s`.
pub(crate) fn seconds(s: f64) -> String {
    match s {
        s if s < 0.001 => format!("{:.0} us", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.3} s"),
    }
}

/// Formats nanoseconds: `35 ns`, `1.2 us`, `3.4 ms`, `1.234 s`.
pub(crate) fn nanoseconds(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.1} us", ns / 1e3),
        ns => seconds(ns / 1e9),
    }
}

/// Formats an estimated duration: `40 s`, `12 min`, `2.5 h`.
pub(crate) fn about(s: f64) -> String {
    match s {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// Formats a rate: `950`, `12.3 k`, `98.7 M`, `1.23 G`.
pub(crate) fn si(rate: f64) -> String {
    match rate {
        r if r < 1e3 => format!("{r:.0}"),
        r if r < 1e6 => format!("{:.1} k", r / 1e3),
        r if r < 1e9 => format!("{:.1} M", r / 1e6),
        r => format!("{:.2} G", r / 1e9),
    }
}

/// Returns a text as one line that does not move a terminal's cursor: a line end becomes a blank,
/// any other control character `?`.
pub(crate) fn one_line(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' => ' ',
        c if c.is_control() => '?',
        c => c,
    };
    text.chars().map(shown).collect()
}

/// Returns the name nearest to `word` if they differ by at most a third of the word's letters.
pub(crate) fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distances = names.map(|name| (edits(&word.to_lowercase(), &name.to_lowercase()), name));
    let (distance, name) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= word.chars().count().max(3) / 3).then_some(name)
}

/// Returns the number of letters to insert, delete, replace or swap with their neighbour.
fn edits(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows = vec![(0..=to.len()).collect::<Vec<usize>>()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

/// Formats a ratio with its interval: `1.23 (1.10-1.35)`; `~ (0.93-1.08)` if no difference was
/// seen; `1.23 (-)` if there are too few values for an interval.
pub(crate) fn ratio(estimate: &Estimate) -> String {
    match estimate.interval {
        Some(i) if i.holds(1.0) => format!("~ ({:.2}-{:.2})", i.low, i.high),
        Some(i) => format!("{:.2} ({:.2}-{:.2})", estimate.value, i.low, i.high),
        None => format!("{:.2} (-)", estimate.value),
    }
}

/// Explains the output of [`ratio`] in the line above a table.
pub(crate) const RATIO_KEY: &str = "`~` no difference seen, `(-)` too few rounds for an interval";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        for (n, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(count(n), text);
        }
    }

    #[test]
    fn units_change_at_their_borders() {
        assert_eq!(kib(1023.0), "1023 KiB");
        assert_eq!(kib(1536.0), "1.5 MiB");
        assert_eq!(kib(3.0 * 1024.0 * 1024.0), "3.00 GiB");
        assert_eq!(seconds(0.000_85), "850 us");
        assert_eq!(seconds(0.012_34), "12.3 ms");
        assert_eq!(seconds(1.2345), "1.234 s");
    }

    #[test]
    fn rates_and_nanoseconds() {
        assert_eq!(
            [950.0, 12_345.0, 98.7e6, 1.234e9].map(si),
            ["950", "12.3 k", "98.7 M", "1.23 G"]
        );
        assert_eq!([35.0, 1234.0, 3_400_000.0].map(nanoseconds), ["35 ns", "1.2 us", "3.4 ms"]);
    }

    #[test]
    fn what_others_named_stays_in_its_line() {
        assert_eq!(one_line("a\nb\u{1b}[2Jc\u{9b}d"), "a b?[2Jc?d");
    }

    #[test]
    fn the_nearest_name_is_one_that_could_be_meant() {
        let near = |word: &str| nearest(word, ["glibc", "jemalloc", "mimalloc", "hz3"].into_iter());
        assert_eq!(near("jmealloc"), Some("jemalloc"));
        assert_eq!(near("GLIBC"), Some("glibc"));
        assert_eq!(near("hz"), Some("hz3"));
        assert_eq!(near("h3"), Some("hz3"));
        for far in ["hoard2000", "lib", "gcc", "x", ""] {
            assert_eq!(near(far), None, "{far}");
        }
    }

    #[test]
    fn a_ratio_is_a_win_only_with_an_interval_beside_1() {
        let of = |values: &[f64]| ratio(&crate::stats::estimate::ratio(values).unwrap());
        assert_eq!(of(&[2.0; 6]), "2.00 (2.00-2.00)");
        assert_eq!(of(&[0.5, 1.1, 1.2, 1.3, 1.4, 1.5]), "~ (0.50-1.50)");
        assert_eq!(of(&[2.0]), "2.00 (-)");
    }
}
