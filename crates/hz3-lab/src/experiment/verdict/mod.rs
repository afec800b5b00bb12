//! GO or NO-GO: what an A/B must show, and whether it does.
//!
//! A record of an A/B has two allocators: the baseline is the first, the candidate the second.
//! Every figure is the relative change from the one to the other with its interval; a criterion
//! holds, fails, or stays open when the interval straddles its limit.

mod changes;
#[cfg(test)]
mod tests;

pub(crate) use changes::{Changes, memory_of};

use super::decision::{Decision, at_least, at_most};
use super::record::Record;
use crate::failure::{Failure, Result};
use crate::stats::estimate::{Estimate, FEWEST, Interval};
use serde::{Deserialize, Serialize};

/// The quantity that the candidate claims to improve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Claim {
    /// The candidate claims less memory, at the same speed
    Memory,
    /// The candidate claims more speed, with no more memory
    Speed,
    /// The candidate claims fewer calls of madvise, at the same speed and memory
    Calls,
    /// The candidate claims only that it is no worse
    Nothing,
}

/// The limits, in per cent of change (`growth` in KiB a cycle). The defaults are those of the
/// experiments that `docs/experiments/README.md` explains.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq)]
pub(crate) struct Criteria {
    pub(crate) claim: Claim,
    /// Speed must not change by less than this for GO...
    pub(crate) speed_go: f64,
    /// ...and NO-GO is at this.
    pub(crate) speed_no_go: f64,
    /// The change that a claim of memory must reach.
    pub(crate) memory_go: f64,
    /// The change that a claim of speed must reach.
    pub(crate) speed_gain: f64,
    /// Without a claim of memory it must not grow by more than this.
    pub(crate) memory_limit: f64,
    /// Idle memory must not grow by more KiB a cycle than the baseline's does.
    pub(crate) growth_limit: f64,
    /// Where latencies are taken in every round: the 99.9th percentile is at most this many times
    /// as long.
    #[serde(default = "latency_limit")]
    pub(crate) latency_limit: f64,
}

/// Returns the default; records from before the criterion had a name have it, too.
fn latency_limit() -> f64 {
    1.5
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
            latency_limit: latency_limit(),
        }
    }
}

impl Criteria {
    /// Fails if two criteria contradict each other.
    pub(crate) fn check(&self) -> Result<()> {
        let (no_go, go) = (("--speed-no-go", self.speed_no_go), ("--speed-go", self.speed_go));
        let mut ordered = vec![(no_go, go)];
        match self.claim {
            Claim::Speed => ordered.push((go, ("--speed-gain", self.speed_gain))),
            Claim::Memory => {
                let memory_go = ("--memory-go", self.memory_go);
                ordered.push((memory_go, ("--memory-limit", self.memory_limit)));
                ordered.push((memory_go, ("the claim of less memory, which is at most", 0.0)));
            }
            Claim::Calls | Claim::Nothing => {}
        }
        if let Some((low, high)) = ordered.into_iter().find(|(low, high)| low.1 > high.1) {
            let [low, high] = [low, high].map(|(name, value)| format!("{name} {value}"));
            return Err(Failure::usage(format!("{low} contradicts {high}"))
                .with_remedy("the first must not be above the second"));
        }
        Ok(())
    }
}

/// One criterion with what was found.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub(crate) struct Finding {
    pub(crate) criterion: String,
    /// The change with its interval, as text.
    pub(crate) found: String,
    pub(crate) wanted: String,
    #[serde(alias = "standing")]
    pub(crate) decision: Decision,
}

/// The judgement.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub(crate) struct Verdict {
    #[serde(alias = "standing")]
    pub(crate) decision: Decision,
    pub(crate) reason: String,
    pub(crate) findings: Vec<Finding>,
}

impl Claim {
    /// Describes the claim in words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Memory => "less memory, at the same speed",
            Self::Speed => "more speed, with no more memory",
            Self::Calls => "fewer calls of madvise, at the same speed and memory",
            Self::Nothing => "nothing, only that the candidate is no worse",
        }
    }
}

/// Returns the interval of a change, or how many rounds there are when that is too few for one.
fn interval(change: &Estimate, show: impl Fn(f64) -> String) -> String {
    match change.interval {
        Some(Interval { low, high }) => format!("({} to {})", show(low), show(high)),
        None => format!("(- : {} of the {FEWEST} rounds that an interval needs)", change.n),
    }
}

fn percent(change: &Estimate) -> String {
    let show = |value: f64| format!("{value:+.1}");
    format!("{:+.1} % {}", change.value, interval(change, show))
}

fn plain(change: &Estimate, unit: &str) -> String {
    format!("{:+.0}{unit} {}", change.value, interval(change, |value| format!("{value:+.0}")))
}

impl Verdict {
    /// Judges `record` by `criteria`.
    pub(crate) fn of(record: &Record, criteria: &Criteria) -> Self {
        let changes = Changes::of(record);
        let findings = findings(record, &changes, criteria);
        let by = |decision| findings.iter().find(|finding: &&Finding| finding.decision == decision);
        let told = |finding: &Finding| {
            format!("{}: {}, wanted {}", finding.criterion, finding.found, finding.wanted)
        };
        let (decision, reason) = if findings.is_empty() {
            (Decision::Uncertain, "nothing was measured on both".to_owned())
        } else if changes.are_none(criteria) && criteria.claim != Claim::Nothing {
            (Decision::NoDifference, changes.resolution())
        } else if let Some(finding) = by(Decision::NoGo) {
            (Decision::NoGo, told(finding))
        } else if let Some(finding) = by(Decision::Uncertain) {
            (Decision::Uncertain, told(finding))
        } else {
            (Decision::Go, "every criterion holds".to_owned())
        };
        Self { decision, reason, findings }
    }
}

fn findings(record: &Record, changes: &Changes, criteria: &Criteria) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |criterion: &str, found: String, wanted: String, decision| {
        findings.push(Finding { criterion: criterion.to_owned(), found, wanted, decision });
    };
    if let Some(speed) = &changes.speed {
        let decision = match at_least(speed, criteria.speed_go) {
            // Between the two limits nothing is decided yet.
            Decision::NoGo if at_least(speed, criteria.speed_no_go) != Decision::NoGo => {
                Decision::Uncertain
            }
            other => other,
        };
        let wanted = format!(
            "{:+.1} % or better, NO-GO at {:+.1} %",
            criteria.speed_go, criteria.speed_no_go
        );
        add("speed", percent(speed), wanted, decision);
        if criteria.claim == Claim::Speed {
            let wanted = format!("{:+.1} % or better", criteria.speed_gain);
            add("speed claim", percent(speed), wanted, at_least(speed, criteria.speed_gain));
        }
    }
    for (case, (speed, _)) in record.cases.iter().zip(&changes.cases) {
        if let Some(speed) = speed
            && case.is_speed
            && at_least(speed, criteria.speed_no_go) == Decision::NoGo
        {
            let wanted = format!("better than {:+.1} %", criteria.speed_no_go);
            add(&format!("speed of {}", case.name), percent(speed), wanted, Decision::NoGo);
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
        let decision = at_most(growth, criteria.growth_limit);
        add("growth of idle memory", plain(growth, " KiB a cycle"), wanted, decision);
    }
    if let Some(calls) = changes.calls.as_ref().filter(|_| criteria.claim == Claim::Calls) {
        add("madvise calls", plain(calls, ""), "fewer".to_owned(), at_most(calls, -1.0));
    }
    let latencies = [("malloc", &changes.malloc_latency), ("free", &changes.free_latency)];
    for (call, latency) in latencies.into_iter().filter(|_| record.latency) {
        if let Some(latency) = latency {
            let range = interval(latency, |value| format!("{value:.2}"));
            let found = format!("x {:.2} {range}", latency.value);
            let wanted = format!("at most x {:.2}", criteria.latency_limit);
            let decision = at_most(latency, criteria.latency_limit);
            add(&format!("p99.9 of {call}"), found, wanted, decision);
        }
    }
    findings
}
