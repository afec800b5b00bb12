//! What was planned and what was found, on disk: JSON to go on with, CSV to calculate with.

use super::cases::{Case, Level};
use super::machine::Machine;
use super::schedule::Slot;
use super::trial::{Figures, Measure};
use crate::failure::{Failure, Result};
use crate::peers::{Missing, Peer};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};

/// An experiment with the results so far.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// So that later versions can tell.
    pub(crate) format: u32,
    pub(crate) machine: Machine,
    pub(crate) level: Level,
    pub(crate) rounds: u32,
    pub(crate) seed: u64,
    /// What speed is measured in.
    #[serde(default)]
    pub(crate) measure: Measure,
    /// The allocator that the others are compared with: an index of `peers`.
    pub(crate) base: usize,
    pub(crate) peers: Vec<Peer>,
    /// What was asked for and is not here.
    pub(crate) missing: Vec<Missing>,
    pub(crate) cases: Vec<Case>,
    pub(crate) trials: Vec<Trial>,
}

/// The format that this program writes.
pub(crate) const FORMAT: u32 = 1;

/// One trial and what came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Trial {
    #[serde(flatten)]
    pub(crate) slot: Slot,
    /// Seconds it took altogether.
    pub(crate) took_s: f64,
    /// The figures, or what went wrong.
    pub(crate) result: std::result::Result<Figures, String>,
}

impl Record {
    /// Reads a record.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Failure::io(format!("read {}", path.display()), e))?;
        let record: Self = serde_json::from_str(&text)
            .map_err(|e| Failure::io(format!("understand {}", path.display()), e))?;
        if record.format != FORMAT {
            let format = record.format;
            return Err(Failure::new(format!(
                "{} has the unknown format {format}",
                path.display()
            )));
        }
        Ok(record)
    }

    /// Writes the record, and beside it the CSV; a reader never sees half a file.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_vec(self).map_err(|e| Failure::io("write JSON", e))?;
        replace(path, &json)?;
        let mut table = Vec::new();
        self.write_csv(&mut table).map_err(|e| Failure::io("write CSV", e))?;
        replace(&csv_path(path), &table)
    }

    /// The results of one case on one allocator, by round.
    pub(crate) fn results(
        &self,
        case: usize,
        peer: usize,
    ) -> impl Iterator<Item = (u32, &Figures)> {
        let trials = self.trials.iter().filter(move |t| t.slot.case == case && t.slot.peer == peer);
        trials.filter_map(|trial| Some((trial.slot.round, trial.result.as_ref().ok()?)))
    }

    /// The trials that failed, with the reason.
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
        writeln!(out, "# seed: {}", self.seed)?;
        writeln!(out, "# speed: {}", self.measure.unit())?;
        for peer in &self.peers {
            let version = peer.version.as_deref().unwrap_or("?");
            // Where it lay says nothing to a reader elsewhere; the digest tells builds apart.
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
        writer.write_record([
            "round",
            "case",
            "allocator",
            "speed_per_s",
            "wall_s",
            "cpu_s",
            "faults",
            "peak_rss_kb",
            "mean_rss_kb",
            "idle_rss_kb",
            "growth_kb",
            "madvise_calls",
            "error",
        ])?;
        for trial in &self.trials {
            writer.write_record(self.row(trial))?;
        }
        writer.flush()?;
        Ok(())
    }

    fn row(&self, trial: &Trial) -> Vec<String> {
        let known = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
        let slot = &trial.slot;
        let place = [
            slot.round.to_string(),
            self.cases[slot.case].name.clone(),
            self.peers[slot.peer].name.clone(),
        ];
        let nothing = Figures::default();
        let (figures, error) = match &trial.result {
            Ok(figures) => (figures, ""),
            Err(error) => (&nothing, error.as_str()),
        };
        let found = error.is_empty();
        let always = |value: String| if found { value } else { String::new() };
        place
            .into_iter()
            .chain([
                known(figures.speed),
                always(figures.wall_s.to_string()),
                always(figures.cpu_s.to_string()),
                always(figures.faults.to_string()),
                always(figures.peak_rss_kb.to_string()),
                known(figures.mean_rss_kb),
                known(figures.idle_rss_kb),
                known(figures.growth_kb),
                known(figures.madvise_calls),
                error.to_owned(),
            ])
            .collect()
    }
}

/// `x.json` has its CSV in `x.csv`.
pub(crate) fn csv_path(path: &Path) -> PathBuf {
    path.with_extension("csv")
}

/// Writes a file beside `path` and moves it there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |e: &dyn std::fmt::Display| Failure::io(format!("write {}", path.display()), e);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory).map_err(|e| failed(&e))?;
    let mut file = tempfile::Builder::new()
        .prefix(".hz3-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(directory)
        .map_err(|e| failed(&e))?;
    file.write_all(bytes).map_err(|e| failed(&e))?;
    file.persist(path).map_err(|e| failed(&e))?;
    Ok(())
}
