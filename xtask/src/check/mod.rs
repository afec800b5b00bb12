//! Structural checks: what the documents and the tree say about the code is compared with the code.

pub(crate) mod api;
mod counters;
mod cycles;
mod documents;
mod figures;
mod form;
mod internals;
mod invariants;
mod layers;
mod options;
mod orderings;
pub(crate) mod prose;
pub(crate) mod source;
mod unsafety;

use hz3_tools::{Failure, Result};

use source::Tree;

/// Something that is not as it should be, with its place.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// `file:line`, or a file.
    place: String,
    what: String,
}

impl Finding {
    fn new(file: &str, line: usize, what: impl Into<String>) -> Self {
        Self { place: format!("{file}:{line}"), what: what.into() }
    }
}

type Check = fn(&Tree) -> Vec<Finding>;

const CHECKS: &[(&str, Check)] = &[
    ("layers: calls go down only", layers::check),
    ("files import each other in no cycle", cycles::check),
    ("documents name what exists", documents::check),
    ("pages are short, and so are their sentences", form::check),
    ("comments keep the rules of language", prose::check),
    ("figures are those of the recordings", figures::check),
    ("invariants are stated and cited", invariants::check),
    ("docs/internals.md is made of the code", internals::check),
    ("pages and options name each other", options::check),
    ("counters are explained and listed with their unit", counters::check),
    ("orderings say what they pair with", orderings::check),
    ("policy files are safe code", unsafety::check),
    ("public items are those of crates/hz3/api.txt", api::check),
];

/// Runs every check and prints what it finds.
pub(crate) fn run() -> Result {
    let tree = Tree::read()?;
    let mut faults = 0;
    for &(name, check) in CHECKS {
        let findings = check(&tree);
        println!("{} {name}", if findings.is_empty() { "ok  " } else { "FAIL" });
        for Finding { place, what } in &findings {
            println!("     {place}: {what}");
        }
        faults += findings.len();
    }
    if faults == 0 { Ok(()) } else { Err(Failure::new(format!("{faults} structural faults"))) }
}

/// Formats findings for the tests of the checks.
#[cfg(test)]
fn lines(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|found| format!("{}: {}", found.place, found.what)).collect()
}
