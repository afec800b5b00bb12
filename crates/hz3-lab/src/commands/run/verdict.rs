//! The report in sentences.

use super::report::{Agreement, Report};
use crate::experiment::analysis::{Relation, rounds_needed};
use crate::measure::capture::Difference;
use crate::stats::estimate::{Estimate, FEWEST, Interval};
use crate::text;

/// Formats the result in plain sentences, one per line.
pub(crate) fn sentences(report: &Report) -> String {
    let mut lines = vec![compared(report), served(report), agreed(report)];
    lines.extend(doubt(report));
    lines.join("\n")
}

fn served(report: &Report) -> String {
    match report.counts {
        Some(counts) if counts.processes > 0 => {
            let processes = match counts.processes {
                1 => String::new(),
                n => format!(" in {n} processes"),
            };
            let plural = if counts.requests == 1 { "" } else { "s" };
            let requests = text::count(counts.requests);
            format!("{} served {requests} request{plural}{processes}.", report.name)
        }
        Some(_) => format!("No process reported how many requests {} served.", report.name),
        None => "The requests were not counted (--no-count).".to_owned(),
    }
}

fn compared(report: &Report) -> String {
    let pairs = report.runs;
    let figures = [
        ("wall time", &report.ratios.wall, "longer", "shorter"),
        ("peak resident set", &report.ratios.peak_rss, "larger", "smaller"),
    ];
    if pairs < FEWEST {
        return format!(
            "Whether {} and the system's malloc differ cannot be said: {} (--runs {FEWEST}).",
            report.name,
            rounds_needed(pairs)
        );
    }
    let sentence = |(what, ratio, more, less): (&str, &Option<Estimate>, &str, &str)| {
        let interval = ratio.and_then(|ratio| ratio.interval);
        match (Relation::of(*ratio), interval) {
            (Relation::More(_), Some(i)) => {
                format!("The {what} is {} {more} on {}.", change(i), report.name)
            }
            (Relation::Less(_), Some(i)) => {
                format!("The {what} is {} {less} on {}.", change(i), report.name)
            }
            (_, Some(Interval { low, high })) => format!(
                "No difference in the {what} was seen ({low:.2} to {high:.2} in {pairs} runs)."
            ),
            (_, None) => format!("The {what} gives no interval."),
        }
    };
    figures.map(sentence).join(" ")
}

/// Formats an interval that excludes 1 as a change: `8 to 15 %`.
fn change(Interval { low, high }: Interval) -> String {
    let percents = [low, high].map(|ratio| (ratio - 1.0).abs() * 100.0);
    let [small, large] = [percents[0].min(percents[1]), percents[0].max(percents[1])];
    if small < 10.0 {
        format!("{small:.1} to {large:.1} %")
    } else {
        format!("{small:.0} to {large:.0} %")
    }
}

fn agreed(report: &Report) -> String {
    let Agreement { same_exit, stdout, stderr, differs_by_itself } = &report.agreement;
    let mut differences = Vec::new();
    if !same_exit {
        differences.push(format!(
            "it ended with {} on {}, with {} on the system's malloc",
            report.hz3.exit, report.name, report.system.exit
        ));
    }
    let place =
        |name: &str, at: &Difference| format!("its {name} differs from line {} on", at.line);
    differences.extend(stdout.as_ref().map(|at| place("standard output", at)));
    differences.extend(stderr.as_ref().map(|at| place("standard error", at)));
    if differences.is_empty() {
        return format!("Output and exit status ({}) are the same on both.", report.hz3.exit);
    }
    let own = match differs_by_itself {
        Some(true) => " (Two runs on the system's malloc differ in their output as well.)",
        Some(false) => " (Two runs on the system's malloc agree in their output.)",
        None => " (--runs 2 shows whether it differs by itself.)",
    };
    format!("DIFFERENT: {}.{own}", differences.join("; "))
}

/// Returns a warning if the library may not have been used at all.
fn doubt(report: &Report) -> Option<String> {
    let reported = report.counts.is_some_and(|counts| counts.processes > 0);
    let mapped = report.hz3.library_mapped;
    (!reported && mapped != Some(true)).then(|| {
        let seen = if mapped == Some(false) { "was not mapped by" } else { "was not seen in" };
        format!(
            "WARNING: {} {seen} the command, so both rows may be the system's malloc. Programs that \
             are linked statically, or run with more privileges than their user, ignore LD_PRELOAD.",
            report.library
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::run::medians::Medians;
    use crate::commands::run::report::Ratios;
    use crate::counts::Counts;
    use crate::stats::estimate;

    fn figures(wall_s: f64, peak_rss_kb: f64) -> Medians {
        Medians {
            wall_s,
            cpu_s: wall_s,
            peak_rss_kb,
            last_rss_kb: Some(peak_rss_kb),
            faults: 10.0,
            exit: "0".to_owned(),
            library_mapped: Some(true),
        }
    }

    fn ratios(wall: [f64; 6], peak: [f64; 6]) -> Ratios {
        let of = |values: [f64; 6]| estimate::ratio(&values);
        Ratios { wall: of(wall), cpu: of(wall), peak_rss: of(peak), faults: None }
    }

    fn report() -> Report {
        Report {
            command: vec!["work".to_owned()],
            name: "hz3".to_owned(),
            library: "/lib/libhz3.so".to_owned(),
            runs: 6,
            system: figures(2.0, 2048.0),
            hz3: figures(1.0, 1024.0),
            ratios: ratios([0.98, 1.0, 1.02, 0.99, 1.01, 1.03], [0.5, 0.6, 0.55, 0.5, 0.6, 0.5]),
            counts: Some(Counts { processes: 2, requests: 12_345, madvise_calls: None }),
            agreement: Agreement {
                same_exit: true,
                stdout: None,
                stderr: None,
                differs_by_itself: None,
            },
            machine_load: None,
        }
    }

    #[test]
    fn a_good_run_reads_plainly_and_without_a_warning() {
        let text = sentences(&report());
        assert!(text.contains("hz3 served 12,345 requests in 2 processes."), "{text}");
        let same = "No difference in the wall time was seen (0.98 to 1.03 in 6 runs).";
        assert!(text.contains(same), "{text}");
        let less = "The peak resident set is 40 to 50 % smaller on hz3.";
        assert!(text.contains(less), "{text}");
        assert!(text.contains("Output and exit status (0) are the same"), "{text}");
        assert!(!text.contains("WARNING"), "{text}");
    }

    #[test]
    fn few_pairs_say_that_they_say_nothing() {
        let one = Report { runs: 1, ..report() };
        assert!(sentences(&one).contains("cannot be said: 1 round"), "{}", sentences(&one));
    }

    #[test]
    fn a_library_that_took_no_part_is_said_loudly() {
        let mut report = report();
        report.counts = Some(Counts::default());
        assert!(!sentences(&report).contains("WARNING"), "mapped, though it reports nothing");
        report.hz3.library_mapped = Some(false);
        assert!(sentences(&report).contains("WARNING: /lib/libhz3.so was not mapped"));
        report.hz3.library_mapped = None;
        assert!(sentences(&report).contains("WARNING: /lib/libhz3.so was not seen"));
    }

    #[test]
    fn every_difference_is_named() {
        let mut report = report();
        report.agreement.same_exit = false;
        report.hz3.exit = "signal 11".to_owned();
        report.agreement.stderr = Some(Difference { line: 4, byte: 99 });
        report.agreement.differs_by_itself = Some(false);
        let text = sentences(&report);
        assert!(text.contains("ended with signal 11 on hz3, with 0 on the system's"), "{text}");
        assert!(text.contains("standard error differs from line 4 on"), "{text}");
        assert!(text.contains("system's malloc agree"), "{text}");
    }
}
