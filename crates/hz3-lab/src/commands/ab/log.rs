//! The experiment log: one page and one record each, and an index made from the records.

use super::experiment::Experiment;
use super::page;
use crate::failure::{Failure, Result};
use crate::files;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Reads a recorded experiment.
pub(super) fn read(path: &Path) -> Result<Experiment> {
    serde_json::from_slice(&files::read(path)?)
        .map_err(|e| Failure::io(format!("understand {} as an experiment", path.display()), e))
}

/// Writes the page, the record and the index; returns the page's path.
pub(super) fn write(directory: &Path, experiment: &Experiment) -> Result<PathBuf> {
    let record = directory.join(format!("{}.json", experiment.name));
    let json = serde_json::to_vec(experiment).map_err(|e| Failure::io("write JSON", e))?;
    files::write(&record, &json)?;
    let page = directory.join(format!("{}.md", experiment.name));
    files::write(&page, page::markdown(experiment, &record).as_bytes())?;
    let index = directory.join("README.md");
    let before = match std::fs::read_to_string(&index) {
        Ok(text) => Some(text),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => return Err(Failure::io(format!("read {}", index.display()), e)),
    };
    let after = page::with_index(before.as_deref(), &all(directory)?);
    files::write(&index, after.as_bytes())?;
    Ok(page)
}

/// Reads all experiments of the log, the newest first.
fn all(directory: &Path) -> Result<Vec<Experiment>> {
    let entries = std::fs::read_dir(directory)
        .map_err(|e| Failure::io(format!("list {}", directory.display()), e))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let records = paths.filter(|path| path.extension().is_some_and(|ext| ext == "json"));
    let mut experiments = records.map(|path| read(&path)).collect::<Result<Vec<_>>>()?;
    experiments.sort_by(|a, b| b.record.machine.date.cmp(&a.record.machine.date));
    Ok(experiments)
}
