//! The library in the output of `hz3 --version`.

use crate::peers::{self, Peer};
use crate::preload;

/// Describes the library that commands run on by default, and its version.
pub(crate) fn library() -> String {
    let Ok(path) = preload::find(None) else {
        return format!("none found; build it with `{}`", preload::BUILD);
    };
    let probed = peers::probe(&Peer::hz3(path.clone()));
    match probed.map(|probed| probed.version) {
        Ok(Some(version)) => format!("{}, version {version}", path.display()),
        Ok(None) => format!("{}, which does not tell its version", path.display()),
        Err(failure) => format!("{}, which does not work: {failure}", path.display()),
    }
}
