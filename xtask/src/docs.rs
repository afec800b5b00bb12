//! Writes `docs/internals.md`: the invariants and the locks, from the files that keep them.

use std::fs;

use hz3_tools::{Failure, Result};

use crate::check::source::Tree;
use crate::shell;

/// The page, from the root of the workspace.
pub(crate) const PAGE: &str = "docs/internals.md";
const SOURCES: &str = "crates/hz3/src/";
const RANKS: &str = "crates/hz3/src/os/rank.rs";

/// Writes the page.
pub(crate) fn run() -> Result {
    fs::write(shell::root().join(PAGE), page(&Tree::read()?)?)?;
    println!("wrote {PAGE}");
    Ok(())
}

/// Returns the page as it has to be.
pub(crate) fn page(tree: &Tree) -> Result<String> {
    let mut invariants: Vec<(u32, String)> = Vec::new();
    for (_, relative, text) in tree.rust_below(SOURCES) {
        for paragraph in head(text).split("\n\n").filter(|part| part.starts_with("**I-")) {
            let digits = paragraph.trim_start_matches("**I-").split('.').next().unwrap_or_default();
            let number = digits.parse().map_err(|_| Failure::new(format!("I-{digits}")))?;
            let text = paragraph.trim_end().replace('\n', "\n  ");
            invariants.push((number, format!("- {text}\n  (`{relative}`)\n")));
        }
    }
    invariants.sort();
    let ranks = tree.text(RANKS).ok_or_else(|| Failure::new(format!("{RANKS} is missing")))?;
    let invariants: String = invariants.into_iter().map(|(_, text)| text).collect();
    Ok(format!(
        "# Invariants and locks\n\n\
         <!-- Written by `cargo xtask docs` from the heads of the files; do not edit. -->\n\n\
         Comments in the code cite the invariants by number. Each atomic ordering other than `Relaxed`\n\
         says beside it what it pairs with: `grep -rn 'pairs with' {SOURCES}`.\n\n\
         ## Invariants\n\n{invariants}\n\
         ## Locks\n\n{}\n\n| rank | lock | |\n|---|---|---|\n{}",
        head(ranks).trim_end(),
        locks(ranks)
    ))
}

/// Returns the text of the `//!` lines at the head of a file.
fn head(text: &str) -> String {
    let lines = text.lines().map_while(|line| line.strip_prefix("//!"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// Returns one row a rank: its number, its name, and its doc comment in one line.
fn locks(text: &str) -> String {
    let (mut rows, mut doc) = (String::new(), Vec::new());
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("/// ") {
            doc.push(comment);
        } else if let Some(constant) = line.strip_prefix("pub(crate) const ") {
            let (name, value) = constant.split_once(": u8 = ").unwrap_or((constant, ""));
            let (name, value) = (name.to_lowercase(), value.trim_end_matches(';'));
            rows += &["| ", value, " | ", &name, " | ", &doc.join(" "), " |\n"].concat();
            doc.clear();
        } else {
            doc.clear();
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_made_of_heads_and_ranks() {
        let tree = Tree::of([
            (
                "crates/hz3/src/b.rs",
                "//! B.\n//!\n//! **I-2.** Two\n//! lines.\n\ncode // **I-3.**\n",
            ),
            ("crates/hz3/src/a.rs", "//! **I-1.** One.\n"),
            (
                RANKS,
                "//! The locks.\n\n/// The first,\n/// of two.\npub(crate) const START: u8 = 0;\n",
            ),
        ]);
        let page = page(&tree).unwrap();
        assert!(
            page.contains(
                "\n- **I-1.** One.\n  (`a.rs`)\n- **I-2.** Two\n  lines.\n  (`b.rs`)\n\n"
            ),
            "{page}"
        );
        assert!(page.contains("The locks.\n\n| rank"), "{page}");
        assert!(page.ends_with("| 0 | start | The first, of two. |\n"), "{page}");
    }

    #[test]
    fn without_ranks_there_is_no_page() {
        assert!(page(&Tree::of([("crates/hz3/src/a.rs", "")])).is_err());
    }
}
