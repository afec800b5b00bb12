//! The allocators: where their libraries are, their versions, and how to install missing ones.

pub(crate) mod complaint;
mod known;
mod probe;
mod spec;

pub(crate) use probe::{probe, report_own};
pub(crate) use spec::{Candidates, Selection, digest, settings};

use crate::failure::{Failure, Result, WRONG_USAGE};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// An allocator that programs can run on.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its name in tables: `jemalloc`, or `mimalloc:MIMALLOC_PURGE_DELAY=0`.
    pub(crate) name: String,
    /// The library to preload; `None` is the C library's own malloc.
    pub(crate) library: Option<PathBuf>,
    /// Settings in the environment.
    pub(crate) environment: Vec<(String, String)>,
    /// The version that the library reports.
    pub(crate) version: Option<String>,
    /// A digest of the library's bytes, so that two builds are told apart.
    pub(crate) digest: Option<String>,
}

/// An allocator that is not installed, and how to install it.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The name it would have.
    pub(crate) name: String,
    /// The command that installs it, or the reason why it cannot be used.
    pub(crate) remedy: String,
}

impl Peer {
    /// Describes an allocator without settings, whose version and digest are not known yet.
    pub(crate) fn new(name: &str, library: Option<PathBuf>) -> Self {
        let name = name.to_owned();
        Self { name, library, environment: Vec::new(), version: None, digest: None }
    }

    /// Describes hz3 in this library without settings.
    pub(crate) fn hz3(library: PathBuf) -> Self {
        Self::new("hz3", Some(library))
    }

    /// Returns the changes to the environment that make a command use this allocator.
    pub(crate) fn apply(&self) -> Vec<(OsString, Option<OsString>)> {
        let current = std::env::var_os(crate::preload::VARIABLE);
        let preload = match &self.library {
            None => crate::preload::without_hz3(current.as_deref()),
            Some(library) => Some(crate::preload::with_library(library, current.as_deref())),
        };
        let settings =
            self.environment.iter().map(|(name, value)| (name.into(), Some(value.into())));
        std::iter::once((crate::preload::VARIABLE.into(), preload)).chain(settings).collect()
    }

    /// Fails if a setting would have no effect because the name lacks its prefix: if the library
    /// knows an option of hz3's of that name.
    pub(crate) fn check_prefixes(&self) -> Result<()> {
        for (name, value) in &self.environment {
            let upper = name.to_uppercase();
            let meant = format!("HZ3_{}", upper.strip_prefix("HZ3_").unwrap_or(&upper));
            if *name != meant && self.has_option(&meant) {
                let what = format!("{name}={value} is no setting of hz3");
                return Err(Failure::usage(what).with_remedy(format!("did you mean `{meant}`?")));
            }
        }
        Ok(())
    }

    /// Returns whether the library says which values an option accepts.
    fn has_option(&self, name: &str) -> bool {
        let environment = vec![(name.to_owned(), "?".to_owned())];
        match probe(&Self { environment, ..self.clone() }) {
            Err(failure) => {
                let said = failure.to_string();
                failure.code() == WRONG_USAGE && said.contains(&format!("{name}=?: expected "))
            }
            Ok(_) => false,
        }
    }

    /// Returns whether a process whose malloc comes from the file `origin` used this allocator.
    pub(crate) fn is_origin(&self, origin: &str) -> bool {
        let full = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        match &self.library {
            Some(library) => full(Path::new(origin)) == full(library),
            None => crate::measure::sample::is_c_library(Path::new(origin)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(library: Option<&str>) -> Peer {
        let environment = vec![("A".to_owned(), "1".to_owned())];
        Peer { environment, ..Peer::new("x", library.map(PathBuf::from)) }
    }

    #[test]
    fn the_origin_of_malloc_tells_who_served() {
        assert!(peer(None).is_origin("/lib/x86_64-linux-gnu/libc.so.6"));
        assert!(!peer(None).is_origin("/usr/lib/libjemalloc.so.2"));
        assert!(peer(Some("/x/liba.so")).is_origin("/x/liba.so"));
        assert!(!peer(Some("/x/liba.so")).is_origin("/lib/libc.so.6"));
    }

    #[test]
    fn library_and_settings_go_into_the_environment() {
        let applied = peer(Some("/x/liba.so")).apply();
        assert_eq!(applied[0], ("LD_PRELOAD".into(), Some("/x/liba.so".into())));
        assert_eq!(applied[1], ("A".into(), Some("1".into())));
        assert_eq!(peer(None).apply()[0], ("LD_PRELOAD".into(), None));
    }
}
