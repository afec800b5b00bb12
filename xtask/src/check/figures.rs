//! The tables of figures in the pages are what `cargo xtask numbers` writes.

use super::Finding;
use super::source::{Tree, has_extension};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let pages = tree.files().filter(|(file, _)| has_extension(file, "md"));
    let found = crate::numbers::stale(pages, |file| tree.text(file).map(str::to_owned));
    let findings = found
        .into_iter()
        .map(|(place, what)| Finding { place, what: format!("{what}; run `cargo xtask numbers`") });
    findings.collect()
}
