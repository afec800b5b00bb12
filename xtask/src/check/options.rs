//! The options of the table are in the pages, and the pages name no other ones.

use std::collections::BTreeSet;

use super::Finding;
use super::source::{Tree, has_extension, words};

const TABLE: &str = "crates/hz3/src/options/table.rs";
/// Pages of which one explains each option.
const PAGES: [&str; 2] = ["docs/tuning.md", "docs/experiments/README.md"];
const PREFIX: &str = "HZ3_";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let explained: BTreeSet<&str> =
        PAGES.iter().filter_map(|page| tree.text(page)).flat_map(named).collect();
    for (index, line) in tree.text(TABLE).unwrap_or_default().lines().enumerate() {
        let Some(name) = line.split("setting(\"").nth(1).and_then(|rest| rest.split('"').next())
        else {
            continue;
        };
        if !explained.contains(format!("{PREFIX}{name}").as_str()) {
            let what = format!("{PREFIX}{name} is neither in {} nor in {}", PAGES[0], PAGES[1]);
            findings.push(Finding::new(TABLE, index + 1, what));
        }
    }
    let known = known(tree);
    for (file, text) in tree.files().filter(|(file, _)| has_extension(file, "md")) {
        let mut fenced = false;
        for (index, line) in text.lines().enumerate() {
            fenced ^= line.trim_start().starts_with("```");
            let unknown = named(line).filter(|name| !fenced && !known.contains(*name));
            findings.extend(unknown.map(|name| {
                Finding::new(file, index + 1, format!("{name} is no option, macro or counter"))
            }));
        }
    }
    findings
}

/// Returns the names with the prefix in a text.
fn named(text: &str) -> impl Iterator<Item = &str> {
    words(text).filter(|word| word.len() > PREFIX.len() && word.starts_with(PREFIX))
}

/// Returns all names with the prefix: the options, and the names that a source file defines.
fn known(tree: &Tree) -> BTreeSet<String> {
    let table = tree.text(TABLE).unwrap_or_default();
    let options = table.split("setting(\"").skip(1).filter_map(|rest| rest.split('"').next());
    let mut known: BTreeSet<String> = options.map(|name| format!("{PREFIX}{name}")).collect();
    let extensions = ["rs", "c", "h", "map", "sh"];
    let sources = tree.files().filter(|(file, _)| {
        !file.starts_with("xtask/") && extensions.iter().any(|name| has_extension(file, name))
    });
    known.extend(sources.flat_map(|(_, text)| named(text)).map(str::to_owned));
    known
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    #[test]
    fn options_that_are_explained_and_exist_are_fine() {
        let table = (TABLE, "setting(\"TICK\", x),\nsetting(\"LIMIT\", x),\n");
        let tree = Tree::of([
            table,
            (PAGES[0], "`HZ3_TICK`\n```text\nHZ3_TIC\n```\n"),
            (PAGES[1], "`HZ3_LIMIT`, [HZ3_LINE]\n"),
            ("crates/hz3/src/log.rs", "\"[HZ3_LINE]\""),
        ]);
        assert_eq!(check(&tree), []);
    }

    #[test]
    fn an_option_without_words_and_words_without_an_option_are_found() {
        let tree = Tree::of([
            (TABLE, "\nsetting(\"TICK\", x),\n"),
            (PAGES[0], ""),
            ("README.md", "HZ3_TOCK"),
        ]);
        let expected = [
            "crates/hz3/src/options/table.rs:2: HZ3_TICK is neither in docs/tuning.md nor in docs/experiments/README.md",
            "README.md:1: HZ3_TOCK is no option, macro or counter",
        ];
        assert_eq!(lines(&check(&tree)), expected);
    }
}
