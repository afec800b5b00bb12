//! The plan and the results of an experiment on disk: JSON for resuming, CSV for calculating.

use super::cases::{Case, Level, Suite, What};
use super::schedule::Slot;
use super::trial::{Figures, Measure};
use crate::failure::{Failure, Result};
use crate::files;
use crate::peers::{Missing, Peer};
use crate::text;
use hz3_tools::load;
use hz3_tools::machine::Machine;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;

/// An experiment with the results so far.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Version of the format, for later readers.
    pub(crate) format: u32,
    pub(crate) machine: Machine,
    /// The command line that started it.
    #[serde(default)]
    pub(crate) command: Option<String>,
    pub(crate) level: Level,
    pub(crate) rounds: u32,
    pub(crate) seed: u64,
    /// The unit of speed.
    #[serde(default)]
    pub(crate) measure: Measure,
    /// Whether every round takes latencies, and not only the first one.
    #[serde(default)]
    pub(crate) latency: bool,
    /// The suite whose cases these are.
    #[serde(default)]
    pub(crate) suite: Option<Suite>,
    /// Index in `peers` of the allocator that the others are compared with.
    pub(crate) base: usize,
    pub(crate) peers: Vec<Peer>,
    /// The requested allocators that are not installed.
    pub(crate) missing: Vec<Missing>,
    pub(crate) cases: Vec<Case>,
    pub(crate) trials: Vec<Trial>,
}

/// The most rounds: the order of all trials is drawn before the first one.
pub(crate) const MAX_ROUNDS: u32 = 10_000;

/// The format that this program writes.
const FORMAT: u32 = 1;

/// One trial with its result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Trial {
    #[serde(flatten)]
    pub(crate) slot: Slot,
    /// Seconds of the whole trial.
    pub(crate) took_s: f64,
    /// The figures, or the reason of the failure.
    pub(crate) result: std::result::Result<Figures, String>,
}

/// Returns the command line of this process, quoted so that a shell can run it again.
fn own_command() -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+%@".contains(c);
    let quoted = |word: String| {
        let is_plain = !word.is_empty() && word.chars().all(plain);
        if is_plain { word } else { format!("'{}'", word.replace('\'', "'\\''")) }
    };
    let words = std::env::args_os().skip(1).map(|word| quoted(word.to_string_lossy().into_owned()));
    std::iter::once("hz3".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

impl Record {
    /// Plans an experiment on this machine with the defaults of everything that is not named. The
    /// first allocator is the base.
    pub(crate) fn new(level: Level, cases: Vec<Case>, peers: Vec<Peer>) -> Self {
        Self {
            format: FORMAT,
            machine: Machine::here(),
            command: Some(own_command()),
            level,
            rounds: cases.iter().map(|case| case.rounds).max().unwrap_or(0),
            seed: 1,
            measure: Measure::Time,
            latency: false,
            suite: None,
            base: 0,
            peers,
            missing: Vec::new(),
            cases,
            trials: Vec::new(),
        }
    }

    /// Formats a speed figure of a case as its reader thinks of it: a command's as the time, or the
    /// instructions, of a run.
    pub(crate) fn pace(&self, case: usize, speed: f64) -> String {
        match (self.measure, &self.cases[case].what) {
            (Measure::Time, What::Bench(_)) => format!("{} op/s", text::si(speed)),
            (Measure::Time, What::Command(_)) => format!("{:.3} s", 1.0 / speed),
            (Measure::Instructions, What::Bench(_)) => format!("{:.1} instr./op", 1e6 / speed),
            (Measure::Instructions, What::Command(_)) => {
                format!("{} instr.", text::si(1e6 / speed))
            }
        }
    }

    /// Reads a record.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let record: Self = serde_json::from_slice(&files::read(path)?).map_err(|e| {
            Failure::new(format!("{shown} is damaged, or has no results of hz3: {e}"))
        })?;
        if record.format != FORMAT {
            let format = record.format;
            return Err(Failure::new(format!("{shown} has the unknown format {format}")));
        }
        if let Some(fault) = record.fault() {
            return Err(Failure::new(format!("{shown} is damaged: {fault}")));
        }
        Ok(record)
    }

    /// Returns what contradicts itself in a record that was read, so that no index leads nowhere.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let (cases, peers) = (self.cases.len(), self.peers.len());
        let is_planned =
            |slot: &Slot| slot.case < cases && slot.peer < peers && slot.round < self.rounds;
        if self.base >= peers {
            Some("its base is none of its allocators")
        } else if self.rounds > MAX_ROUNDS {
            Some("it has too many rounds")
        } else if !self.trials.iter().all(|trial| is_planned(&trial.slot)) {
            Some("it has a trial that is not of its plan")
        } else {
            None
        }
    }

    /// Returns the subcommand that started the experiment, if the record says so.
    pub(crate) fn subcommand(&self) -> Option<&str> {
        self.command.as_deref()?.split(' ').nth(1)
    }

    /// Writes the record to the files of `out`, see [`files::json_and_csv`]. A device gets the JSON
    /// alone.
    pub(crate) fn save(&self, out: &Path) -> Result<()> {
        let (json, csv) = files::json_and_csv(out);
        let record = serde_json::to_vec(self).map_err(|e| Failure::io("write JSON", e))?;
        files::write(&json, &record)?;
        if std::fs::metadata(&json).is_ok_and(|found| !found.is_file()) {
            return Ok(());
        }
        let mut table = Vec::new();
        self.write_csv(&mut table).map_err(|e| Failure::io("write CSV", e))?;
        files::write(&csv, &table)
    }

    /// Summarises the other load of the machine during the trials in a sentence.
    pub(crate) fn load(&self) -> Option<String> {
        let figures = self.trials.iter().filter_map(|trial| trial.result.as_ref().ok());
        load::sentence(figures.filter_map(|figures| figures.load.as_ref()), self.machine.cpus)
    }

    /// Returns the results of one case on one allocator, by round.
    pub(crate) fn results(
        &self,
        case: usize,
        peer: usize,
    ) -> impl Iterator<Item = (u32, &Figures)> {
        let trials = self.trials.iter().filter(move |t| t.slot.case == case && t.slot.peer == peer);
        trials.filter_map(|trial| Some((trial.slot.round, trial.result.as_ref().ok()?)))
    }

    /// Returns the failed trials with their reasons.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (&Case, &Peer, &str)> {
        self.trials.iter().filter_map(|trial| {
            let reason = trial.result.as_ref().err()?;
            Some((&self.cases[trial.slot.case], &self.peers[trial.slot.peer], reason.as_str()))
        })
    }

    fn write_csv(&self, out: &mut Vec<u8>) -> csv::Result<()> {
        for (name, value) in self.machine.facts() {
            writeln!(out, "# {name}: {value}")?;
        }
        if let Some(load) = self.load() {
            writeln!(out, "# load: {load}")?;
        }
        if let Some(command) = &self.command {
            writeln!(out, "# command: {}", command.replace('\n', " "))?;
        }
        writeln!(out, "# seed: {}", self.seed)?;
        writeln!(out, "# speed: {}", self.measure.unit())?;
        for peer in &self.peers {
            let version = peer.version.as_deref().unwrap_or("?");
            // Paths mean nothing on another machine, so the record names the file alone; the digest
            // tells builds apart.
            let file = peer.library.as_deref().and_then(Path::file_name).unwrap_or_default();
            let library = file.display();
            let digest = peer.digest.as_deref().unwrap_or("-");
            writeln!(
                out,
                "# allocator {}: version {version}, {library}, digest {digest}",
                peer.name
            )?;
        }
        for missing in &self.missing {
            writeln!(out, "# missing {}: {}", missing.name, missing.remedy)?;
        }
        let mut writer = csv::Writer::from_writer(out);
        let figures = COLUMNS.iter().map(|(name, _)| *name);
        writer.write_record(
            ["round", "case", "allocator"].into_iter().chain(figures).chain(["error"]),
        )?;
        for trial in &self.trials {
            writer.write_record(self.row(trial))?;
        }
        writer.flush()?;
        Ok(())
    }

    fn row(&self, trial: &Trial) -> Vec<String> {
        let slot = &trial.slot;
        let mut row = vec![
            slot.round.to_string(),
            self.cases[slot.case].name.clone(),
            self.peers[slot.peer].name.clone(),
        ];
        let figures = trial.result.as_ref();
        row.extend(COLUMNS.iter().map(|(_, show)| figures.map_or_else(|_| String::new(), show)));
        row.push(figures.err().cloned().unwrap_or_default());
        row
    }
}

/// The name of a column, and its value for a trial.
type Column = (&'static str, fn(&Figures) -> String);

/// The columns of figures in the CSV file. They are empty for a trial that failed.
const COLUMNS: [Column; 22] = [
    ("speed_per_s", |found| known(found.speed)),
    ("wall_s", |found| found.wall_s.to_string()),
    ("cpu_s", |found| found.cpu_s.to_string()),
    ("faults", |found| found.faults.to_string()),
    ("peak_rss_kb", |found| found.peak_rss_kb.to_string()),
    ("mean_rss_kb", |found| known(found.mean_rss_kb)),
    ("idle_rss_kb", |found| known(found.idle_rss_kb)),
    ("worst_idle_rss_kb", |found| known(found.worst_idle_rss_kb)),
    ("idle_ends_kb", |found| {
        let ends: Vec<String> = found.idle_ends_kb.iter().map(f64::to_string).collect();
        ends.join(" ")
    }),
    ("start_rss_kb", |found| known(found.start_rss_kb)),
    ("floor_kb", |found| known(found.floor_kb)),
    ("harness_kb", |found| known(found.harness_kb)),
    ("peak_cgroup_kb", |found| known(found.peak_cgroup_kb)),
    ("idle_cgroup_kb", |found| known(found.idle_cgroup_kb)),
    ("growth_kb", |found| known(found.growth_kb)),
    ("madvise_calls", |found| known(found.madvise_calls)),
    ("malloc_p999_ns", |found| known(found.malloc_p999_ns)),
    ("free_p999_ns", |found| known(found.free_p999_ns)),
    ("load_average", |found| known(found.load.and_then(|load| load.average))),
    ("others_cpu_s", |found| known(found.load.and_then(|load| load.others_cpu_s))),
    ("steal_s", |found| known(found.load.and_then(|load| load.steal_s))),
    ("cpu_stall_s", |found| known(found.load.and_then(|load| load.cpu_stall_s))),
];

/// Formats a figure that may not have been measured.
fn known(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

#[cfg(test)]
impl Record {
    /// Builds the record of a session in which every trial returned `figures`.
    pub(crate) fn simulated(
        names: &[&str],
        cases: Vec<Case>,
        seed: u64,
        mut figures: impl FnMut(Slot) -> Figures,
    ) -> Self {
        let peers = names.iter().map(|name| Peer::new(name, None)).collect();
        let plan = Self::new(Level::Quick, cases, peers);
        let slots = super::schedule::order(&plan.cases, names.len(), plan.rounds, seed);
        let trial = |slot| Trial { slot, took_s: 1.0, result: Ok(figures(slot)) };
        Self { seed, trials: slots.into_iter().map(trial).collect(), ..plan }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_contradicts_itself_is_refused() {
        let cases = || Level::Quick.standard()[..1].to_vec();
        let record = || Record::simulated(&["a", "b"], cases(), 1, |_| Figures::default());
        assert_eq!(record().fault(), None);
        let mut wrong = [record(), record(), record(), record(), record()];
        wrong[0].base = 2;
        wrong[1].trials[0].slot.case = 1;
        wrong[2].trials[0].slot.peer = 2;
        wrong[3].trials[0].slot.round = u32::MAX;
        wrong[4].rounds = u32::MAX;
        assert!(wrong.iter().all(|record| record.fault().is_some()));
    }
}
