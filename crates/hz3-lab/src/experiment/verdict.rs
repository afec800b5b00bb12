//! GO or NO-GO: what an A/B must show, and whether it does.
//!
//! A record of an A/B has two allocators: the baseline is the first, the candidate the second. Every
//! figure is the relative change from the one to the other with its interval; a criterion holds, fails, or
//! stays open when the interval straddles its limit.

use super::analysis::ratios;
use super::record::Record;
use super::trial::Figures;
use crate::stats::bootstrap::{Estimate, Resampler};
use crate::stats::{self, median};
use serde::{Deserialize, Serialize};

/// What the candidate claims to be better at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Claim {
    /// Less memory, at the same speed
    Memory,
    /// More speed, with no more memory
    Speed,
    /// Fewer calls of madvise, at the same speed and memory
    Calls,
    /// Nothing: only that it is no worse
    Nothing,
}

/// The limits, in per cent of change (`growth` in KiB a cycle). The defaults are the seeds'.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq)]
pub(crate) struct Criteria {
    pub(crate) claim: Claim,
    /// Speed must not change by less than this for GO...
    pub(crate) speed_go: f64,
    /// ...and NO-GO is at this.
    pub(crate) speed_no_go: f64,
    /// What a claim of memory must reach.
    pub(crate) memory_go: f64,
    /// What a claim of speed must reach.
    pub(crate) speed_gain: f64,
    /// Without a claim of memory it must not grow by more than this.
    pub(crate) memory_limit: f64,
    /// Idle memory must not grow by more KiB a cycle than the baseline's does.
    pub(crate) growth_limit: f64,
}

impl Default for Criteria {
    fn default() -> Self {
        Self {
            claim: Claim::Memory,
            speed_go: -2.0,
            speed_no_go: -3.0,
            memory_go: -10.0,
            speed_gain: 2.0,
            memory_limit: 5.0,
            growth_limit: 16.0,
        }
    }
}

/// How a criterion, or the whole, stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    Go,
    NoGo,
    Uncertain,
    NoDifference,
}

impl Standing {
    /// In words.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Go => "GO",
            Self::NoGo => "NO-GO",
            Self::Uncertain => "UNCERTAIN",
            Self::NoDifference => "NO DIFFERENCE",
        }
    }
}

/// One criterion with what was found.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub(crate) struct Finding {
    pub(crate) criterion: String,
    /// The change with its interval, as text.
    pub(crate) found: String,
    pub(crate) wanted: String,
    pub(crate) standing: Standing,
}

/// The judgement.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) standing: Standing,
    pub(crate) reason: String,
    pub(crate) findings: Vec<Finding>,
}

/// The changes that a record shows.
#[derive(Debug)]
pub(crate) struct Changes {
    /// Of all speed cases together, in per cent.
    pub(crate) speed: Option<Estimate>,
    /// Of memory over all cases, in per cent.
    pub(crate) memory: Option<Estimate>,
    /// Of the growth a cycle, in KiB.
    pub(crate) growth: Option<Estimate>,
    /// Of the madvise calls, as a difference of counts.
    pub(crate) calls: Option<Estimate>,
    /// By case: speed and memory in per cent.
    pub(crate) cases: Vec<(Option<Estimate>, Option<Estimate>)>,
}

const BASELINE: usize = 0;
const CANDIDATE: usize = 1;
/// A case alone condemns a candidate only with this many rounds.
const ROUNDS_FOR_ONE_CASE: usize = 5;
/// Changes below this many per cent are none, however narrow the interval.
const NEGLIGIBLE: f64 = 1.0;
const PAIR: (usize, usize) = (CANDIDATE, BASELINE);

/// The memory that a case is about: when idle if it idles, else at its peak.
pub(crate) fn memory_of(figures: &Figures) -> Option<f64> {
    figures.idle_rss_kb.or(Some(figures.peak_rss_kb)).filter(|kb| *kb > 0.0)
}

impl Changes {
    /// Takes them from `record`.
    pub(crate) fn of(record: &Record) -> Self {
        let mut resampler = Resampler::new(record.seed);
        let all = 0..record.cases.len();
        let speeds = |case| ratios(record, case, PAIR, |f| f.speed);
        let memories = |case| ratios(record, case, PAIR, memory_of);
        let speed_cases: Vec<Vec<f64>> =
            all.clone().filter(|&case| record.cases[case].is_speed).map(speeds).collect();
        let memory_cases: Vec<Vec<f64>> = all.clone().map(memories).collect();
        let growth: Vec<Vec<f64>> =
            all.clone().map(|case| differences(record, case, |f| f.growth_kb)).collect();
        let calls: Vec<Vec<f64>> =
            all.clone().map(|case| differences(record, case, |f| f.madvise_calls)).collect();
        Self {
            speed: joint_percent(&mut resampler, speed_cases),
            memory: joint_percent(&mut resampler, memory_cases),
            growth: joint_sum(&mut resampler, growth),
            calls: joint_sum(&mut resampler, calls),
            cases: all
                .map(|case| {
                    let speed = joint_percent(&mut resampler, vec![speeds(case)]);
                    (speed, joint_percent(&mut resampler, vec![memories(case)]))
                })
                .collect(),
        }
    }

    /// What the absence of a difference is worth: changes smaller than this would not have been seen.
    fn resolution(&self) -> String {
        let width = |change: &Estimate| (change.high - change.low) / 2.0;
        let seen = |name: &str, change: &Option<Estimate>| {
            change.as_ref().map(|change| format!("{name} to {:.1} %", width(change)))
        };
        let parts: Vec<String> = [seen("speed", &self.speed), seen("memory", &self.memory)]
            .into_iter()
            .flatten()
            .collect();
        format!("every change is within the noise, which hides {}", parts.join(" and "))
    }

    /// Whether everything that changed did so within the noise, or by next to nothing.
    fn are_none(&self, criteria: &Criteria) -> bool {
        let same = |change: &Option<Estimate>, negligible: f64| {
            change.is_none_or(|c| (c.low <= 0.0 && 0.0 <= c.high) || c.value.abs() < negligible)
        };
        same(&self.speed, NEGLIGIBLE)
            && same(&self.memory, NEGLIGIBLE)
            && same(&self.growth, criteria.growth_limit)
            && same(&self.calls, 1.0)
    }
}

fn differences(record: &Record, case: usize, figure: fn(&Figures) -> Option<f64>) -> Vec<f64> {
    let base: Vec<(u32, f64)> =
        record.results(case, BASELINE).filter_map(|(round, f)| Some((round, figure(f)?))).collect();
    let difference = |(round, f): (u32, &Figures)| {
        let (_, base) = base.iter().find(|(other, _)| *other == round)?;
        Some(figure(f)? - base)
    };
    record.results(case, CANDIDATE).filter_map(difference).collect()
}

/// The geometric mean of the groups' medians of ratios, as a change in per cent.
fn joint_percent(resampler: &mut Resampler, groups: Vec<Vec<f64>>) -> Option<Estimate> {
    let groups: Vec<_> = groups.into_iter().filter(|group| !group.is_empty()).collect();
    resampler.estimate_joint(&groups, |samples| {
        let medians: Vec<f64> = samples.iter().filter_map(|sample| median(sample)).collect();
        stats::geometric_mean(&medians).map(|mean| (mean - 1.0) * 100.0)
    })
}

/// The sum of the groups' medians.
fn joint_sum(resampler: &mut Resampler, groups: Vec<Vec<f64>>) -> Option<Estimate> {
    let groups: Vec<_> = groups.into_iter().filter(|group| !group.is_empty()).collect();
    if groups.is_empty() {
        return None;
    }
    resampler.estimate_joint(&groups, |samples| samples.iter().map(|sample| median(sample)).sum())
}

/// Whether a change is at least `limit`: yes, no, or not to be said.
fn at_least(change: &Estimate, limit: f64) -> Standing {
    if change.low >= limit {
        Standing::Go
    } else if change.high < limit {
        Standing::NoGo
    } else {
        Standing::Uncertain
    }
}

/// The same the other way round.
fn at_most(change: &Estimate, limit: f64) -> Standing {
    let mirrored =
        Estimate { value: -change.value, low: -change.high, high: -change.low, n: change.n };
    at_least(&mirrored, -limit)
}

fn percent(change: &Estimate) -> String {
    format!("{:+.1} % ({:+.1} to {:+.1})", change.value, change.low, change.high)
}

fn plain(change: &Estimate, unit: &str) -> String {
    format!("{:+.0}{unit} ({:+.0} to {:+.0})", change.value, change.low, change.high)
}

impl Verdict {
    /// Judges `record` by `criteria`.
    pub(crate) fn of(record: &Record, criteria: &Criteria) -> Self {
        let changes = Changes::of(record);
        let findings = findings(record, &changes, criteria);
        let by = |standing| findings.iter().find(|finding: &&Finding| finding.standing == standing);
        let told = |finding: &Finding| {
            format!("{}: {}, wanted {}", finding.criterion, finding.found, finding.wanted)
        };
        let (standing, reason) = if findings.is_empty() {
            (Standing::Uncertain, "nothing was measured on both".to_owned())
        } else if changes.are_none(criteria) && criteria.claim != Claim::Nothing {
            (Standing::NoDifference, changes.resolution())
        } else if let Some(finding) = by(Standing::NoGo) {
            (Standing::NoGo, told(finding))
        } else if let Some(finding) = by(Standing::Uncertain) {
            (Standing::Uncertain, told(finding))
        } else {
            (Standing::Go, "every criterion holds".to_owned())
        };
        Self { standing, reason, findings }
    }
}

fn findings(record: &Record, changes: &Changes, criteria: &Criteria) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |criterion: &str, found: String, wanted: String, standing| {
        findings.push(Finding { criterion: criterion.to_owned(), found, wanted, standing });
    };
    if let Some(speed) = &changes.speed {
        let standing = match at_least(speed, criteria.speed_go) {
            // Between the two limits nothing is decided yet.
            Standing::NoGo if at_least(speed, criteria.speed_no_go) != Standing::NoGo => {
                Standing::Uncertain
            }
            other => other,
        };
        let wanted = format!(
            "{:+.1} % or better, NO-GO at {:+.1} %",
            criteria.speed_go, criteria.speed_no_go
        );
        add("speed", percent(speed), wanted, standing);
        if criteria.claim == Claim::Speed {
            let wanted = format!("{:+.1} % or better", criteria.speed_gain);
            add("speed claim", percent(speed), wanted, at_least(speed, criteria.speed_gain));
        }
    }
    for (case, (speed, _)) in record.cases.iter().zip(&changes.cases) {
        if let Some(speed) = speed
            && case.is_speed
            && speed.n >= ROUNDS_FOR_ONE_CASE
            && at_least(speed, criteria.speed_no_go) == Standing::NoGo
        {
            let wanted = format!("better than {:+.1} %", criteria.speed_no_go);
            add(&format!("speed of {}", case.name), percent(speed), wanted, Standing::NoGo);
        }
    }
    if let Some(memory) = &changes.memory {
        let limit = match criteria.claim {
            Claim::Memory => criteria.memory_go,
            Claim::Speed | Claim::Calls | Claim::Nothing => criteria.memory_limit,
        };
        let wanted = format!("{limit:+.1} % or less");
        add("memory", percent(memory), wanted, at_most(memory, limit));
    }
    if let Some(growth) = &changes.growth {
        let wanted = format!("at most {:+.0} KiB a cycle", criteria.growth_limit);
        let standing = at_most(growth, criteria.growth_limit);
        add("growth of idle memory", plain(growth, " KiB a cycle"), wanted, standing);
    }
    if let Some(calls) = changes.calls.as_ref().filter(|_| criteria.claim == Claim::Calls) {
        add("madvise calls", plain(calls, ""), "fewer".to_owned(), at_most(calls, -1.0));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::cases::Level;
    use crate::experiment::machine::Machine;
    use crate::experiment::record::{FORMAT, Trial};
    use crate::experiment::schedule::order;
    use crate::experiment::trial::Measure;
    use crate::peers::Peer;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    /// An A/B of 15 rounds on a machine as noisy as a shared one: 3 % from trial to trial, and every round
    /// up to 10 % slower or faster altogether.
    fn simulate(seed: u64, change: impl Fn(&mut Figures)) -> Record {
        let mut random = StdRng::seed_from_u64(seed);
        let peer = |name: &str| Peer {
            name: name.to_owned(),
            library: None,
            environment: vec![],
            version: None,
            digest: None,
        };
        let mut cases = Level::Quick.standard_ab();
        for case in &mut cases {
            case.rounds = 15;
        }
        let slots = order(&cases, 2, 15, seed);
        let mut round = (u32::MAX, 0, 1.0);
        let trials = slots.into_iter().map(|slot| {
            if (round.0, round.1) != (slot.round, slot.case) {
                round = (slot.round, slot.case, 0.9 + 0.2 * random.random::<f64>());
            }
            let mut noise = || 0.97 + 0.06 * random.random::<f64>();
            let mut figures = Figures {
                speed: Some(1e7 * round.2 * noise()),
                peak_rss_kb: 50_000.0 * noise(),
                growth_kb: (slot.case == cases.len() - 1).then(|| 400.0 * (noise() - 1.0)),
                madvise_calls: Some(1000.0),
                ..Figures::default()
            };
            if slot.peer == CANDIDATE {
                change(&mut figures);
            }
            Trial { slot, took_s: 1.0, result: Ok(figures) }
        });
        Record {
            format: FORMAT,
            machine: Machine::here(),
            level: Level::Quick,
            rounds: 15,
            seed,
            measure: Measure::Time,
            base: 0,
            peers: vec![peer("baseline"), peer("candidate")],
            missing: vec![],
            trials: trials.collect(),
            cases: cases.clone(),
        }
    }

    fn standings(claim: Claim, change: impl Fn(&mut Figures)) -> Vec<Standing> {
        let criteria = Criteria { claim, ..Criteria::default() };
        (0..20).map(|seed| Verdict::of(&simulate(seed, &change), &criteria).standing).collect()
    }

    fn share(standings: &[Standing], wanted: Standing) -> usize {
        standings.iter().filter(|standing| **standing == wanted).count()
    }

    fn scale(figure: &mut Option<f64>, by: f64) {
        *figure = figure.map(|value| value * by);
    }

    #[test]
    fn the_same_against_itself_is_no_difference() {
        for claim in [Claim::Memory, Claim::Speed, Claim::Calls] {
            let standings = standings(claim, |_| ());
            assert!(share(&standings, Standing::NoDifference) >= 19, "{claim:?}: {standings:?}");
        }
        let regression = standings(Claim::Nothing, |_| ());
        assert!(share(&regression, Standing::Go) >= 19, "{regression:?}");
    }

    #[test]
    fn five_per_cent_slower_is_caught() {
        let standings = standings(Claim::Nothing, |figures| scale(&mut figures.speed, 0.95));
        assert!(share(&standings, Standing::NoGo) >= 19, "{standings:?}");
    }

    #[test]
    fn a_leak_of_64_kib_a_cycle_is_caught() {
        let standings = standings(Claim::Nothing, |figures| {
            figures.growth_kb = figures.growth_kb.map(|growth| growth + 64.0);
        });
        assert!(share(&standings, Standing::NoGo) >= 19, "{standings:?}");
    }

    #[test]
    fn claims_are_granted_when_they_hold_and_only_then() {
        let less = |figures: &mut Figures| figures.peak_rss_kb *= 0.8;
        assert!(share(&standings(Claim::Memory, less), Standing::Go) >= 19);
        let a_little = |figures: &mut Figures| figures.peak_rss_kb *= 0.96;
        assert!(share(&standings(Claim::Memory, a_little), Standing::NoGo) >= 19);
        let fewer = |figures: &mut Figures| scale(&mut figures.madvise_calls, 0.5);
        assert!(share(&standings(Claim::Calls, fewer), Standing::Go) >= 19);
        let faster = |figures: &mut Figures| scale(&mut figures.speed, 1.08);
        assert!(share(&standings(Claim::Speed, faster), Standing::Go) >= 19);
    }

    #[test]
    fn an_interval_across_the_limit_is_uncertain() {
        let change = |low, high| Estimate { value: f64::midpoint(low, high), low, high, n: 9 };
        assert_eq!(at_least(&change(-1.5, 3.0), -2.0), Standing::Go);
        assert_eq!(at_least(&change(-2.5, 3.0), -2.0), Standing::Uncertain);
        assert_eq!(at_least(&change(-9.0, -2.5), -2.0), Standing::NoGo);
        assert_eq!(at_most(&change(-12.0, -11.0), -10.0), Standing::Go);
        assert_eq!(at_most(&change(-12.0, -9.0), -10.0), Standing::Uncertain);
        assert_eq!(at_most(&change(-5.0, 1.0), -10.0), Standing::NoGo);
    }
}
