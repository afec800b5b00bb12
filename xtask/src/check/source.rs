//! The files of the repository, and Rust text without its comments and strings.

use std::collections::BTreeMap;
use std::fs;

use hz3_programs::{Failure, Result};

use crate::shell;

/// Every file that git knows or would add, with its text where it is text.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    /// Reads the repository.
    pub(crate) fn read() -> Result<Self> {
        let mut git = shell::program("git");
        let listing =
            shell::capture(git.args(["ls-files", "--cached", "--others", "--exclude-standard"]))?;
        let mut files = BTreeMap::new();
        for name in listing.lines() {
            let path = shell::root().join(name);
            // A file that is deleted but not yet committed as such is in the listing and not there.
            if path.is_file() {
                let text = String::from_utf8(fs::read(&path)?).unwrap_or_default();
                files.insert(name.to_owned(), text);
            }
        }
        if files.is_empty() {
            return Err(Failure::new("the repository has no files"));
        }
        Ok(Self { files })
    }

    /// A tree of these files, for tests of the checks.
    #[cfg(test)]
    pub(crate) fn of<const N: usize>(files: [(&str, &str); N]) -> Self {
        Self { files: files.map(|(name, text)| (name.to_owned(), text.to_owned())).into() }
    }

    pub(crate) fn text(&self, file: &str) -> Option<&str> {
        self.files.get(file).map(String::as_str)
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// The Rust files below a directory (which ends in `/`), with their names relative to it.
    pub(crate) fn rust_below(&self, directory: &str) -> impl Iterator<Item = (&str, &str, &str)> {
        self.files().filter_map(move |(name, text)| {
            let relative = name.strip_prefix(directory)?;
            has_extension(name, "rs").then_some((name, relative, text))
        })
    }
}

/// Whether a file name ends in this extension.
pub(super) fn has_extension(name: &str, extension: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, found)| found == extension)
}

/// Rust code with every comment and every string and character literal blanked. Lines and columns
/// stay.
pub(super) fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, keep) = token(rest, first, out.chars().last());
        for c in rest[..length].chars() {
            out.push(if keep || c == '\n' { c } else { ' ' });
        }
        rest = &rest[length..];
    }
    out
}

/// How long the token at the front is, and whether it is code.
fn token(rest: &str, first: char, before: Option<char>) -> (usize, bool) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), false);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), false);
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if !in_word && let Some(length) = raw_string(rest) {
        return (length, false);
    }
    match first {
        '"' => (quoted(rest), false),
        '\'' => character(rest).map_or((1, true), |length| (length, false)),
        _ => (first.len_utf8(), true),
    }
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of `r"..."`, `r#"..."#`, `br"..."` at the front.
fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let head = rest.len() - body.len();
    Some(body.find(&end).map_or(rest.len(), |found| head + found + end.len()))
}

/// The length of the string literal at the front.
fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of the character literal at the front; `None` for a lifetime.
fn character(rest: &str) -> Option<usize> {
    let body = &rest[1..];
    if let Some(escape) = body.strip_prefix('\\') {
        let skipped = escape.chars().next()?.len_utf8();
        return escape[skipped..].find('\'').map(|end| 2 + skipped + end + 1);
    }
    let first = body.chars().next()?;
    body[first.len_utf8()..].starts_with('\'').then(|| first.len_utf8() + 2)
}

/// Code (without comments) with every item blanked that exists in tests only, such as
/// `#[cfg(test)] mod ... { ... }`.
pub(super) fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    let mut from = 0;
    while let Some(found) = out[from..].find("#[cfg(") {
        let start = from + found;
        let condition = out[start..].lines().next().unwrap_or_default();
        if !words(condition).any(|word| word == "test") || condition.contains("not(test)") {
            from = start + 1;
            continue;
        }
        let Some(open) = out[start..].find(['{', ';']).map(|at| start + at) else { break };
        let end = closing(&out, open);
        let blank: String =
            out[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        from = start + blank.len();
        out.replace_range(start..end, &blank);
    }
    out
}

/// The end of the block that opens at `open`, or just past `open` if it's no brace.
fn closing(text: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, c) in text[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + at + c.len_utf8();
        }
    }
    text.len()
}

/// The words (identifiers) of a text.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_code_stays_in_its_column() {
        let text =
            "let a = \"use crate::x // no\"; // crate::y\nlet b: &'static str = r#\"cr\"ate\"#;";
        let code = code(text);
        assert!(!code.contains("crate"), "{code}");
        assert_eq!(code.lines().count(), 2);
        assert_eq!(code.find("let b"), text.find("let b"));
        assert!(code.contains("&'static str"));
    }

    #[test]
    fn characters_lifetimes_and_nested_comments_are_told_apart() {
        assert_eq!(code("f('\"', '\\'', 'x'); g::<'a>()").replace(' ', ""), "f(,,);g::<'a>()");
        assert_eq!(code("a /* b /* c */ d */ e").replace(' ', ""), "ae");
        assert_eq!(code(r#"x("a\"b", y)"#).replace(' ', ""), "x(,y)");
        assert_eq!(code("for r in bar\"\" {}").replace(' ', ""), "forrinbar{}");
    }

    #[test]
    fn test_modules_are_blanked_and_what_follows_stays() {
        let code = "#[cfg(not(test))]\nfn a() {}\n#[cfg(test)]\nmod tests { fn b() { {} } }\n\
                    #[cfg(loom)]\nfn c() {}\n#[cfg(all(loom, test))]\nmod d;\nfn e() {}";
        let rest = without_tests(code);
        assert!(rest.contains("fn a") && rest.contains("fn c") && rest.contains("fn e"));
        assert!(!rest.contains("fn b") && !rest.contains("mod d"));
        assert_eq!(rest.lines().count(), code.lines().count());
    }
}
