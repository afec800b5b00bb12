//! Allocators on the command line.

use super::known::{self, KNOWN};
use super::{Missing, Peer, probe};
use crate::failure::{self, Failure, Result, WRONG_USAGE};
use crate::files;
use crate::preload;
use std::path::{Path, PathBuf};

/// All allocators that can be named: the known ones, and those given by `--peer`.
#[derive(Debug)]
pub(crate) struct Candidates {
    /// Name and library, `None` for the C library.
    present: Vec<(String, Option<PathBuf>)>,
    absent: Vec<Missing>,
    /// Names of those given by `--peer`. They take part in every selection.
    given: Vec<String>,
}

/// The requested allocators, present and missing.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// Usable, each probed.
    pub(crate) peers: Vec<Peer>,
    /// Not usable, with the remedy.
    pub(crate) missing: Vec<Missing>,
}

impl Candidates {
    /// Finds the known allocators and adds `extra` ones, each `NAME=PATH`. A path given for a known
    /// name replaces the known library.
    pub(crate) fn find(extra: &[String]) -> Result<Self> {
        let exe =
            std::env::current_exe().map_err(|e| Failure::io("find this program's path", e))?;
        let directories = known::directories(&exe);
        let named = extra.iter().map(|spec| named(spec)).collect::<Result<Vec<_>>>()?;
        let given = named.iter().map(|(name, _)| name.clone()).collect();
        let mut candidates = Self { present: Vec::new(), absent: Vec::new(), given };
        for known in &KNOWN {
            let name = known.name.to_owned();
            if named.iter().any(|(other, _)| *other == name) {
                continue;
            }
            if known.files.is_empty() {
                candidates.present.push((name, None));
            } else if let Some(library) = known::locate(known.files, &directories) {
                candidates.present.push((name, Some(preload::usable(&library)?)));
            } else {
                let remedy = known.remedy.to_owned();
                candidates.absent.push(Missing { name, remedy });
            }
        }
        candidates.present.extend(named.into_iter().map(|(name, path)| (name, Some(path))));
        Ok(candidates)
    }

    /// Selects the allocators called `names` and those given by `--peer`, or all known ones if
    /// there are no names. `NAME:VAR=VALUE:VAR=VALUE` is the allocator NAME with settings.
    pub(crate) fn select(&self, names: &[String]) -> Result<Selection> {
        let mut selection = Selection::default();
        if names.is_empty() {
            selection.missing.extend(self.absent.iter().cloned());
            for (name, _) in &self.present {
                self.add(name, &mut selection)?;
            }
        }
        for name in names {
            self.add(name, &mut selection)?;
        }
        let is_named = |given: &&String| {
            let of = |full: &String| full.split(':').next() == Some(given.as_str());
            names.is_empty() || names.iter().any(of)
        };
        for name in self.given.iter().filter(|given| !is_named(given)) {
            self.add(name, &mut selection)?;
        }
        Ok(selection)
    }

    fn add(&self, full: &str, selection: &mut Selection) -> Result<()> {
        let (name, environment) = variant(full)?;
        if selection.peers.iter().any(|peer| peer.name == full) {
            return Err(Failure::usage(format!("the allocator {full} is named twice")));
        }
        if let Some(missing) = self.absent.iter().find(|missing| missing.name == name) {
            let remedy = missing.remedy.clone();
            selection.missing.push(Missing { name: full.to_owned(), remedy });
            return Ok(());
        }
        let Some((_, library)) = self.present.iter().find(|(known, _)| *known == name) else {
            return Err(self.unknown(name));
        };
        let digest = library.as_deref().map(digest).transpose()?;
        let mut peer = Peer { environment, digest, ..Peer::new(full, library.clone()) };
        match probe(&peer) {
            Ok(probed) if peer.is_origin(&probed.origin) => {
                peer.check_prefixes()?;
                peer.version = probed.version;
                selection.peers.push(peer);
            }
            Ok(probed) => {
                let remedy = format!("preloaded, but malloc still comes from {}", probed.origin);
                selection.missing.push(Missing { name: peer.name, remedy });
            }
            Err(failure) if failure.code() == WRONG_USAGE => return Err(failure),
            Err(failure) => {
                selection.missing.push(Missing { name: peer.name, remedy: failure.to_string() });
            }
        }
        Ok(())
    }

    fn unknown(&self, name: &str) -> Failure {
        let present = self.present.iter().map(|(name, _)| name.as_str());
        let known = present.chain(self.absent.iter().map(|missing| missing.name.as_str()));
        failure::unknown("allocator", name, known)
    }
}

/// Parses `NAME=PATH`.
fn named(spec: &str) -> Result<(String, PathBuf)> {
    match spec.split_once('=') {
        Some((name, path)) if !name.is_empty() && !name.contains(':') => {
            let library = preload::named_by_user(Path::new(path));
            let library = library.map_err(|failure| failure.during(&format!("--peer {spec}")))?;
            Ok((name.to_owned(), library))
        }
        _ => Err(Failure::usage(format!(
            "--peer {spec}: a peer is NAME=PATH, without `:` in the name"
        ))),
    }
}

/// Parses `NAME:VAR=VALUE:VAR=VALUE`.
fn variant(full: &str) -> Result<(&str, Vec<(String, String)>)> {
    match full.split_once(':') {
        None => Ok((full, Vec::new())),
        Some((name, text)) => match settings(text) {
            Ok(settings) => Ok((name, settings)),
            Err(error) => {
                let what = format!("the variant {full}: expected NAME:VARIABLE=VALUE; {error}");
                Err(Failure::usage(what))
            }
        },
    }
}

/// Parses `VAR=VALUE:VAR=VALUE`. A part without `=` belongs to the value before it, because values
/// may contain colons.
pub(crate) fn settings(text: &str) -> Result<Vec<(String, String)>> {
    let mut settings: Vec<(String, String)> = Vec::new();
    for part in text.split(':') {
        match (part.split_once('='), settings.last_mut()) {
            (Some((variable, value)), _) if !variable.is_empty() => {
                settings.push((variable.to_owned(), value.to_owned()));
            }
            (None, Some((_, value))) => {
                value.push(':');
                value.push_str(part);
            }
            _ => return Err(Failure::usage(format!("`{part}` in `{text}` is not VARIABLE=VALUE"))),
        }
    }
    Ok(settings)
}

/// Returns the FNV-1a hash of a file. It tells builds apart and is no protection against forgery.
pub(crate) fn digest(path: &Path) -> Result<String> {
    let hash = files::read(path)?.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Ok(format!("{hash:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_carry_their_settings() {
        assert_eq!(variant("glibc").unwrap(), ("glibc", vec![]));
        let (name, settings) = variant("m:A=0:B=x=y").unwrap();
        let expected = [("A", "0"), ("B", "x=y")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!((name, settings), ("m", expected.to_vec()));
        assert!(variant("m:A").is_err() && variant("m:=1").is_err() && variant("m:").is_err());
        let colon = [("A".to_owned(), "on:true".to_owned()), ("B".to_owned(), "1".to_owned())];
        assert_eq!(variant("m:A=on:true:B=1").unwrap(), ("m", colon.to_vec()));
    }

    #[test]
    fn an_absent_allocator_is_missing_and_an_unknown_one_an_error() {
        let absent = Missing { name: "gone".to_owned(), remedy: "install it".to_owned() };
        let candidates = Candidates { present: vec![], absent: vec![absent], given: vec![] };
        let selection = candidates.select(&["gone:X=1".to_owned()]).unwrap();
        assert_eq!(selection.missing[0].name, "gone:X=1");
        assert_eq!(selection.missing[0].remedy, "install it");
        let error = candidates.select(&["nobody".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("nobody") && error.contains("gone"), "{error}");
        let typo = candidates.select(&["gnoe".to_owned()]).unwrap_err();
        assert!(typo.to_string().contains("did you mean `gone`") && typo.code() == 2, "{typo}");
    }

    #[test]
    fn an_allocator_given_by_path_takes_part_unasked() {
        let absent =
            ["a", "b"].map(|name| Missing { name: name.to_owned(), remedy: String::new() });
        let given = vec!["b".to_owned()];
        let candidates = Candidates { present: vec![], absent: absent.to_vec(), given };
        let selected = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            let missing = candidates.select(&names).unwrap().missing;
            missing.into_iter().map(|missing| missing.name).collect::<Vec<_>>()
        };
        assert_eq!(selected(&["a"]), ["a", "b"]);
        assert_eq!(selected(&["b:X=1"]), ["b:X=1"]);
        assert_eq!(selected(&[]), ["a", "b"]);
    }

    #[test]
    fn digests_differ_with_the_contents() {
        let directory = tempfile::tempdir().unwrap();
        let (a, b) = (directory.path().join("a"), directory.path().join("b"));
        std::fs::write(&a, "one").unwrap();
        std::fs::write(&b, "two").unwrap();
        assert_eq!(digest(&a).unwrap(), digest(&a).unwrap());
        assert_ne!(digest(&a).unwrap(), digest(&b).unwrap());
    }
}
