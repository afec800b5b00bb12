//! Every atomic ordering that is not `Relaxed` says beside it what it pairs with.

use super::Finding;
use super::source::{Tree, code, without_tests};

const STRONG: [&str; 4] =
    ["Ordering::Acquire", "Ordering::Release", "Ordering::AcqRel", "Ordering::SeqCst"];

/// How many lines above the statement the comment may stand.
const REACH: usize = 3;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, relative, text) in tree.rust_below("crates/hz3/src/") {
        if relative.starts_with("tests/") {
            continue;
        }
        let lines: Vec<&str> = text.lines().collect();
        let shipped = without_tests(&code(text));
        let shipped: Vec<&str> = shipped.lines().collect();
        for (index, line) in shipped.iter().enumerate() {
            let Some(ordering) = STRONG.iter().find(|ordering| line.contains(*ordering)) else {
                continue;
            };
            let near = &lines[statement(&shipped, index).saturating_sub(REACH)..=index];
            if !near.iter().any(|line| line.to_lowercase().contains("pairs with")) {
                let what = format!("`{ordering}` without a \"pairs with\" comment");
                findings.push(Finding::new(file, index + 1, what));
            }
        }
        for (index, line) in code(text).lines().enumerate() {
            if line.contains("Ordering::*") || line.contains("Ordering::{") {
                let what = "orderings are spelled in full at the call, not imported";
                findings.push(Finding::new(file, index + 1, what));
            }
        }
    }
    findings
}

/// Returns the first line of the statement that line `index` is part of.
fn statement(lines: &[&str], index: usize) -> usize {
    let ends = |line: &str| line.is_empty() || line.ends_with([';', '{', '}']);
    let mut first = index;
    while first > 0 && !ends(lines[first - 1].trim()) {
        first -= 1;
    }
    first
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    #[test]
    fn a_comment_on_the_line_or_just_above_is_enough() {
        let text = "// Release pairs with the load in `get`.\nx.store(\n    1,\n    Ordering::Release,\n);\n\
                    y.load(Ordering::Acquire); // pairs with the store in `put`\nz.load(Ordering::Relaxed);\n";
        assert_eq!(check(&Tree::of([("crates/hz3/src/a.rs", text)])), []);
    }

    #[test]
    fn the_lines_of_a_long_statement_do_not_count() {
        let text = "// Pairs with the swap.\n\n\nif a\n    && b\n        .swap(\n            1,\n            Ordering::AcqRel,\n        )\n{\n";
        assert_eq!(check(&Tree::of([("crates/hz3/src/a.rs", text)])), []);
    }

    #[test]
    fn a_comment_that_is_missing_or_far_is_found() {
        let text = "// pairs with nothing near\n\n\n\nx.load(Ordering::Acquire);\n// about Ordering::SeqCst\n";
        let found = check(&Tree::of([("crates/hz3/src/a.rs", text)]));
        let expected =
            "crates/hz3/src/a.rs:5: `Ordering::Acquire` without a \"pairs with\" comment";
        assert_eq!(lines(&found), [expected]);
    }

    #[test]
    fn an_import_that_hides_the_word_is_found_and_tests_are_free() {
        let text = "use core::sync::atomic::Ordering::*;\n#[cfg(all(loom, test))]\nmod tests { fn f() { x.load(Ordering::SeqCst) } }\n";
        let found = check(&Tree::of([("crates/hz3/src/a.rs", text)]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "crates/hz3/src/a.rs:1");
    }
}
