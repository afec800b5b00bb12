//! What `hz3 --version` says about the library.

use crate::peers::{self, Peer};
use crate::preload;

/// The library that commands run on unless another one is named, and its version.
pub(crate) fn library() -> String {
    let Ok(path) = preload::find(None) else {
        return format!("none found; build it with `{}`", preload::BUILD);
    };
    let probed = peers::probe(&Peer::hz3(path.clone()));
    match probed.ok().and_then(|probed| probed.version) {
        Some(version) => format!("{}, version {version}", path.display()),
        None => format!("{}, which does not tell its version", path.display()),
    }
}
