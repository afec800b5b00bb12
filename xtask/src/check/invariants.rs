//! The invariants `I-1`, `I-2`, ...: each that code cites is stated once, at the head of the file
//! that keeps it. Code cites each that is stated, and the message of an assertion names it.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::source::{Tree, has_extension};

/// The beginning of the paragraph that states an invariant in the head of a file.
const STATEMENT: &str = "//! **I-";
/// The beginning of an assertion's message.
const MESSAGE: &str = "\"I-";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut stated = BTreeMap::new();
    let (mut cited, mut asserted) = (Vec::new(), BTreeSet::new());
    let mut faults = Vec::new();
    for (file, text) in tree.files() {
        // The fixtures in the tests of this check cite what does not exist.
        if !has_extension(file, "rs") || file.starts_with("xtask/") {
            continue;
        }
        for (index, line) in text.lines().enumerate() {
            if let Some(number) = line.strip_prefix(STATEMENT).and_then(number) {
                if let Some((first, _)) = stated.insert(number, (file, index + 1)) {
                    let what = format!("I-{number} is stated twice, first in {first}");
                    findings.push(Finding::new(file, index + 1, what));
                }
                continue;
            }
            asserted.extend(line.split(MESSAGE).skip(1).filter_map(number));
            cited.extend(citations(line).into_iter().map(|number| (number, file, index + 1)));
        }
    }
    for &(number, file, line) in &cited {
        if !stated.contains_key(&number) {
            faults.push(Finding::new(
                file,
                line,
                format!("cites I-{number}, which no file states"),
            ));
        }
    }
    findings.append(&mut faults);
    for (number, (file, line)) in stated {
        if !cited.iter().any(|&(known, ..)| known == number) {
            findings.push(Finding::new(file, line, format!("no code cites I-{number}")));
        } else if !asserted.contains(&number) {
            findings.push(Finding::new(file, line, format!("no assertion names I-{number}")));
        }
    }
    findings
}

/// Returns the invariants that a line of code names.
fn citations(line: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("I-") {
        let starts = !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-');
        found.extend(number(&line[at + 2..]).filter(|_| starts));
    }
    found
}

/// Returns the number at the front of a text.
fn number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    #[test]
    fn invariants_that_are_stated_and_cited_are_fine() {
        let tree = Tree::of([
            ("crates/hz3/src/a.rs", "//! A.\n//!\n//! **I-1.** A block is in one place.\n"),
            ("crates/hz3/src/b.rs", "// SAFETY: I-1.\nlet MULTI = 3; // MULTI-7\n"),
            ("crates/hz3/src/c.rs", "assert!(places == 1, \"I-1: {block:?}\");\n"),
            ("README.md", "See I-9.\n"),
        ]);
        assert_eq!(check(&tree), []);
    }

    #[test]
    fn an_invariant_that_nothing_asserts_is_found() {
        let tree = Tree::of([(
            "crates/hz3/src/a.rs",
            "//! **I-1.** One.\n//! **I-12.** Twelve.\n// I-1, I-12\nassert!(true, \"I-12\");\n",
        )]);
        let expected = ["crates/hz3/src/a.rs:1: no assertion names I-1"];
        assert_eq!(lines(&check(&tree)), expected);
    }

    #[test]
    fn a_citation_without_a_statement_and_the_reverse_are_found() {
        let tree = Tree::of([
            (
                "crates/hz3/src/a.rs",
                "//! **I-1.** One.\n//! **I-3.** Three.\n// SAFETY: by I-12.\n",
            ),
            ("crates/hz3/src/b.rs", "//! **I-3.** Again.\nassert!(true, \"I-3\");\n"),
        ]);
        let expected = [
            "crates/hz3/src/b.rs:1: I-3 is stated twice, first in crates/hz3/src/a.rs",
            "crates/hz3/src/a.rs:3: cites I-12, which no file states",
            "crates/hz3/src/a.rs:1: no code cites I-1",
        ];
        assert_eq!(lines(&check(&tree)), expected);
    }
}
