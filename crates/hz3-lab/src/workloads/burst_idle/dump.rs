//! Dumps of the memory map.

use crate::failure::{Failure, Result};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// The extent of a dump; the numbers are the C hz3's `DUMP_MODE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DumpLevel {
    /// Nothing (0)
    Off,
    /// The sums over all mappings (1)
    #[value(name = "smaps_rollup")]
    Rollup,
    /// Every mapping (2)
    Smaps,
}

impl DumpLevel {
    /// Converts the C hz3's number.
    pub(super) fn from_number(number: u32) -> Result<Self> {
        match number {
            0 => Ok(Self::Off),
            1 => Ok(Self::Rollup),
            2 => Ok(Self::Smaps),
            _ => Err(Failure::usage(format!("DUMP_MODE is 0, 1 or 2, not {number}"))),
        }
    }

    fn file(self) -> Option<&'static str> {
        match self {
            Self::Off => None,
            Self::Rollup => Some("/proc/self/smaps_rollup"),
            Self::Smaps => Some("/proc/self/smaps"),
        }
    }
}

/// The destination of the dumps.
pub(super) struct Dump {
    level: DumpLevel,
    file: Option<File>,
}

impl Dump {
    /// Opens the file at `path` for appending, or standard error.
    pub(super) fn open(level: DumpLevel, path: Option<&Path>) -> Result<Self> {
        let file = path.filter(|_| level != DumpLevel::Off).map(|path| {
            let opened = OpenOptions::new().append(true).create(true).open(path);
            opened.map_err(|e| Failure::io(format!("write to {}", path.display()), e))
        });
        Ok(Self { level, file: file.transpose()? })
    }

    /// Writes the map with a header. Errors are ignored, because a full disk must not end a
    /// measurement.
    pub(super) fn write(&mut self, cycle: usize, place: &str) {
        let Some(source) = self.level.file() else { return };
        let Ok(mut map) = File::open(source) else { return };
        let head = format!("# cycle {cycle}, {place} of the idle window\n");
        let _ = match &mut self.file {
            Some(file) => copy(&head, &mut map, file),
            None => copy(&head, &mut map, &mut std::io::stderr()),
        };
    }
}

fn copy(head: &str, map: &mut File, out: &mut impl Write) -> std::io::Result<()> {
    out.write_all(head.as_bytes())?;
    std::io::copy(map, out)?;
    out.flush()
}
