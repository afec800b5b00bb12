//! The cases: standard ones in three levels of effort, workloads by option, and commands.

use crate::failure::{Failure, Result};
use serde::{Deserialize, Serialize};

/// The least number of rounds that gives an interval.
const ROUNDS_FOR_AN_INTERVAL: u32 = 6;
const _: () = assert!(ROUNDS_FOR_AN_INTERVAL as usize >= crate::stats::estimate::FEWEST);

/// How much effort to spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    /// A few minutes
    Quick,
    /// Half an hour
    Normal,
    /// An afternoon
    Thorough,
}

/// A set of cases with its targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Suite {
    /// The resident set one second after a program has freed nearly everything
    Reclaim,
    /// Speed on seventeen loops beside the best of the others, and the peak of memory
    Speed,
    /// Time and peak of the whole programs that are installed; says which are missing
    Programs,
}

/// One case: a workload of `hz3 bench` with its options, or a command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Case {
    /// Its name in tables.
    pub(crate) name: String,
    /// The workload or command that runs.
    pub(crate) what: What,
    /// Whether its speed counts in the geometric mean. It does not if the case idles or if the
    /// scheduler decides its speed.
    pub(crate) is_speed: bool,
    /// The largest number of rounds that it takes part in.
    pub(crate) rounds: u32,
}

/// The work of a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// The words after `hz3 bench`.
    Bench(Vec<String>),
    /// A command line for the shell. Its speed is the inverse of its wall time.
    Command(String),
}

impl Level {
    /// Rounds in which every allocator runs every speed case once. Two runs of one build agree
    /// within 3 % from seven rounds on: `docs/benchmarks/agreement.md`.
    pub(crate) fn rounds(self) -> u32 {
        match self {
            Self::Quick => 7,
            Self::Normal => 15,
            Self::Thorough => 41,
        }
    }

    fn memory_rounds(self) -> u32 {
        match self {
            Self::Quick => 1,
            Self::Normal => ROUNDS_FOR_AN_INTERVAL,
            Self::Thorough => 7,
        }
    }

    /// Thousands of turns of a tight loop, of which a trial makes several.
    fn kilo_turns(self) -> u32 {
        match self {
            Self::Quick => 1_000,
            Self::Normal => 2_000,
            Self::Thorough => 4_000,
        }
    }

    fn idle_seconds(self) -> u32 {
        match self {
            Self::Quick | Self::Normal => 3,
            Self::Thorough => 10,
        }
    }

    /// Returns the standard cases.
    pub(crate) fn standard(self) -> Vec<Case> {
        let k = self.kilo_turns();
        let idle = self.idle_seconds();
        let speed = [
            ("small", format!("mixed --sizes small --ops {k}000")),
            ("medium", format!("mixed --sizes medium --ops {}000", k / 4)),
            ("mixed", format!("mixed --sizes mixed --ops {}000", k / 4)),
            ("small-2t", format!("mixed --sizes small --threads 2 --ops {k}000")),
            ("wide", format!("mixed --sizes small --slots 200000 --ops {}000", k * 2)),
            ("dist", format!("dist --ops {}000", k / 2)),
            ("remote", format!("remote --ops {}000", k / 20)),
            ("xfer", format!("xfer --blocks {}000", k / 4)),
            ("larson", format!("larson --generations {}", k / 200)),
            ("churn", format!("churn --generations {}", k / 5)),
        ];
        // The scheduler decides the speed of this case, because its threads wait for each other.
        // Two runs differ by half, so it is shown but not counted.
        let buffers =
            Case::bench("buffers", &format!("buffers --buffers {k}"), false, self.rounds());
        let memory = [
            ("burst-idle", format!("burst-idle 200000 {idle} 3 0 4")),
            ("holes", format!("holes --idle {idle}")),
            ("pool", format!("pool --idle {idle}")),
        ];
        let speed = speed.map(|(name, line)| Case::bench(name, &line, true, self.rounds()));
        let memory =
            memory.map(|(name, line)| Case::bench(name, &line, false, self.memory_rounds()));
        speed.into_iter().chain([buffers]).chain(memory).collect()
    }

    /// Returns the cases of an A/B: random sizes in three ranges, remote frees, a burst that is
    /// freed and idles, and short cycles in which a leak would add up.
    pub(crate) fn standard_ab(self) -> Vec<Case> {
        let chosen = ["small", "medium", "mixed", "remote", "burst-idle"];
        let standard = self.standard().into_iter().filter(|c| chosen.contains(&c.name.as_str()));
        let line = "burst-idle --total 40000 --idle 3 --cycles 6 --idle-tick 3000";
        let cycles = Case::bench("cycles", line, false, self.memory_rounds());
        let mut cases: Vec<Case> = standard.chain([cycles]).collect();
        for case in cases.iter_mut().filter(|case| !case.is_speed) {
            case.rounds = case.rounds.max(ROUNDS_FOR_AN_INTERVAL);
        }
        cases
    }

    /// Returns the requested cases, or the standard ones if none is requested. A word that names a
    /// standard case selects it; anything else is a line for `hz3 bench`.
    pub(crate) fn cases(
        self,
        standard: Vec<Case>,
        workloads: &[String],
        commands: &[String],
    ) -> Result<Vec<Case>> {
        if workloads.is_empty() && commands.is_empty() {
            return Ok(standard);
        }
        let mut cases = Vec::new();
        for line in workloads {
            match standard.iter().find(|case| case.name == *line) {
                Some(case) => cases.push(case.clone()),
                None => cases.push(Case::bench(line, line, true, self.rounds())),
            }
        }
        for line in commands {
            let what = What::Command(line.clone());
            cases.push(Case { name: line.clone(), what, is_speed: true, rounds: self.rounds() });
        }
        for (i, case) in cases.iter().enumerate() {
            if cases[..i].iter().any(|other| other.name == case.name) {
                return Err(Failure::usage(format!("the case {} is named twice", case.name)));
            }
        }
        Ok(cases)
    }
}

impl Case {
    /// Builds a case from a line for `hz3 bench`.
    pub(crate) fn bench(name: &str, line: &str, is_speed: bool, rounds: u32) -> Self {
        let words = line.split_whitespace().map(str::to_owned).collect();
        Self { name: name.to_owned(), what: What::Bench(words), is_speed, rounds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    #[test]
    fn every_standard_case_is_a_line_that_bench_understands() {
        for level in [Level::Quick, Level::Normal, Level::Thorough] {
            for case in level.standard().into_iter().chain(level.standard_ab()) {
                let What::Bench(words) = &case.what else { panic!("{case:?}") };
                let line = ["hz3", "bench"].into_iter().chain(words.iter().map(String::as_str));
                assert!(Cli::try_parse_from(line).is_ok(), "{case:?}");
                assert!(case.rounds > 0);
            }
        }
    }

    #[test]
    fn names_lines_and_commands() {
        let asked = ["small", "grow --to-mib 8"].map(str::to_owned);
        let cases =
            Level::Quick.cases(Level::Quick.standard(), &asked, &["true".to_owned()]).unwrap();
        assert_eq!(cases[0], Level::Quick.standard()[0]);
        assert_eq!(
            cases[1].what,
            What::Bench(["grow", "--to-mib", "8"].map(str::to_owned).to_vec())
        );
        assert_eq!(cases[2].what, What::Command("true".to_owned()));
        let twice = ["small", "small"].map(str::to_owned);
        assert!(Level::Quick.cases(Level::Quick.standard(), &twice, &[]).is_err());
    }
}
