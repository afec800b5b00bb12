//! The experiment log: one page and one record each, and an index made from the records.

use super::experiment::Experiment;
use super::page;
use crate::failure::{Failure, Result, WRONG_USAGE};
use crate::files;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Fails if the experiment cannot be written to the log. Its directory is made later, so the
/// parent of that must exist.
pub(super) fn may_record(directory: &Path, name: &str, force: bool) -> Result<()> {
    files::may_make_directory(directory)?;
    let record = directory.join(format!("{name}.json"));
    if record.exists() && !force {
        return Err(Failure::usage(format!("{} exists already", record.display()))
            .with_remedy("--force overwrites it, --record NAME names another one"));
    }
    if directory.exists() {
        // Another file would make the index fail when everything has been measured.
        all(directory).map_err(|failure| {
            let whose = format!("the experiment log {}", directory.display());
            failure.during(&whose).with_code(WRONG_USAGE).with_remedy("--log names another one")
        })?;
    }
    Ok(())
}

/// Reads a recorded experiment.
pub(super) fn read(path: &Path) -> Result<Experiment> {
    let shown = path.display();
    let experiment: Experiment = serde_json::from_slice(&files::read(path)?).map_err(|e| {
        Failure::new(format!("{shown} is damaged, or no experiment of `hz3 ab --record`: {e}"))
    })?;
    match experiment.record.fault() {
        Some(fault) => Err(Failure::new(format!("{shown} is damaged: {fault}"))),
        None => Ok(experiment),
    }
}

/// Writes the page, the record and the index; returns the page's path.
pub(super) fn write(directory: &Path, experiment: &Experiment) -> Result<PathBuf> {
    files::make_directory(directory)?;
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
