//! The two contenders of an A/B.

use crate::failure::{Failure, Result};
use crate::peers::{self, Peer};
use crate::preload;
use std::path::{Path, PathBuf};

/// Their names in tables.
const NAMES: [&str; 2] = ["baseline", "candidate"];

/// Finds baseline and candidate, probing the library of each.
pub(super) fn both(libraries: &[PathBuf], baseline: &str, candidate: &str) -> Result<Vec<Peer>> {
    let settings = [environment(baseline)?, environment(candidate)?];
    let [first, second] = libraries_of(libraries)?;
    let [baseline, candidate] = settings;
    Ok(vec![contender(0, &first, baseline)?, contender(1, &second, candidate)?])
}

/// Probes the libraries of recorded contenders again, because they may have been rebuilt since.
pub(super) fn find_again(contenders: &mut [Peer], libraries: &[PathBuf]) -> Result<()> {
    let others = if libraries.is_empty() { None } else { Some(libraries_of(libraries)?) };
    for (i, contender) in contenders.iter_mut().enumerate() {
        let recorded = contender.library.clone().unwrap_or_default();
        let library = others.as_ref().map_or(recorded, |others| others[i.min(1)].clone());
        let library = preload::named_by_user(&library).map_err(|failure| {
            failure.with_remedy("the library is gone; name others with --lib A.so B.so")
        })?;
        identify(contender, library)?;
    }
    Ok(())
}

fn libraries_of(named: &[PathBuf]) -> Result<[PathBuf; 2]> {
    match named {
        [] => {
            let own = preload::find(None)?;
            Ok([own.clone(), own])
        }
        [both] => {
            let both = preload::find(Some(both))?;
            Ok([both.clone(), both])
        }
        [first, second, ..] => Ok([preload::find(Some(first))?, preload::find(Some(second))?]),
    }
}

fn contender(index: usize, library: &Path, environment: Vec<(String, String)>) -> Result<Peer> {
    let mut peer = Peer { environment, ..Peer::new(NAMES[index], None) };
    identify(&mut peer, library.to_owned())?;
    Ok(peer)
}

/// Makes the libraries portable for the experiment log, which is read on other machines. A library
/// is named by its path below the working directory, where [`find_again`] looks for it, or by its
/// file name alone.
pub(super) fn make_portable(contenders: &mut [Peer]) -> Result<()> {
    let here = std::env::current_dir().map_err(|e| Failure::io("find the working directory", e))?;
    for library in contenders.iter_mut().filter_map(|contender| contender.library.as_mut()) {
        *library = portable(library, &here);
    }
    Ok(())
}

fn portable(library: &Path, here: &Path) -> PathBuf {
    let name = || library.file_name().map_or_else(PathBuf::new, PathBuf::from);
    library.strip_prefix(here).map_or_else(|_| name(), Path::to_owned)
}

/// Fills in digest and version of a contender's library by running a process on it.
fn identify(contender: &mut Peer, library: PathBuf) -> Result<()> {
    contender.digest = Some(peers::digest(&library)?);
    contender.library = Some(library);
    let probed = peers::probe(contender)?;
    if !contender.is_origin(&probed.origin) {
        let from = probed.origin;
        let what = format!("malloc of the {} still comes from {from}", contender.name);
        return Err(Failure::usage(what).with_remedy("expected a library that has malloc"));
    }
    contender.check_prefixes()?;
    contender.version = probed.version;
    Ok(())
}

/// Parses `default`, a policy, or variables with values.
fn environment(settings: &str) -> Result<Vec<(String, String)>> {
    if settings == "default" || settings.is_empty() {
        return Ok(Vec::new());
    }
    if !settings.contains('=') {
        return Ok(vec![("HZ3_POLICY".to_owned(), settings.to_owned())]);
    }
    peers::settings(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_names_no_path_of_this_machine() {
        for (library, expected) in [
            ("/home/me/hz3/target/release/libhz3.so", "target/release/libhz3.so"),
            ("/home/me/hz3-old/libhz3.so", "libhz3.so"),
        ] {
            assert_eq!(
                portable(Path::new(library), Path::new("/home/me/hz3")),
                Path::new(expected)
            );
        }
    }

    #[test]
    fn settings_are_none_a_policy_or_variables() {
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        assert_eq!(environment("default").unwrap(), []);
        assert_eq!(environment("s64-p1b").unwrap(), pairs(&[("HZ3_POLICY", "s64-p1b")]));
        assert_eq!(environment("A=1:B=x=y").unwrap(), pairs(&[("A", "1"), ("B", "x=y")]));
        assert!(environment("=1").is_err());
    }
}
