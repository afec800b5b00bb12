//! The order of the trials. Every round goes through all cases in a new random order and, within a
//! case, through all allocators. Their order is drawn for every second round and reversed in the
//! next one, so each allocator of a pair goes first in half of the rounds. A disturbance of the
//! machine therefore affects all allocators alike.

use super::cases::Case;
use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// One run of one case on one allocator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Slot {
    /// Which repetition, from 0.
    pub(crate) round: u32,
    /// Index of the case.
    pub(crate) case: usize,
    /// Index of the allocator.
    pub(crate) peer: usize,
}

/// Returns all trials in order. The same seed gives the same order.
pub(crate) fn order(cases: &[Case], peers: usize, rounds: u32, seed: u64) -> Vec<Slot> {
    let mut random = Rng::with_seed(seed);
    let mut slots = Vec::new();
    let mut turns: Vec<Vec<usize>> = vec![(0..peers).collect(); cases.len()];
    for round in 0..rounds {
        let taking_part = |&case: &usize| round < cases[case].rounds.min(rounds);
        let mut order: Vec<usize> = (0..cases.len()).filter(taking_part).collect();
        random.shuffle(&mut order);
        for case in order {
            let turns = &mut turns[case];
            if round.is_multiple_of(2) {
                random.shuffle(turns);
            } else {
                turns.reverse();
            }
            slots.extend(turns.iter().map(|&peer| Slot { round, case, peer }));
        }
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::cases::Level;
    use std::collections::HashSet;

    #[test]
    fn every_trial_comes_once_and_rounds_stay_together() {
        let mut cases = Level::Quick
            .cases(Level::Quick.standard(), &["small".into(), "churn".into()], &[])
            .unwrap();
        cases[1].rounds = 2;
        let slots = order(&cases, 3, 5, 7);
        let distinct: HashSet<_> = slots.iter().collect();
        assert_eq!((slots.len(), distinct.len()), (5 * 3 + 2 * 3, 5 * 3 + 2 * 3));
        assert!(slots.windows(2).all(|pair| pair[0].round <= pair[1].round));
        assert!(slots.chunks(3).all(|turn| turn.iter().all(|slot| slot.case == turn[0].case)));
        let first_peers: HashSet<_> = slots.chunks(3).map(|turn| turn[0].peer).collect();
        assert!(first_peers.len() > 1, "no allocator is always the first");
    }

    #[test]
    fn each_of_two_allocators_goes_first_in_half_of_the_rounds() {
        let cases = Level::Quick.standard();
        for seed in 0..20 {
            let slots = order(&cases[..1], 2, 6, seed);
            let firsts = slots.chunks(2).filter(|turn| turn[0].peer == 0).count();
            assert_eq!(firsts, 3, "seed {seed}");
        }
    }

    #[test]
    fn a_seed_repeats() {
        let cases = Level::Quick.standard();
        assert_eq!(order(&cases, 4, 3, 1), order(&cases, 4, 3, 1));
        assert_ne!(order(&cases, 4, 3, 1), order(&cases, 4, 3, 2));
    }
}
