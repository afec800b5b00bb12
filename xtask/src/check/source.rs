//! The files of the repository, and Rust text without its comments and strings.

use std::collections::BTreeMap;
use std::fs;

use hz3_tools::{Failure, Result};
use ra_ap_rustc_lexer::{FrontmatterAllowed, LiteralKind, Token, TokenKind, tokenize};

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

    /// Returns a tree of these files, for tests of the checks.
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

    /// Returns the Rust files below a directory (which ends in `/`), with their names relative to
    /// it.
    pub(crate) fn rust_below(&self, directory: &str) -> impl Iterator<Item = (&str, &str, &str)> {
        self.files().filter_map(move |(name, text)| {
            let relative = name.strip_prefix(directory)?;
            has_extension(name, "rs").then_some((name, relative, text))
        })
    }
}

/// Returns whether a file name ends in this extension.
pub(super) fn has_extension(name: &str, extension: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, found)| found == extension)
}

/// Returns the tokens of Rust text, blanks and comments among them.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = (&str, TokenKind)> {
    let mut rest = text;
    tokenize(text, FrontmatterAllowed::No).map(move |Token { kind, len }| {
        let (token, after) = rest.split_at(len as usize);
        rest = after;
        (token, kind)
    })
}

/// Rust code with every comment and every string and character literal blanked. Lines stay, and
/// columns in characters.
pub(super) fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (token, kind) in tokens(text) {
        let is_code = match kind {
            TokenKind::LineComment { .. } | TokenKind::BlockComment { .. } => false,
            TokenKind::Literal { kind, .. } => {
                matches!(kind, LiteralKind::Int { .. } | LiteralKind::Float { .. })
            }
            _ => true,
        };
        out.extend(token.chars().map(|c| if is_code || c == '\n' { c } else { ' ' }));
    }
    out
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

/// Returns the end of the block that opens at `open`, or just past `open` if it's no brace.
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

/// Returns the number of the line in which a byte of a text stands.
pub(super) fn line(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Returns the words (identifiers) of a text.
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
