//! The judge on simulated measurements of a noisy machine.

use super::changes::CANDIDATE;
use super::*;
use crate::experiment::cases::Level;
use crate::experiment::schedule::Slot;
use crate::experiment::trial::Figures;
use fastrand::Rng;

/// Returns an A/B of 15 rounds on a machine as noisy as a shared one: 3 % from trial to trial, and
/// every round up to 10 % slower or faster altogether.
fn simulate(seed: u64, change: impl Fn(&mut Figures)) -> Record {
    let mut random = Rng::with_seed(seed);
    let mut cases = Level::Quick.standard_ab();
    for case in &mut cases {
        case.rounds = 15;
    }
    let last = cases.len() - 1;
    let mut round = (u32::MAX, 0, 1.0);
    let figures = |slot: Slot| {
        if (round.0, round.1) != (slot.round, slot.case) {
            round = (slot.round, slot.case, 0.9 + 0.2 * random.f64());
        }
        let mut noise = || 0.97 + 0.06 * random.f64();
        let mut figures = Figures {
            speed: Some(1e7 * round.2 * noise()),
            peak_rss_kb: 50_000.0 * noise(),
            growth_kb: (slot.case == last).then(|| 400.0 * (noise() - 1.0)),
            madvise_calls: Some(1000.0),
            malloc_p999_ns: Some(400.0 * noise()),
            ..Figures::default()
        };
        if slot.peer == CANDIDATE {
            change(&mut figures);
        }
        figures
    };
    let record = Record::simulated(&["baseline", "candidate"], cases, seed, figures);
    Record { latency: true, ..record }
}

fn decisions(claim: Claim, change: impl Fn(&mut Figures)) -> Vec<Decision> {
    let criteria = Criteria { claim, ..Criteria::default() };
    (0..20).map(|seed| Verdict::of(&simulate(seed, &change), &criteria).decision).collect()
}

fn share(decisions: &[Decision], wanted: Decision) -> usize {
    decisions.iter().filter(|decision| **decision == wanted).count()
}

fn scale(figure: &mut Option<f64>, by: f64) {
    *figure = figure.map(|value| value * by);
}

#[test]
fn the_same_against_itself_is_no_difference() {
    // Intervals of 95 % miss in one of twenty runs on average, so eighteen of twenty must cover.
    for claim in [Claim::Memory, Claim::Speed, Claim::Calls] {
        let decisions = decisions(claim, |_| ());
        assert!(share(&decisions, Decision::NoDifference) >= 18, "{claim:?}: {decisions:?}");
    }
    let regression = decisions(Claim::Nothing, |_| ());
    assert!(share(&regression, Decision::Go) >= 19, "{regression:?}");
}

#[test]
fn five_per_cent_slower_is_caught() {
    let decisions = decisions(Claim::Nothing, |figures| scale(&mut figures.speed, 0.95));
    assert!(share(&decisions, Decision::NoGo) >= 19, "{decisions:?}");
}

#[test]
fn a_leak_of_64_kib_a_cycle_is_caught() {
    let decisions = decisions(Claim::Nothing, |figures| {
        figures.growth_kb = figures.growth_kb.map(|growth| growth + 64.0);
    });
    assert!(share(&decisions, Decision::NoGo) >= 19, "{decisions:?}");
}

#[test]
fn a_long_tail_is_caught() {
    let decisions = decisions(Claim::Nothing, |figures| scale(&mut figures.malloc_p999_ns, 1.7));
    assert!(share(&decisions, Decision::NoGo) >= 19, "{decisions:?}");
}

#[test]
fn claims_are_granted_when_they_hold_and_only_then() {
    let less = |figures: &mut Figures| figures.peak_rss_kb *= 0.8;
    assert!(share(&decisions(Claim::Memory, less), Decision::Go) >= 19);
    let a_little = |figures: &mut Figures| figures.peak_rss_kb *= 0.96;
    assert!(share(&decisions(Claim::Memory, a_little), Decision::NoGo) >= 19);
    let fewer = |figures: &mut Figures| scale(&mut figures.madvise_calls, 0.5);
    assert!(share(&decisions(Claim::Calls, fewer), Decision::Go) >= 19);
    let faster = |figures: &mut Figures| scale(&mut figures.speed, 1.08);
    assert!(share(&decisions(Claim::Speed, faster), Decision::Go) >= 19);
}

#[test]
fn criteria_that_contradict_each_other_are_refused() {
    let default = Criteria::default;
    for claim in [Claim::Memory, Claim::Speed, Claim::Calls, Claim::Nothing] {
        assert!(Criteria { claim, ..default() }.check().is_ok());
    }
    for (criteria, named) in [
        (Criteria { speed_go: -5.0, ..default() }, "--speed-no-go -3 contradicts --speed-go -5"),
        (Criteria { memory_go: 6.0, ..default() }, "--memory-go 6 contradicts --memory-limit 5"),
        (Criteria { memory_go: 3.0, ..default() }, "--memory-go 3 contradicts the claim"),
        (
            Criteria { claim: Claim::Speed, speed_gain: -4.0, ..default() },
            "--speed-go -2 contradicts --speed-gain -4",
        ),
    ] {
        let failure = criteria.check().unwrap_err();
        assert_eq!(failure.code(), 2);
        assert!(failure.to_string().starts_with(named), "{failure}");
    }
    let nothing = Criteria { claim: Claim::Nothing, memory_limit: -20.0, ..default() };
    assert!(nothing.check().is_ok(), "memory_go does not count without a claim of memory");
}
