//! The documents name what exists: every path and function in backticks, and every file of a link.

use std::collections::BTreeSet;

use pulldown_cmark::{Event, Parser, Tag};

use super::Finding;
use super::source::{Tree, code, has_extension, line, words};

/// Extensions of files that live in this repository.
const EXTENSIONS: [&str; 11] =
    ["rs", "md", "toml", "c", "cpp", "h", "py", "pl", "sh", "yml", "lock"];

/// Paths of the system, of build results and of other crates are not ours to check.
const ELSEWHERE: [&str; 9] =
    ["/", "~", "target/", "http", "std::", "core::", "alloc::", "libc::", "loom::"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let known = vocabulary(tree);
    let mut findings = Vec::new();
    for (file, text) in tree.files().filter(|(file, _)| has_extension(file, "md")) {
        let names = is_document(file);
        for (event, range) in Parser::new(text).into_offset_iter() {
            let what = match event {
                Event::Code(term) if names => fault(tree, &known, file, &term),
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    broken(tree, file, &dest_url)
                }
                _ => None,
            };
            findings.extend(what.map(|what| Finding::new(file, line(text, range.start), what)));
        }
    }
    findings
}

/// README, ARCHITECTURE and docs; decisions tell of what is gone by their nature.
fn is_document(file: &str) -> bool {
    let top = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "RELEASING.md", "SECURITY.md"];
    let ours = top.contains(&file) || ["docs/", "packaging/"].iter().any(|at| file.starts_with(at));
    ours && !file.starts_with("docs/decisions/")
}

/// Returns every identifier that stands in code, as opposed to comments and strings.
fn vocabulary(tree: &Tree) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for (file, text) in tree.files() {
        let text = if has_extension(file, "rs") { code(text) } else { text.to_owned() };
        if ["rs", "c", "cpp", "h", "py"].iter().any(|extension| has_extension(file, extension)) {
            known.extend(words(&text).map(str::to_owned));
        }
    }
    known
}

/// Returns the fault of a link to a file of this repository, if it has one.
fn broken(tree: &Tree, document: &str, link: &str) -> Option<String> {
    let path = link.split('#').next()?;
    if path.is_empty() || path.contains("://") {
        return None;
    }
    let mut folders: Vec<&str> = document.split('/').collect();
    folders.pop();
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        match part {
            ".." => drop(folders.pop()),
            name => folders.push(name),
        }
    }
    let target = folders.join("/");
    let inside = format!("{target}/");
    let found = tree.files().any(|(file, _)| file == target || file.starts_with(&inside));
    (!found).then(|| format!("the link to {link} leads nowhere"))
}

/// Returns the fault of a term that names a missing path or function.
fn fault(tree: &Tree, known: &BTreeSet<String>, document: &str, term: &str) -> Option<String> {
    if term.contains(char::is_whitespace) || ELSEWHERE.iter().any(|start| term.starts_with(start)) {
        return None;
    }
    if is_path(term) {
        return (!exists(tree, document, term))
            .then(|| format!("`{term}` is not in the repository"));
    }
    let name = function(term)?;
    (!known.contains(name)).then(|| format!("`{term}`: no code has the name `{name}`"))
}

fn is_path(term: &str) -> bool {
    let plain = term.chars().all(|c| c.is_alphanumeric() || "_-./".contains(c));
    let file = EXTENSIONS.iter().any(|extension| has_extension(term, extension));
    plain && (file || (term.ends_with('/') && term.len() > 1))
}

/// Returns whether a path exists from the root, from the document, or as the end of a longer path.
fn exists(tree: &Tree, document: &str, term: &str) -> bool {
    let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
    let beside = term.strip_prefix("./").unwrap_or(term);
    let inside = format!("/{beside}");
    tree.files().any(|(file, _)| {
        let near = file.strip_prefix(folder).unwrap_or(file).trim_start_matches('/');
        if term.ends_with('/') {
            file.starts_with(beside) || near.starts_with(beside) || file.contains(&inside)
        } else {
            file == beside || near == beside || file.ends_with(&inside)
        }
    })
}

/// Returns the identifier that a term such as `f()`, `a::b` or `Type::f(x)` ends in.
fn function(term: &str) -> Option<&str> {
    let path = term.split(['(', '<', '!', '{']).next()?;
    let calls = term[path.len()..].starts_with('(');
    let plain = path.chars().all(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '.');
    let name = path.rsplit(['.', ':']).next().filter(|name| !name.is_empty())?;
    (plain && (calls || path.contains("::"))).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    const CODE: (&str, &str) =
        ("crates/hz3/src/cache/stack.rs", "// gone_name\npub fn claim() {}\nstruct Deck;\n");

    #[test]
    fn what_exists_is_fine() {
        let text = "See `cache/stack.rs`, `crates/hz3/`, `docs/life.md`, `claim()`, `cache::stack::claim`, \
                    `Deck::claim(x)`, `target/release/x.rs`, `/proc/self/maps`, `std::thread::spawn`, \
                    `cargo xtask test`, `top - 1`, `HZ3_STATS=1`, `libhz3.so`.\n";
        let tree = Tree::of([CODE, ("README.md", text), ("docs/life.md", "Also `life.md`.")]);
        assert_eq!(check(&tree), []);
    }

    #[test]
    fn what_is_gone_is_found() {
        let text = "`cache/stolen.rs` and\n`gone_name()`, `Deck::shuffle`, `attic/`\n";
        let tree = Tree::of([CODE, ("README.md", text)]);
        let expected = [
            "README.md:1: `cache/stolen.rs` is not in the repository",
            "README.md:2: `gone_name()`: no code has the name `gone_name`",
            "README.md:2: `Deck::shuffle`: no code has the name `shuffle`",
            "README.md:2: `attic/` is not in the repository",
        ];
        assert_eq!(lines(&check(&tree)), expected);
    }

    #[test]
    fn a_link_to_a_file_that_is_gone_is_found() {
        let text =
            "[a](../README.md#top) [b](c.md) ![p](../docs/) [d](https://x.y/z.md) [e](#here)\n";
        let tree = Tree::of([CODE, ("README.md", ""), ("docs/one.md", text)]);
        assert_eq!(lines(&check(&tree)), ["docs/one.md:1: the link to c.md leads nowhere"]);
    }

    #[test]
    fn fenced_text_decisions_and_other_pages_are_left_alone() {
        let fenced = "```\n`gone.rs`\n```\n";
        let tree = Tree::of([
            CODE,
            ("README.md", fenced),
            ("docs/decisions/one.md", "`gone.rs`"),
            ("NOTES.md", "`gone.rs`"),
        ]);
        assert_eq!(check(&tree), []);
    }
}
