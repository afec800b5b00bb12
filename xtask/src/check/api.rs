//! The public interface of crate hz3 is the one that was agreed on: every public item stands in a
//! golden file, so that none is added or removed unnoticed.
//!
//! The compiler's lint `unreachable_pub` denies a plain `pub` for what users cannot reach, so the
//! plain `pub`s of the sources are the interface.

use std::fmt::Write;
use std::fs;

use hz3_tools::Result;

use super::Finding;
use super::source::{Tree, code};
use crate::shell;

const GOLDEN: &str = "crates/hz3/api.txt";
const SOURCES: &str = "crates/hz3/src/";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let golden = tree.text(GOLDEN).unwrap_or_default();
    let listing = listing(tree);
    let only_in = |one: &str, other: &str, what: &str| -> Vec<Finding> {
        let lines: Vec<&str> = other.lines().collect();
        let missing = one.lines().enumerate().filter(|(_, line)| !lines.contains(line));
        let hint = "cargo xtask api takes the change over";
        missing
            .map(|(index, line)| {
                Finding::new(GOLDEN, index + 1, format!("{what}: {line} ({hint})"))
            })
            .collect()
    };
    let mut findings = only_in(golden, &listing, "no longer public");
    findings.extend(only_in(&listing, golden, "newly public"));
    if findings.is_empty() && golden != listing {
        findings.push(Finding::new(GOLDEN, 1, "another order, or a line twice: cargo xtask api"));
    }
    findings
}

/// Writes today's interface to the golden file.
pub(crate) fn accept() -> Result {
    fs::write(shell::root().join(GOLDEN), listing(&Tree::read()?))?;
    Ok(())
}

/// Returns every public item, one a line, below the file that declares it.
fn listing(tree: &Tree) -> String {
    let mut out = String::new();
    for (_, relative, text) in tree.rust_below(SOURCES) {
        if relative.split('/').any(|part| part.trim_end_matches(".rs") == "tests") {
            continue;
        }
        let code = code(text);
        let lines: Vec<&str> = code.lines().map(str::trim).collect();
        let types: Vec<&str> = lines.iter().filter_map(|line| type_name(line)).collect();
        let items: Vec<String> =
            (0..lines.len()).filter_map(|index| item(&lines, index, &types)).collect();
        if !items.is_empty() {
            // A `String` takes everything.
            let _ = writeln!(out, "{relative}\n    {}", items.join("\n    "));
        }
    }
    out
}

/// Returns the public item that starts on a line, in one line of text.
fn item(lines: &[&str], index: usize, types: &[&str]) -> Option<String> {
    let line = lines[index];
    if line.starts_with("pub ") {
        let attributes = lines[..index].iter().rev().take_while(|line| line.starts_with("#["));
        let mut attributes: Vec<&str> = attributes.copied().filter(|line| shows(line)).collect();
        attributes.reverse();
        attributes.push("");
        // An enum's variants belong to it; what others have within braces speaks for itself.
        let is_whole = line.starts_with("pub enum") || line.starts_with("pub use");
        return Some(attributes.join(" ") + &declaration(&lines[index..], is_whole));
    }
    if line.ends_with("! {") && !line.starts_with("macro_rules!") && !types.is_empty() {
        // A table from which a macro makes a public type.
        return Some(declaration(&lines[index..], true));
    }
    let is_of_public_type = line.starts_with("impl") || line.starts_with("unsafe impl");
    let target = line.split_once(" for ").map(|(_, target)| target)?;
    let name = target.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    (is_of_public_type && types.contains(&name)).then(|| declaration(&lines[index..], false))
}

/// Returns whether users see an attribute.
fn shows(attribute: &str) -> bool {
    ["#[derive", "#[non_exhaustive", "#[must_use", "#[cfg", "#[repr"]
        .iter()
        .any(|shown| attribute.starts_with(shown))
}

/// Returns the name of the public type that a line declares.
fn type_name(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "))?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

/// Returns a declaration up to its body, or with it, with single spaces.
fn declaration(lines: &[&str], is_whole: bool) -> String {
    let mut text = String::new();
    let mut depth = 0i32;
    'lines: for line in lines.iter().filter(|line| !line.is_empty()) {
        for c in line.chars() {
            match c {
                '{' if !is_whole && depth == 0 => break 'lines,
                ';' | ',' if depth == 0 => break 'lines,
                '(' | '[' | '{' | '<' => depth += 1,
                '>' if text.ends_with('-') => {}
                ')' | ']' | '}' | '>' => depth -= 1,
                _ => {}
            }
            text.push(c);
            if is_whole && depth == 0 && c == '}' {
                break 'lines;
            }
        }
        text.push(' ');
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    const SOURCE: &str = "//! pub fn in a comment\n\
        pub use inner::{A,\n    B};\n\
        /// Docs.\n#[derive(Clone)]\n#[expect(x)]\npub struct C {\n    pub d: Option<E<1, { u32::MAX }>>,\n    f: u8,\n}\n\
        pub(crate) fn g() {}\n\
        impl C {\n    #[must_use]\n    pub const fn h(\n        mut self,\n    ) -> Result<C, (u8, u8)> {\n    }\n}\n\
        pub enum I {\n    /// One.\n    J,\n    K { l: u8 },\n}\n\
        unsafe impl Send for I {}\nimpl Send for Private {}\n\
        table! {\n    /// First.\n    first,\n    second,\n}\n";

    const LISTING: &str = "a.rs\n    pub use inner::{A, B}\n    #[derive(Clone)] pub struct C\n    \
        pub d: Option<E<1, { u32::MAX }>>\n    \
        #[must_use] pub const fn h( mut self, ) -> Result<C, (u8, u8)>\n    \
        pub enum I { J, K { l: u8 }, }\n    unsafe impl Send for I\n    table! { first, second, }\n";

    #[test]
    fn public_items_are_listed_and_others_are_not() {
        let tree =
            Tree::of([("crates/hz3/src/a.rs", SOURCE), ("crates/hz3/src/tests/b.rs", SOURCE)]);
        assert_eq!(listing(&tree), LISTING);
    }

    #[test]
    fn what_is_added_or_removed_is_found() {
        let tree = Tree::of([("crates/hz3/src/a.rs", SOURCE), (GOLDEN, LISTING)]);
        assert!(check(&tree).is_empty());
        let other = LISTING.replace("pub struct C", "pub struct D");
        let tree = Tree::of([("crates/hz3/src/a.rs", SOURCE), (GOLDEN, other.as_str())]);
        let found = lines(&check(&tree));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("no longer public:     #[derive(Clone)] pub struct D"));
        assert!(found[1].contains("newly public:     #[derive(Clone)] pub struct C"));
    }
}
