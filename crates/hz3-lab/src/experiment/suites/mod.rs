//! Named sets of cases with targets for hz3.

mod programs;
mod reclaim;
mod speed;

use super::analysis::Analysis;
use super::cases::{Case, Level, Suite};
use super::record::Record;
use crate::peers::Missing;
use serde::Serialize;

/// One figure and its target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Judgement {
    pub(crate) case: String,
    /// The figure of the judged allocator.
    pub(crate) found: String,
    pub(crate) wanted: String,
    /// The figures that the target refers to.
    pub(crate) beside: String,
    /// Whether the target is met; `None` if a figure or an interval is missing.
    pub(crate) met: Option<bool>,
}

impl Suite {
    /// Returns the cases, in `rounds` rounds or as many as the level says. Cases that repeat by
    /// themselves have one round.
    pub(crate) fn cases(self, level: Level, rounds: Option<u32>) -> Vec<Case> {
        match self {
            Self::Reclaim => reclaim::cases(level, rounds),
            Self::Speed => speed::cases(level, rounds),
            Self::Programs => programs::cases(level, rounds),
        }
    }

    /// Returns settings of known allocators that are compared in addition.
    pub(crate) fn variants(self) -> &'static [&'static str] {
        match self {
            Self::Reclaim => &reclaim::VARIANTS,
            Self::Speed | Self::Programs => &[],
        }
    }

    /// Returns the programs that the suite lacks here, and how to get them.
    pub(crate) fn missing(self) -> Vec<Missing> {
        match self {
            Self::Programs => programs::missing(),
            Self::Reclaim | Self::Speed => Vec::new(),
        }
    }

    /// Judges a record of these cases.
    pub(crate) fn lines(self, record: &Record, analysis: &Analysis) -> Vec<Judgement> {
        let judged = judged(record);
        match self {
            Self::Reclaim => reclaim::lines(record, judged),
            Self::Speed => speed::lines(record, analysis, judged, &speed::TARGETS),
            Self::Programs => speed::lines(record, analysis, judged, &programs::TARGETS),
        }
    }
}

/// Returns the index of hz3, or of the first allocator if hz3 was not measured.
fn judged(record: &Record) -> usize {
    record.peers.iter().position(|peer| peer.name == "hz3").unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use crate::experiment::cases::What;
    use crate::experiment::trial::Figures;
    use clap::{Parser, ValueEnum};

    #[test]
    fn every_case_is_a_line_that_bench_understands() {
        let suites = Suite::value_variants().iter().filter(|suite| **suite != Suite::Programs);
        for suite in suites {
            for level in [Level::Quick, Level::Normal, Level::Thorough] {
                for case in suite.cases(level, None) {
                    let What::Bench(words) = &case.what else { panic!("{case:?}") };
                    let line = ["hz3", "bench"].into_iter().chain(words.iter().map(String::as_str));
                    assert!(Cli::try_parse_from(line).is_ok(), "{case:?}");
                }
            }
        }
    }

    /// Returns the judged allocator's lines for a suite whose trials all found
    /// `figures(allocator)`.
    fn judge(suite: Suite, names: &[&str], figures: impl Fn(usize) -> Figures) -> Vec<Judgement> {
        let record =
            Record::simulated(names, suite.cases(Level::Quick, None), 1, |slot| figures(slot.peer));
        suite.lines(&record, &Analysis::of(&record))
    }

    fn missed(lines: &[Judgement]) -> Vec<&str> {
        let missed = lines.iter().filter(|line| line.met == Some(false));
        missed.map(|line| line.case.as_str()).collect()
    }

    #[test]
    fn reclaim_wants_little_beside_the_reference_the_start_the_floor_and_the_peak() {
        let names = ["hz3", "mimalloc3:MIMALLOC_PURGE_DELAY=0"];
        let kept = |ours: f64, theirs: f64, leak: f64| {
            judge(Suite::Reclaim, &names, |peer| Figures {
                worst_idle_rss_kb: Some([ours, theirs][peer]),
                start_rss_kb: Some(4000.0),
                floor_kb: Some(20_000.0),
                idle_ends_kb: (0..24).map(|cycle| 9000.0 + leak * f64::from(cycle)).collect(),
                peak_rss_kb: 100_000.0,
                ..Figures::default()
            })
        };
        let all = kept(12_000.0, 10_000.0, 0.0);
        assert_eq!((all.len(), missed(&all).len()), (12, 0), "{all:?}");
        let grows = kept(12_000.0, 10_000.0, 17.0);
        assert!(missed(&grows).iter().all(|case| case.ends_with(": growth")), "{grows:?}");
        let lines = kept(12_200.0, 10_000.0, 0.0);
        let expected = [
            "threads exit",
            "threads blocked",
            "freed by another",
            "3 million small",
            "8,000 buffers",
        ];
        assert_eq!(missed(&lines), expected, "2 MiB beside the reference, 8 MiB beside the start");
        // 4,000 and 1.10 times 20,000; less than 76 % of 100,000 is gone.
        let lines = kept(26_001.0, 30_000.0, 0.0);
        let expected = [
            "200 blocked",
            "3 million small",
            "8,000 buffers",
            "5 % of 512-2048",
            "5 % of 64-1024, 4 threads",
            "holes",
        ];
        assert_eq!(missed(&lines), expected);
    }

    #[test]
    fn without_its_reference_a_bar_is_unknown() {
        let figures = |_| Figures { worst_idle_rss_kb: Some(1.0), ..Figures::default() };
        let lines = judge(Suite::Reclaim, &["hz3"], figures);
        assert_eq!((lines[0].case.as_str(), lines[0].met), ("threads exit", None));
    }

    #[test]
    fn programs_want_little_more_time_than_the_best_and_the_peak_of_glibc() {
        let cases = ["a", "b"].map(|name| Case::bench(name, "small", true, 7)).to_vec();
        let judge = |speed: f64, peak: f64| {
            let names = ["glibc", "hz3", "mimalloc"];
            let record = Record::simulated(&names, cases.clone(), 1, |slot| Figures {
                speed: Some([1.0, speed, 1.2][slot.peer]),
                peak_rss_kb: [100.0, peak, 50.0][slot.peer],
                ..Figures::default()
            });
            Suite::Programs.lines(&record, &Analysis::of(&record))
        };
        assert_eq!(missed(&judge(1.24, 105.0)), [""; 0]);
        assert_eq!(missed(&judge(1.15, 105.0)), ["geometric mean"]);
        assert_eq!(missed(&judge(1.14, 106.0)), ["a", "a: peak", "b", "b: peak", "geometric mean"]);
    }

    #[test]
    fn one_round_decides_neither_time_nor_peak_and_commands_have_seconds() {
        let what = What::Command("true".to_owned());
        let case = Case { name: "a".to_owned(), what, is_speed: true, rounds: 1 };
        let record = Record::simulated(&["hz3", "glibc"], vec![case], 1, |slot| Figures {
            speed: Some([2.0, 4.0][slot.peer]),
            peak_rss_kb: [200.0, 100.0][slot.peer],
            ..Figures::default()
        });
        let lines = Suite::Programs.lines(&record, &Analysis::of(&record));
        assert!(lines.iter().all(|line| line.met.is_none()), "{lines:?}");
        assert_eq!(lines[0].beside, "glibc: 0.250 s");
        assert!(lines[1].found.starts_with("x 2.00"), "{lines:?}");
    }

    #[test]
    fn speed_wants_more_than_the_best_and_no_more_memory_than_the_least() {
        let names = ["glibc", "jemalloc", "hz3", "hoard", "mimalloc"];
        let judged = |speed: f64, peak: f64| {
            judge(Suite::Speed, &names, |peer| Figures {
                speed: Some([1.0, 2.0, speed, 3.0, 1.5][peer]),
                peak_rss_kb: [10.0, 100.0, peak, 20.0, 90.0][peer],
                ..Figures::default()
            })
        };
        assert_eq!(missed(&judged(3.76, 94.0)), [""; 0]);
        assert_eq!(missed(&judged(3.5, 94.0)), ["geometric mean"]);
        assert_eq!(missed(&judged(2.9, 94.0)).len(), 18);
        let lines = judged(3.76, 95.0);
        assert!(missed(&lines).iter().all(|case| case.ends_with(": peak")), "{lines:?}");
        assert_eq!(missed(&lines).len(), 17);
        assert!(lines[0].beside.starts_with("hoard: 3"), "{lines:?}");
        assert!(lines[1].beside.starts_with("mimalloc: "), "{lines:?}");
    }
}
