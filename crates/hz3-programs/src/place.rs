//! The place of a program: the directory in which it works, and its allocator.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use crate::Preload;

/// The directory and the allocator of a site's programs.
#[derive(Debug)]
pub(crate) struct Place {
    directory: PathBuf,
    preload: Option<&'static Preload>,
    was_mapped: Cell<bool>,
}

impl Place {
    /// Without a library the programs run on the system's allocator.
    pub(crate) fn new(directory: PathBuf, preload: Option<&'static Preload>) -> Self {
        Self { directory, preload, was_mapped: Cell::new(false) }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn preload(&self) -> Option<&'static Preload> {
        self.preload
    }

    /// Returns which allocator runs here, for messages.
    pub(crate) fn allocator(&self) -> String {
        self.preload.map_or_else(
            || "on the system's allocator".into(),
            |preload| format!("on {}", preload.library().display()),
        )
    }

    /// Remembers when a process is seen with the library in its address space.
    pub(crate) fn note_mapping(&self, pid: u32) {
        if let Some(preload) = self.preload
            && !self.was_mapped.get()
        {
            self.was_mapped.set(preload.is_mapped_in(pid));
        }
    }

    /// Returns whether a process was seen with the library in its address space.
    pub(crate) fn was_mapped(&self) -> bool {
        self.was_mapped.get()
    }
}
