//! Is hz3 at least as fast as the best other allocator on every loop, and does it need no more
//! memory than the most frugal one?

use super::Judgement;
use crate::experiment::analysis::{Analysis, mean_ratio, ratios, values};
use crate::experiment::cases::{Case, Level};
use crate::experiment::decision::{Decision, at_least, at_most};
use crate::experiment::record::Record;
use crate::stats::estimate::{self, Estimate};
use crate::text;

/// The loops; `N` stands for thousands of turns of the quick level and is multiplied for the
/// others.
const ROWS: [(&str, &str, u32); 17] = [
    ("16-2048", "mixed --sizes 16-2048 --turn replace --ops N000", 2000),
    ("4096-32768", "mixed --sizes 4096-32768 --turn replace --ops N000", 500),
    ("16-32768", "mixed --sizes 16-32768 --turn replace --ops N000", 500),
    ("2 threads", "remote --threads 2 --percent 0 --slots 1024 --turn replace --ops N000", 500),
    (
        "2 threads, 50 %",
        "remote --threads 2 --percent 50 --slots 1024 --turn replace --ops N000",
        250,
    ),
    (
        "2 threads, 90 %",
        "remote --threads 2 --percent 90 --slots 1024 --turn replace --ops N000",
        250,
    ),
    ("16 threads, 90 %", "remote --turn replace --ops N000", 50),
    (
        "16 threads, wide, 50 %",
        "remote --sizes 16-32768 --percent 50 --turn replace --ops N000",
        10,
    ),
    ("200,000 slots", "mixed --sizes 16-256 --slots 200000 --turn replace --ops N000", 2000),
    (
        "50,000 slots, 2 threads",
        "mixed --sizes 16-1024 --slots 50000 --threads 2 --turn replace --ops N000",
        1000,
    ),
    ("dist", "dist --turn replace --ops N000", 1000),
    ("xfer", "xfer --blocks N000", 250),
    ("larson", "larson --generations N", 10),
    ("churn", "churn --generations N", 400),
    ("buffers", "buffers --buffers N", 400),
    ("grow", "grow --to-mib 256 --rounds N", 2),
    ("waves", "waves --waves 50:N,1000:2", 20),
];
/// The targets on these loops.
pub(super) const TARGETS: Targets =
    Targets { case: 1.0, mean: 1.25, peak: 1.05, frugal: &["jemalloc", "tcmalloc", "mimalloc"] };

/// Limits on speeds and peaks that the judged allocator must keep.
pub(super) struct Targets {
    /// Speed on each case, as a multiple of the best other one's.
    pub(super) case: f64,
    /// Geometric mean of the speeds, as a multiple of the best other one's.
    pub(super) mean: f64,
    /// Peak resident set on each case, as a multiple of the smallest of `frugal`.
    pub(super) peak: f64,
    pub(super) frugal: &'static [&'static str],
}

/// Returns the cases. Each counts in the mean unless its intervals are too wide.
pub(super) fn cases(level: Level, rounds: Option<u32>) -> Vec<Case> {
    let times = match level {
        Level::Quick => 1,
        Level::Normal => 2,
        Level::Thorough => 4,
    };
    let case = |(name, line, quick): &(&str, &str, u32)| {
        let line = line.replace('N', &(quick * times).to_string());
        Case::bench(name, &line, true, rounds.unwrap_or(level.rounds()))
    };
    ROWS.iter().map(case).collect()
}

/// Judges every row's speed and peak, and the geometric means.
pub(super) fn lines(
    record: &Record,
    analysis: &Analysis,
    judged: usize,
    targets: &Targets,
) -> Vec<Judgement> {
    let others: Vec<usize> = (0..record.peers.len()).filter(|&peer| peer != judged).collect();
    let mut lines = Vec::new();
    for case in 0..record.cases.len() {
        lines.push(speed(record, analysis, case, (judged, &others), targets));
        lines.push(peak(record, analysis, case, (judged, &others), targets));
    }
    lines.push(mean(record, analysis, (judged, &others), targets));
    lines
}

fn speed(
    record: &Record,
    analysis: &Analysis,
    case: usize,
    (judged, others): (usize, &[usize]),
    targets: &Targets,
) -> Judgement {
    let cells = &analysis.cells[case];
    let rate = |peer: usize| cells[peer].ratio.map(|ratio| ratio.value);
    let best = best_of(others, rate);
    let estimate = best.and_then(|best| {
        estimate::ratio(&values(&ratios(record, case, (judged, best), |f| f.speed)))
    });
    let theirs = best.and_then(|best| cells[best].speed);
    Judgement {
        case: record.cases[case].name.clone(),
        found: times(estimate.as_ref()),
        wanted: format!("at least x {:.2}", targets.case),
        beside: beside(record, best, theirs.map(|speed| record.pace(case, speed))),
        met: estimate.and_then(|estimate| met(at_least(&estimate, targets.case))),
    }
}

fn peak(
    record: &Record,
    analysis: &Analysis,
    case: usize,
    (judged, others): (usize, &[usize]),
    targets: &Targets,
) -> Judgement {
    let cells = &analysis.cells[case];
    let frugal = |peer: &&usize| {
        targets.frugal.iter().any(|name| record.peers[**peer].name.starts_with(name))
    };
    let frugal: Vec<usize> = others.iter().filter(frugal).copied().collect();
    let least = best_of(&frugal, |peer| cells[peer].peak_rss_kb.map(|kb| -kb));
    let theirs = least.and_then(|least| cells[least].peak_rss_kb);
    let estimate = least.and_then(|least| {
        let peaks = ratios(record, case, (judged, least), |figures| Some(figures.peak_rss_kb));
        estimate::ratio(&values(&peaks))
    });
    Judgement {
        case: format!("{}: peak", record.cases[case].name),
        found: times(estimate.as_ref()),
        wanted: format!("at most x {:.2}", targets.peak),
        beside: beside(record, least, theirs.map(text::kib)),
        met: estimate.and_then(|estimate| met(at_most(&estimate, targets.peak))),
    }
}

fn mean(
    record: &Record,
    analysis: &Analysis,
    (judged, others): (usize, &[usize]),
    targets: &Targets,
) -> Judgement {
    let overall = |peer: usize| analysis.overall[peer].as_ref().map(|(mean, _)| mean.value);
    let best = best_of(others, overall);
    let estimate = best.and_then(|best| {
        let all = (0..record.cases.len())
            .filter(|case| !analysis.unsteady.contains(case))
            .map(|case| ratios(record, case, (judged, best), |f| f.speed));
        mean_ratio(&all.collect::<Vec<_>>())
    });
    Judgement {
        case: "geometric mean".to_owned(),
        found: times(estimate.as_ref()),
        wanted: format!("at least x {:.2}", targets.mean),
        beside: beside(record, best, None),
        met: estimate.and_then(|estimate| met(at_least(&estimate, targets.mean))),
    }
}

/// Returns whether a target is met; `None` if the interval contains it, or there is none.
fn met(decision: Decision) -> Option<bool> {
    match decision {
        Decision::Go => Some(true),
        Decision::NoGo => Some(false),
        Decision::Uncertain | Decision::NoDifference => None,
    }
}

fn best_of(peers: &[usize], figure: impl Fn(usize) -> Option<f64>) -> Option<usize> {
    let known = peers.iter().filter_map(|&peer| Some((peer, figure(peer)?)));
    known.max_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(peer, _)| peer)
}

fn times(estimate: Option<&Estimate>) -> String {
    estimate.map_or("-".to_owned(), |e| format!("x {}", text::ratio(e)))
}

fn beside(record: &Record, peer: Option<usize>, figure: Option<String>) -> String {
    let name = peer.map_or("nobody", |peer| record.peers[peer].name.as_str());
    figure.map_or(name.to_owned(), |figure| format!("{name}: {figure}"))
}
