//! The invariants `I-1`, `I-2`, ...: each that code cites is stated in ARCHITECTURE.md, each that is
//! stated there is cited somewhere.

use std::collections::BTreeMap;

use super::Finding;
use super::source::{Tree, has_extension};

const BOOK: &str = "ARCHITECTURE.md";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(book) = tree.text(BOOK) else {
        return vec![Finding { place: BOOK.into(), what: "is missing".into() }];
    };
    let mut findings = Vec::new();
    let mut stated = BTreeMap::new();
    for (index, line) in book.lines().enumerate() {
        let Some(number) = statement(line) else { continue };
        if let Some(first) = stated.insert(number, index + 1) {
            let what = format!("I-{number} is stated twice, first in line {first}");
            findings.push(Finding::new(BOOK, index + 1, what));
        }
    }
    let mut cited = Vec::new();
    for (file, text) in tree.files() {
        // The fixtures in the tests of this check cite what does not exist.
        if !has_extension(file, "rs") || file.starts_with("xtask/") {
            continue;
        }
        for (index, line) in text.lines().enumerate() {
            for number in citations(line) {
                cited.push(number);
                if !stated.contains_key(&number) {
                    let what = format!("cites I-{number}, which {BOOK} does not state");
                    findings.push(Finding::new(file, index + 1, what));
                }
            }
        }
    }
    for (number, line) in stated {
        if !cited.contains(&number) {
            let what = format!("I-{number} is stated and no code cites it");
            findings.push(Finding::new(BOOK, line, what));
        }
    }
    findings
}

/// The number of the invariant that a line states: it stands first, after marks of a list, table or heading.
fn statement(line: &str) -> Option<u32> {
    let text = line.trim_start_matches(|c: char| c.is_whitespace() || "-*#|`".contains(c));
    let digits = text.strip_prefix("I-")?;
    number(digits)
}

/// The invariants that a line of code names.
fn citations(line: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("I-") {
        let starts = !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-');
        found.extend(number(&line[at + 2..]).filter(|_| starts));
    }
    found
}

/// The number at the front of a text.
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
            (BOOK, "- **I-1** A block is in one place.\n| `I-2` | A page too. |\nSee I-9.\n"),
            ("crates/hz3/src/a.rs", "// SAFETY: I-1 and I-2.\nlet MULTI = 3; // MULTI-7\n"),
        ]);
        assert_eq!(check(&tree), []);
    }

    #[test]
    fn a_citation_without_a_statement_and_the_reverse_are_found() {
        let tree = Tree::of([
            (BOOK, "### I-1\n### I-3\n- I-3 again\n"),
            ("crates/hz3/src/a.rs", "//\n// SAFETY: by I-12.\n// I-3\n"),
        ]);
        let expected = [
            "ARCHITECTURE.md:3: I-3 is stated twice, first in line 2",
            "crates/hz3/src/a.rs:2: cites I-12, which ARCHITECTURE.md does not state",
            "ARCHITECTURE.md:1: I-1 is stated and no code cites it",
        ];
        assert_eq!(lines(&check(&tree)), expected);
    }

    #[test]
    fn without_the_book_nothing_is_fine() {
        assert_eq!(lines(&check(&Tree::of([("a.rs", "")]))), ["ARCHITECTURE.md: is missing"]);
    }
}
