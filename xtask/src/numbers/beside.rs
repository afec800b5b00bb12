//! hz3 beside the best other allocator of a recording, case by case.

use std::fmt::Write;

use super::paragraph::paragraph;
use super::recording::{Recording, median};

/// The allocator that is compared with the others.
const OURS: &str = "hz3";
/// The lowest and highest of this many ratios hold their median with 96.9 % confidence: it lies
/// outside only if all of them fall on one side of it, twice (1/2)^6.
const ROUNDS: usize = 6;
const PEAK: &str = "peak_rss_kb";

/// A column of the recording, and which way is better.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure {
    pub(super) column: &'static str,
    pub(super) more_is_better: bool,
}

/// Operations a second.
pub(super) const SPEED: Measure = Measure { column: "speed_per_s", more_is_better: true };

/// One case: hz3 as a multiple of the best other allocator.
#[derive(Debug)]
struct Row {
    case: String,
    best: String,
    ratio: f64,
    /// The lowest and highest of the rounds' ratios, from [`ROUNDS`] rounds on.
    range: Option<[f64; 2]>,
    /// The peak as a multiple of the least of the others.
    peak: Option<f64>,
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
        let ends = || {
            let low = ratios.iter().copied().min_by(f64::total_cmp)?;
            Some([low, ratios.iter().copied().max_by(f64::total_cmp)?])
        };
        let least = others.iter().filter_map(|name| middle(name, PEAK)).min_by(f64::total_cmp);
        Some(Row {
            case: case.to_owned(),
            best: recording.title(best),
            ratio: median(ratios.clone())?,
            range: if ratios.len() < ROUNDS { None } else { ends() },
            peak: Some(middle(OURS, PEAK)? / least?),
        })
    }

    /// Whether all rounds say that hz3 is above (or below) the best other allocator.
    fn is_decided(&self, above: bool) -> bool {
        self.range.is_some_and(|[low, high]| if above { low > 1.0 } else { high < 1.0 })
    }
}

/// One row a case, and the geometric mean beside the allocator that is best in the mean.
pub(super) fn table(recording: &Recording, cases: &[String], measure: Measure) -> String {
    let mut table =
        "| | ratio | lowest to highest | best other | peak |\n|---|---|---|---|---|\n".to_owned();
    let mut line = |row: &Row| {
        let better = row.is_decided(measure.more_is_better);
        let ratio = format!("{:.2}", row.ratio);
        let ratio = if better { format!("**{ratio}**") } else { ratio };
        let range =
            row.range.map_or("-".to_owned(), |[low, high]| format!("{low:.2} to {high:.2}"));
        let peak = row.peak.map_or("-".to_owned(), |peak| format!("{peak:.2}"));
        let _ = writeln!(table, "| {} | {ratio} | {range} | {} | {peak} |", row.case, row.best);
    };
    let rows: Vec<Row> =
        cases.iter().filter_map(|case| Row::of(recording, case, measure)).collect();
    rows.iter().for_each(&mut line);
    if let Some(mean) = mean(recording, cases, measure) {
        line(&mean);
    }
    table
}

/// The geometric mean of all cases beside the other allocator for which it is the least favourable
/// to hz3.
fn mean(recording: &Recording, cases: &[String], measure: Measure) -> Option<Row> {
    let over_cases = |of: &dyn Fn(&str) -> Option<f64>| {
        let logs: Option<Vec<f64>> = cases.iter().map(|case| of(case).map(f64::ln)).collect();
        let logs = logs.filter(|logs| !logs.is_empty())?;
        #[expect(clippy::cast_precision_loss, reason = "a recording has some dozens of cases")]
        let count = logs.len() as f64;
        Some((logs.iter().sum::<f64>() / count).exp())
    };
    let beside = |name: &str, column| {
        over_cases(&|case: &str| median(recording.ratios(case, [OURS, name], column)))
    };
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
        peak,
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
        "Of {} loops hz3 was faster than the best of {} other allocators in {better}, slower in \
         {worse}; in {} the rounds do not agree.",
        rows.len(),
        others(recording).len(),
        rows.len() - better - worse
    );
    let mean = mean(recording, cases, measure).map_or(String::new(), |mean| {
        let (ratio, best) = (mean.ratio, mean.best);
        format!(
            "In the geometric mean its speed is {ratio:.2} times that of {best}, the next best."
        )
    });
    paragraph(&[&counted, &mean])
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let expected = "| | ratio | lowest to highest | best other | peak |\n|---|---|---|---|---|\n\
            | a | **2.25** | 2.00 to 2.50 | glibc 2 | 2.00 |\n\
            | b | 0.59 | 0.45 to 0.83 | glibc 2 | 2.00 |\n\
            | geometric mean | 1.15 | - | glibc 2 | 2.00 |\n";
        assert_eq!(table(&recording(), &cases, SPEED), expected);
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
    fn few_rounds_decide_nothing() {
        let text = "# allocator hz3: version 1, x, digest 1\n# allocator glibc: version 2, , digest -\n\
            round,case,allocator,speed_per_s,peak_rss_kb\n0,a,hz3,9,1\n0,a,glibc,1,1\n";
        let recording = Recording::parse(text).unwrap();
        let row = Row::of(&recording, "a", SPEED).unwrap();
        assert!(row.range.is_none() && !row.is_decided(true) && !row.is_decided(false));
    }
}
