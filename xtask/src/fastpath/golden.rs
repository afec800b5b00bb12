//! The golden file: every figure that was ever accepted, with its date and its reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hz3_tools::{Failure, Result};
use serde::{Deserialize, Serialize};

/// Instructions on the hit path, by block size.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Figure {
    pub(super) malloc: BTreeMap<String, u32>,
    pub(super) free: BTreeMap<String, u32>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    date: String,
    compiler: String,
    why: String,
    #[serde(flatten)]
    figure: Figure,
}

/// All figures, oldest first; the last one counts.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Golden {
    #[serde(default)]
    figure: Vec<Entry>,
}

const HEADER: &str = "\
# Instructions on the fast paths of malloc and free in libhz3.so, by block size, counted by
# `cargo xtask fastpath`. The last entry counts: the check fails when a figure grows. A new entry is
# added by `cargo xtask fastpath --bless --why REASON`, never by hand; old entries stay.
";

impl Golden {
    /// Reads the file; a file that is not there has no figures.
    pub(super) fn read(file: &Path) -> Result<Self> {
        if !file.exists() {
            return Ok(Self::default());
        }
        toml::from_str(&fs::read_to_string(file)?)
            .map_err(|error| Failure::from(error).during(&file.display().to_string()))
    }

    pub(super) fn write(&self, file: &Path) -> Result {
        Ok(fs::write(file, format!("{HEADER}\n{}", toml::to_string(self)?))?)
    }

    /// Adds a figure, with the reason for it.
    pub(super) fn add(
        &mut self,
        figure: Figure,
        date: String,
        compiler: String,
        why: &str,
    ) -> Result {
        if why.trim().is_empty() {
            return Err(Failure::new("a change of the golden figure needs a reason"));
        }
        self.figure.push(Entry { date, compiler, why: why.trim().to_owned(), figure });
        Ok(())
    }

    /// Lists the figures that grew beyond the last ones. Fewer instructions are reported and pass.
    pub(super) fn compare(&self, found: &Figure) -> Result<Vec<String>> {
        let Some(Entry { figure: golden, .. }) = self.figure.last() else {
            return Err(Failure::new("there is no golden figure yet: --bless --why REASON"));
        };
        let mut complaints = Vec::new();
        for (name, found, golden) in
            [("malloc", &found.malloc, &golden.malloc), ("free", &found.free, &golden.free)]
        {
            for (size, &count) in found {
                match golden.get(size) {
                    None => complaints.push(format!("{name} of {size} bytes has no golden figure")),
                    Some(&limit) if count > limit => complaints.push(format!(
                        "{name} of {size} bytes: {count} instructions, golden are {limit}"
                    )),
                    Some(&limit) if count < limit => {
                        println!(
                            "{name} of {size} bytes: {count} instructions, golden were {limit}: bless it"
                        );
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(complaints)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(malloc: u32, free: u32) -> Figure {
        let one = |count| BTreeMap::from([("24".to_owned(), count)]);
        Figure { malloc: one(malloc), free: one(free) }
    }

    fn golden() -> Golden {
        let mut golden = Golden::default();
        golden.add(figure(20, 20), "2026-01-01".into(), "rustc 1".into(), "first").unwrap();
        golden.add(figure(12, 14), "2026-01-02".into(), "rustc 1".into(), "shorter").unwrap();
        golden
    }

    #[test]
    fn growth_is_a_complaint_and_shrinking_is_not() {
        assert_eq!(golden().compare(&figure(12, 14)).unwrap(), Vec::<String>::new());
        assert_eq!(golden().compare(&figure(11, 10)).unwrap(), Vec::<String>::new());
        let complaints = golden().compare(&figure(12, 15)).unwrap();
        assert_eq!(complaints, ["free of 24 bytes: 15 instructions, golden are 14"]);
    }

    #[test]
    fn a_size_or_a_file_without_a_figure_does_not_pass() {
        let mut found = figure(1, 1);
        found.malloc.insert("100".into(), 1);
        let complaints = golden().compare(&found).unwrap();
        assert_eq!(complaints, ["malloc of 100 bytes has no golden figure"]);
        assert!(Golden::default().compare(&figure(1, 1)).is_err());
    }

    #[test]
    fn the_file_keeps_every_entry_and_no_entry_is_without_reason() {
        let text = toml::to_string(&golden()).unwrap();
        assert_eq!(toml::from_str::<Golden>(&text).unwrap(), golden());
        assert!(text.contains("shorter") && text.contains("first"));
        assert!(golden().add(figure(1, 1), String::new(), String::new(), " ").is_err());
    }
}
