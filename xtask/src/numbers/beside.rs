//! hz3 beside the other allocators of a recording: case by case, in words, and in the mean.

use std::fmt::Write;

use super::paragraph::paragraph;
use super::recording::{Recording, interval, median};

/// The allocator that is compared with the others.
const OURS: &str = "hz3";
/// The C library's allocator, which most programs run on.
const GLIBC: &str = "glibc";
const PEAK: &str = "peak_rss_kb";

/// A column of the recording, which way is better, and its words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure {
    column: &'static str,
    more_is_better: bool,
    quantity: &'static str,
    cases: &'static str,
}

/// Operations a second.
pub(super) const SPEED: Measure =
    Measure { column: "speed_per_s", more_is_better: true, quantity: "speed", cases: "loops" };
/// Seconds from the start of a program to its end.
pub(super) const TIME: Measure =
    Measure { column: "wall_s", more_is_better: false, quantity: "time", cases: "programs" };

/// One case: hz3 as a multiple of the best other allocator.
#[derive(Debug)]
struct Row {
    case: String,
    best: String,
    ratio: f64,
    /// The 95 % interval of the ratio, if there are rounds enough.
    range: Option<[f64; 2]>,
    /// The peak as a multiple of the least of the others, and of glibc's.
    peaks: [Option<f64>; 2],
}

/// The allocators that hz3 is compared with.
fn others(recording: &Recording) -> Vec<String> {
    recording.allocators().into_iter().filter(|name| name != OURS).collect()
}

impl Row {
    /// Compares hz3 with the other allocator whose median is the best; nothing if none has one.
    fn of(recording: &Recording, case: &str, measure: Measure) -> Option<Row> {
        let others = others(recording);
        let middle = |name: &str, column| median(recording.values(case, name, column));
        let by_measure = |a: &&String, b: &&String| {
            let [a, b] = [a, b].map(|name| middle(name, measure.column).unwrap_or(f64::NAN));
            if measure.more_is_better { a.total_cmp(&b) } else { b.total_cmp(&a) }
        };
        let measured = others.iter().filter(|name| middle(name, measure.column).is_some());
        let best = measured.max_by(by_measure)?;
        let ratios = recording.ratios(case, [OURS, best], measure.column);
        let least = others.iter().filter_map(|name| middle(name, PEAK)).min_by(f64::total_cmp);
        let own = middle(OURS, PEAK)?;
        Some(Row {
            case: case.to_owned(),
            best: recording.title(best),
            ratio: median(ratios.clone())?,
            range: interval(ratios),
            peaks: [least, middle(GLIBC, PEAK)].map(|peak| Some(own / peak?)),
        })
    }

    /// Whether the whole interval is above (or below) the best other allocator.
    fn is_decided(&self, above: bool) -> bool {
        self.range.is_some_and(|[low, high]| if above { low > 1.0 } else { high < 1.0 })
    }
}

/// One row a case, and the geometric mean beside the allocator that is best in the mean. The peak
/// beside glibc has a column of its own if glibc was measured.
pub(super) fn table(recording: &Recording, cases: &[String], measure: Measure) -> String {
    let has_glibc = others(recording).iter().any(|name| name == GLIBC);
    let (name, rule) = if has_glibc { (" of glibc's |", "---|") } else { ("", "") };
    let mut table = format!(
        "| | ratio | 95 % interval | best other | peak |{name}\n|---|---|---|---|---|{rule}\n"
    );
    let mut line = |row: &Row| {
        let better = row.is_decided(measure.more_is_better);
        let ratio = format!("{:.2}", row.ratio);
        let ratio = if better { format!("**{ratio}**") } else { ratio };
        let range =
            row.range.map_or("-".to_owned(), |[low, high]| format!("{low:.2} to {high:.2}"));
        let [peak, of_glibc] =
            row.peaks.map(|peak| peak.map_or("-".to_owned(), |peak| format!("{peak:.2}")));
        let of_glibc = if has_glibc { format!(" {of_glibc} |") } else { String::new() };
        let (case, best) = (&row.case, &row.best);
        let _ = writeln!(table, "| {case} | {ratio} | {range} | {best} | {peak} |{of_glibc}");
    };
    let rows: Vec<Row> =
        cases.iter().filter_map(|case| Row::of(recording, case, measure)).collect();
    rows.iter().for_each(&mut line);
    if let Some(mean) = mean(recording, cases, measure) {
        line(&mean);
    }
    table
}

/// The geometric mean over the cases of one allocator as a multiple of another; nothing if one of
/// the two failed in a case.
fn mean_ratio(
    recording: &Recording,
    cases: &[String],
    pair: [&str; 2],
    column: &str,
) -> Option<f64> {
    let of = |case: &String| median(recording.ratios(case, pair, column)).map(f64::ln);
    let logs: Option<Vec<f64>> = cases.iter().map(of).collect();
    let logs = logs.filter(|logs| !logs.is_empty())?;
    #[expect(clippy::cast_precision_loss, reason = "a recording has some dozens of cases")]
    let count = logs.len() as f64;
    Some((logs.iter().sum::<f64>() / count).exp())
}

/// The geometric mean of all cases beside the other allocator for which it is the least favourable
/// to hz3.
fn mean(recording: &Recording, cases: &[String], measure: Measure) -> Option<Row> {
    let beside = |name: &str, column| mean_ratio(recording, cases, [OURS, name], column);
    let others = others(recording);
    let means = others.iter().filter_map(|name| Some((beside(name, measure.column)?, name)));
    let worse = |a: &(f64, &String), b: &(f64, &String)| {
        if measure.more_is_better { a.0.total_cmp(&b.0) } else { b.0.total_cmp(&a.0) }
    };
    let (ratio, best) = means.min_by(worse)?;
    let peak = others.iter().filter_map(|name| beside(name, PEAK)).max_by(f64::total_cmp);
    Some(Row {
        case: "geometric mean".to_owned(),
        best: recording.title(best),
        ratio,
        range: None,
        peaks: [peak, beside(GLIBC, PEAK)],
    })
}

/// In how many cases hz3 is better and worse than the best of the others, and how it is in the
/// mean.
pub(super) fn in_words(recording: &Recording, cases: &[String], measure: Measure) -> String {
    let rows: Vec<Row> =
        cases.iter().filter_map(|case| Row::of(recording, case, measure)).collect();
    let count = |above: bool| rows.iter().filter(|row| row.is_decided(above)).count();
    let (better, worse) = (count(measure.more_is_better), count(!measure.more_is_better));
    let counted = format!(
        "Of {} {} hz3 was faster than the best of {} other allocators in {better}, slower in \
         {worse}; in {} the rounds do not agree.",
        rows.len(),
        measure.cases,
        others(recording).len(),
        rows.len() - better - worse
    );
    let mean = mean(recording, cases, measure).map_or(String::new(), |mean| {
        let (quantity, ratio, best) = (measure.quantity, mean.ratio, mean.best);
        format!(
            "In the geometric mean its {quantity} is {ratio:.2} times that of {best}, the next best."
        )
    });
    paragraph(&[&counted, &mean])
}

/// In how many cases hz3 is better and worse than one other allocator, and the means of speed and
/// peak beside it.
pub(super) fn one_in_words(
    recording: &Recording,
    cases: &[String],
    measure: Measure,
    other: &str,
) -> String {
    let pair = [OURS, other];
    let ranges = cases.iter().map(|case| interval(recording.ratios(case, pair, measure.column)));
    let ranges: Vec<[f64; 2]> = ranges.flatten().collect();
    let above = ranges.iter().filter(|[low, _]| *low > 1.0).count();
    let below = ranges.iter().filter(|[_, high]| *high < 1.0).count();
    let (better, worse) = if measure.more_is_better { (above, below) } else { (below, above) };
    let title = recording.title(other);
    let counted = format!(
        "Beside {title}, hz3 was faster in {better} of {} {}, slower in {worse}; in {} the rounds \
         do not agree.",
        ranges.len(),
        measure.cases,
        ranges.len() - better - worse
    );
    let mean = |column| mean_ratio(recording, cases, pair, column);
    let means = mean(measure.column).zip(mean(PEAK)).map_or(String::new(), |(ratio, peak)| {
        let quantity = measure.quantity;
        format!("In the geometric mean its {quantity} is {ratio:.2} times that one's, its peak {peak:.2} times.")
    });
    paragraph(&[&counted, &means])
}

/// One row an allocator: the geometric means of its time, CPU time and peak as multiples of
/// glibc's. A case in which one of the allocators failed is left out for all of them, and named.
pub(super) fn means(recording: &Recording, cases: &[String]) -> String {
    const COLUMNS: [&str; 3] = ["wall_s", "cpu_s", PEAK];
    let allocators = recording.allocators();
    let ran = |case: &&String| {
        allocators.iter().all(|name| !recording.ratios(case, [name, GLIBC], "wall_s").is_empty())
    };
    let (all, failed): (Vec<&String>, Vec<&String>) = cases.iter().partition(ran);
    let all: Vec<String> = all.into_iter().cloned().collect();
    let mean = |name: &String, column| mean_ratio(recording, &all, [name, GLIBC], column);
    let text = |mean: Option<f64>| mean.map_or("-".to_owned(), |mean| format!("{mean:.2}"));
    let least = COLUMNS.map(|column| {
        text(allocators.iter().filter_map(|name| mean(name, column)).min_by(f64::total_cmp))
    });
    let mut table = "| | time | CPU time | peak |\n|---|---|---|---|\n".to_owned();
    for name in &allocators {
        let _ = write!(table, "| {} |", recording.title(name));
        for (column, least) in COLUMNS.iter().zip(&least) {
            let cell = text(mean(name, column));
            let _ = if cell == *least {
                write!(table, " **{cell}** |")
            } else {
                write!(table, " {cell} |")
            };
        }
        table.push('\n');
    }
    if !failed.is_empty() {
        let named: Vec<&str> = failed.into_iter().map(String::as_str).collect();
        let said = format!("Not in the means, because not all ran them: {}.", named.join(", "));
        let _ = write!(table, "\n{}", paragraph(&[&said]));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "| | ratio | 95 % interval | best other | peak | of glibc's |\n\
        |---|---|---|---|---|---|\n";

    /// Six rounds of two cases: hz3 is twice as fast in `a`, slower in `b`, and has failed in `c`.
    fn recording() -> Recording {
        let mut text = "# allocator hz3: version 1, x, digest 1\n\
            # allocator glibc: version 2, , digest -\n# allocator slow: version 3, , digest -\n\
            round,case,allocator,speed_per_s,peak_rss_kb\n"
            .to_owned();
        for round in 0..6 {
            let _ = write!(
                text,
                "{round},a,hz3,{},10\n{round},a,glibc,10,20\n{round},a,slow,1,5\n\
                 {round},b,hz3,5,10\n{round},b,glibc,{},20\n{round},b,slow,1,5\n\
                 {round},c,hz3,,\n{round},c,glibc,1,1\n",
                20 + round,
                6 + round
            );
        }
        Recording::parse(&text).unwrap()
    }

    #[test]
    fn a_row_names_the_best_other_and_the_range_of_the_rounds() {
        let cases = ["a", "b"].map(str::to_owned);
        let expected = "| a | **2.25** | 2.00 to 2.50 | glibc 2 | 2.00 | 0.50 |\n\
            | b | 0.59 | 0.45 to 0.83 | glibc 2 | 2.00 | 0.50 |\n\
            | geometric mean | 1.15 | - | glibc 2 | 2.00 | 0.50 |\n";
        assert_eq!(table(&recording(), &cases, SPEED), format!("{HEAD}{expected}"));
    }

    #[test]
    fn the_sentence_counts_what_all_rounds_agree_on() {
        let cases = ["a", "b", "c"].map(str::to_owned);
        let counted = "Of 2 loops hz3 was faster than the best of 2 other allocators in 1, slower in 1; \
            in 0 the rounds do\nnot agree.";
        assert_eq!(in_words(&recording(), &cases, SPEED), format!("{counted}\n"));
        let mean = "In the geometric mean its speed is 1.15 times that of glibc 2, the next best.";
        assert_eq!(in_words(&recording(), &cases[..2], SPEED), format!("{counted} {mean}\n"));
    }

    #[test]
    fn one_other_allocator_is_counted_alone() {
        let cases = ["a", "b"].map(str::to_owned);
        let said = "Beside glibc 2, hz3 was faster in 1 of 2 loops, slower in 1; in 0 the rounds do \
            not agree. In the\ngeometric mean its speed is 1.15 times that one's, its peak 0.50 times.\n";
        assert_eq!(one_in_words(&recording(), &cases, SPEED, "glibc"), said);
        let said = "Beside slow 3, hz3 was faster in 2 of 2 loops, slower in 0";
        assert!(one_in_words(&recording(), &cases, SPEED, "slow").starts_with(said));
    }

    #[test]
    fn few_rounds_decide_nothing() {
        let text = "# allocator hz3: version 1, x, digest 1\n# allocator glibc: version 2, , digest -\n\
            round,case,allocator,speed_per_s,peak_rss_kb\n0,a,hz3,9,1\n0,a,glibc,1,1\n";
        let recording = Recording::parse(text).unwrap();
        let row = Row::of(&recording, "a", SPEED).unwrap();
        assert!(row.range.is_none() && !row.is_decided(true) && !row.is_decided(false));
    }

    /// Of less is better: hz3 takes half of glibc's time in `a`; `slow` has failed in `b`.
    #[test]
    fn times_are_better_when_shorter() {
        let mut text = "# allocator glibc: version 2, , digest -\n# allocator hz3: version 1, x\n\
            # allocator slow: version 3, x\nround,case,allocator,wall_s,cpu_s,peak_rss_kb\n"
            .to_owned();
        for round in 0..6 {
            let _ = write!(
                text,
                "{round},a,hz3,1,3,40\n{round},a,glibc,2,4,20\n{round},a,slow,8,8,10\n\
                 {round},b,hz3,3,3,20\n{round},b,glibc,2,2,20\n{round},b,slow,,,\n"
            );
        }
        let recording = Recording::parse(&text).unwrap();
        let cases = ["a", "b"].map(str::to_owned);
        let expected = "| a | **0.50** | 0.50 to 0.50 | glibc 2 | 4.00 | 2.00 |\n\
            | b | 1.50 | 1.50 to 1.50 | glibc 2 | 1.00 | 1.00 |\n\
            | geometric mean | 0.87 | - | glibc 2 | 1.41 | 1.41 |\n";
        assert_eq!(table(&recording, &cases, TIME), format!("{HEAD}{expected}"));
        let said = "Of 2 programs hz3 was faster than the best of 2 other allocators in 1, slower \
            in 1; in 0 the rounds\ndo not agree. In the geometric mean its time is 0.87 times \
            that of glibc 2, the next best.\n";
        assert_eq!(in_words(&recording, &cases, TIME), said);
        let expected = "| | time | CPU time | peak |\n|---|---|---|---|\n\
            | glibc 2 | 1.00 | 1.00 | 1.00 |\n| hz3 | **0.50** | **0.75** | 2.00 |\n\
            | slow 3 | 4.00 | 2.00 | **0.50** |\n\n\
            Not in the means, because not all ran them: b.\n";
        assert_eq!(means(&recording, &cases), expected);
    }
}
