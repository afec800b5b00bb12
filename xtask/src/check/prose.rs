//! The language of comments and pages, as far as a program can judge it.
//!
//! Each crate may have as many findings of a rule as `xtask/prose.txt` says, and no more.
//! `cargo xtask prose` lists the findings; with `--shrink` it lowers the numbers to those of today.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;

use hz3_tools::{Failure, Result};
use ra_ap_rustc_lexer::{DocStyle, TokenKind};

use super::Finding;
use super::source::{Tree, code, has_extension, tokens, without_tests};
use crate::shell;

/// The accepted numbers, a line each: place, rule, number.
const ACCEPTED: &str = "xtask/prose.txt";
/// Columns of a comment's line, its indentation included.
const WIDTH: usize = 100;
/// Words of a sentence. Colons and semicolons end one, as on pages.
const SENTENCE: usize = 30;
/// Lines of a comment that is not the head of a file.
const LINES: usize = 8;

/// Words and phrases for which the field has a term, or that turn a sentence round.
const BANNED: &[(&str, &str)] = &[
    ("laboratory", "benchmark tool"),
    ("ledger", "experiment log"),
    ("scorecard", "targets"),
    ("roster", "candidates"),
    ("soil", "mark dirty"),
    ("soiled", "dirty"),
    ("soils", "marks dirty"),
    ("nudge", "poll"),
    ("nudged", "polled"),
    ("openings", "armed slow paths"),
    ("doze", "park"),
    ("dozes", "parks"),
    ("the C ABI", "the C API"),
    ("if you like", "optional"),
    ("for want of", "without"),
    ("whoever", "the thread, caller or program that"),
    ("who is certain", "the caller guarantees"),
    ("is had", "has"),
    ("no blocker", "does not block"),
    ("is no work left", "does not count as remaining work"),
    ("to speak of", "a number"),
    ("so to speak", "nothing"),
    ("give back the place", "undo"),
    ("gives back the place", "undoes"),
    ("SSOT", "the loop by what it does"),
    ("seeds'", "the experiments of the C hz3"),
    ("the seeds", "the experiments of the C hz3"),
    (", for it", "because it"),
    (", for they", "because they"),
    (", for there", "because there"),
    (", for nobody", "because no thread"),
    (", for its", "because its"),
];

/// Words that say nothing beside the name of the documented item.
const FILLER: &[&str] = &[
    "a", "an", "and", "are", "as", "for", "in", "is", "it", "its", "of", "on", "one", "our", "the",
    "this", "to", "with", "new", "returns", "number",
];

/// Words before the name in a declaration.
const KEYWORDS: [&str; 12] = [
    "async", "const", "enum", "extern", "fn", "mod", "static", "struct", "trait", "type", "unsafe",
    "mut",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rule {
    Wide,
    Sentence,
    Long,
    Subject,
    Phrase,
    Echo,
    Homonym,
}

impl Rule {
    const ALL: [Self; 7] = [
        Self::Wide,
        Self::Sentence,
        Self::Long,
        Self::Subject,
        Self::Phrase,
        Self::Echo,
        Self::Homonym,
    ];

    /// Returns the name in the list of accepted numbers.
    fn name(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Sentence => "sentence",
            Self::Long => "long",
            Self::Subject => "subject",
            Self::Phrase => "phrase",
            Self::Echo => "echo",
            Self::Homonym => "homonym",
        }
    }
}

/// Where a finding counts: a crate, `xtask`, `fuzz`, or `pages`.
type Place = String;

type Findings = BTreeMap<(Place, Rule), Vec<Finding>>;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let accepted = match read(tree.text(ACCEPTED).unwrap_or_default()) {
        Ok(accepted) => accepted,
        Err(fault) => return vec![fault],
    };
    let mut faults = Vec::new();
    for ((place, rule), findings) in findings(tree) {
        let limit = accepted.get(&(place.clone(), rule)).copied().unwrap_or(0);
        if findings.len() > limit {
            let what = format!(
                "{} findings of the rule `{}`, at most {limit}: `cargo xtask prose {place}` lists them",
                findings.len(),
                rule.name()
            );
            faults.push(Finding { place: place.clone(), what });
            // A short list is shown at once; the new ones of a long list are found by comparing.
            faults.extend(findings.into_iter().filter(|_| limit < 10));
        }
    }
    faults
}

/// Lists the findings, of one place or of all; with `shrink`, lowers the accepted numbers instead.
pub(crate) fn run(place: Option<&str>, shrink: bool) -> Result {
    let tree = Tree::read()?;
    let findings = findings(&tree);
    if shrink {
        let accepted = read(tree.text(ACCEPTED).unwrap_or_default())
            .map_err(|fault| Failure::new(format!("{}: {}", fault.place, fault.what)))?;
        let mut list = String::new();
        for ((place, rule), limit) in accepted {
            let now = findings.get(&(place.clone(), rule)).map_or(0, Vec::len).min(limit);
            if now > 0 {
                // A `String` takes everything.
                let _ = writeln!(list, "{place} {} {now}", rule.name());
            }
        }
        return Ok(fs::write(shell::root().join(ACCEPTED), list)?);
    }
    for ((at, rule), findings) in &findings {
        if place.is_none_or(|place| place == at) {
            println!("{at} {} {}", rule.name(), findings.len());
            for Finding { place, what } in findings.iter().filter(|_| place.is_some()) {
                println!("     {place}: {what}");
            }
        }
    }
    Ok(())
}

/// Returns the accepted numbers, by place and rule.
fn read(list: &str) -> std::result::Result<BTreeMap<(Place, Rule), usize>, Finding> {
    let mut accepted = BTreeMap::new();
    for (index, line) in list.lines().enumerate() {
        let words: Vec<&str> = line.split(' ').collect();
        let parsed = match words[..] {
            [place, rule, limit] => Rule::ALL
                .into_iter()
                .find(|known| known.name() == rule)
                .zip(limit.parse().ok())
                .map(|(rule, limit)| ((place.to_owned(), rule), limit)),
            _ => None,
        };
        let Some((key, limit)) = parsed else {
            let what = format!("`{line}`: expected a place, a rule and a number");
            return Err(Finding::new(ACCEPTED, index + 1, what));
        };
        accepted.insert(key, limit);
    }
    Ok(accepted)
}

fn findings(tree: &Tree) -> Findings {
    let mut found = Findings::new();
    let mut types: BTreeMap<(Place, String), BTreeSet<(String, usize)>> = BTreeMap::new();
    for (file, text) in tree.files() {
        let mut add = |rule, line, what: String| {
            let at = found.entry((place(file), rule)).or_default();
            at.push(Finding::new(file, line, what));
        };
        if has_extension(file, "md") {
            for (index, line) in text.lines().enumerate() {
                phrases(line, |what| add(Rule::Phrase, index + 1, what));
            }
        } else if has_extension(file, "rs") && !file.ends_with("check/prose.rs") {
            let lines: Vec<&str> = text.lines().collect();
            for comment in comments(text, &lines) {
                comment.judge(&lines, &mut add);
            }
            if !file.split('/').any(|part| part.trim_end_matches(".rs") == "tests") {
                let shipped = without_tests(&code(text));
                for (index, name) in declared(&shipped) {
                    let at = types.entry((place(file), name)).or_default();
                    at.insert((file.to_owned(), index + 1));
                }
            }
        }
    }
    for ((place, name), at) in types {
        let files: BTreeSet<&String> = at.iter().map(|(file, _)| file).collect();
        if files.len() > 1 {
            let list: Vec<String> =
                at.iter().map(|(file, line)| format!("{file}:{line}")).collect();
            let what = format!("types with one name: {}", list.join(", "));
            found.entry((place, Rule::Homonym)).or_default().push(Finding { place: name, what });
        }
    }
    found
}

/// `crates/hz3` for a file below it, `xtask` and the like for others, `pages` for Markdown.
fn place(file: &str) -> Place {
    if has_extension(file, "md") {
        return "pages".to_owned();
    }
    let parts = if file.starts_with("crates/") { 2 } else { 1 };
    file.split('/').take(parts).collect::<Vec<_>>().join("/")
}

/// Returns the types and traits that a file declares for others, each with the index of its line.
fn declared(code: &str) -> impl Iterator<Item = (usize, String)> {
    code.lines().enumerate().filter_map(|(index, line)| {
        let rest = line.strip_prefix("pub")?;
        let rest = rest.split_once(' ')?.1;
        let rest = ["struct ", "enum ", "trait ", "union "]
            .iter()
            .find_map(|kind| rest.strip_prefix("unsafe ").unwrap_or(rest).strip_prefix(kind))?;
        let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
        Some((index, name.to_owned()))
    })
}

/// Lines of comment that follow each other with one marker.
struct Comment<'a> {
    /// Index of the first line.
    first: usize,
    marker: &'static str,
    /// The lines without the marker.
    text: Vec<&'a str>,
}

/// Returns the line comments that have a line for themselves.
fn comments<'a>(text: &'a str, lines: &[&str]) -> Vec<Comment<'a>> {
    let mut all: Vec<Comment<'a>> = Vec::new();
    let mut index = 0;
    for (token, kind) in tokens(text) {
        if let TokenKind::LineComment { doc_style } = kind
            && lines[index].trim_start().starts_with("//")
        {
            let marker = match doc_style {
                Some(DocStyle::Outer) => "///",
                Some(DocStyle::Inner) => "//!",
                None => "//",
            };
            let text = &token[marker.len()..];
            match all.last_mut() {
                Some(last) if last.first + last.text.len() == index && last.marker == marker => {
                    last.text.push(text);
                }
                _ => all.push(Comment { first: index, marker, text: vec![text] }),
            }
        }
        index += token.matches('\n').count();
    }
    all
}

impl Comment<'_> {
    fn judge(&self, lines: &[&str], add: &mut impl FnMut(Rule, usize, String)) {
        let line = |index: usize| self.first + index + 1;
        if self.text.len() > LINES && self.marker != "//!" {
            let what = format!("a comment of {} lines, at most {LINES}", self.text.len());
            add(Rule::Long, line(0), what);
        }
        for (index, text) in self.text.iter().enumerate() {
            let columns = lines[self.first + index].chars().count();
            if columns > WIDTH && !text.contains("://") {
                add(Rule::Wide, line(index), format!("{columns} columns, at most {WIDTH}"));
            }
            phrases(text, |what| add(Rule::Phrase, line(index), what));
        }
        for (index, sentence) in self.sentences() {
            let words = sentence.split_whitespace().filter(|w| w.chars().any(char::is_alphabetic));
            let count = words.count();
            if count > SENTENCE {
                let what = format!("a sentence of {count} words, at most {SENTENCE}");
                add(Rule::Sentence, line(index), what);
            }
            let first = sentence.split_whitespace().next().unwrap_or_default();
            if ["Who", "Whoever", "What"].contains(&first) && !sentence.ends_with('?') {
                add(Rule::Subject, line(index), format!("`{first}` as the subject"));
            }
        }
        let after = self.first + self.text.len();
        if let (&[text], "///") = (&self.text[..], self.marker)
            && let Some(name) = documented(&lines[after..])
            && echoes(text, &name)
        {
            add(Rule::Echo, line(0), format!("says no more than the name `{name}`"));
        }
    }

    /// Returns the sentences, each with the index of the line in which it begins. Code is one word.
    fn sentences(&self) -> Vec<(usize, String)> {
        let mut all = Vec::new();
        let (mut sentence, mut began) = (String::new(), 0);
        let mut fenced = false;
        for (index, text) in self.text.iter().enumerate() {
            let text = text.trim();
            let fence = text.starts_with("```");
            fenced ^= fence;
            let starts_anew = text.is_empty() || text.starts_with(['#', '|', '-', '*']);
            if (fenced || fence || starts_anew) && !sentence.is_empty() {
                all.push((began, std::mem::take(&mut sentence)));
            }
            if fenced || fence || text.starts_with(['#', '|']) {
                continue;
            }
            let plain: String = text
                .split('`')
                .enumerate()
                .map(|(part, text)| if part % 2 == 0 { text } else { "x" })
                .collect();
            for word in plain.split_whitespace() {
                if sentence.is_empty() {
                    began = index;
                }
                sentence.push_str(word);
                let end = word.trim_end_matches(['"', ')', '*', '_', ']']);
                if end.ends_with(['.', ':', ';', '?', '!']) {
                    all.push((began, std::mem::take(&mut sentence)));
                } else {
                    sentence.push(' ');
                }
            }
        }
        if !sentence.is_empty() {
            all.push((began, sentence));
        }
        all
    }
}

fn phrases(text: &str, mut found: impl FnMut(String)) {
    let lower = text.to_lowercase();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    for (banned, better) in BANNED {
        let phrase = banned.to_lowercase();
        let stands = lower.match_indices(&phrase).any(|(at, _)| {
            let starts = phrase.starts_with(',') || !lower[..at].ends_with(is_word);
            starts && !lower[at + phrase.len()..].starts_with(is_word)
        });
        if stands {
            found(format!("`{}`: {better}", banned.trim_start_matches(", ")));
        }
    }
}

/// Returns the name of the item below a comment; `None` for an option of a command line, whose
/// comment is its help.
fn documented(lines: &[&str]) -> Option<String> {
    let mut lines = lines.iter().map(|line| line.trim());
    let item = loop {
        let line = lines.next()?;
        if line.starts_with("#[arg") || line.starts_with("#[command") || line.starts_with("#[value")
        {
            return None;
        }
        if !line.starts_with("#[") {
            break line;
        }
    };
    let item = item.strip_prefix("pub").map_or(item, |rest| {
        rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(rest, |(_, rest)| rest)
    });
    let mut words = item.split(|c: char| !c.is_alphanumeric() && c != '_');
    let name = words.find(|word| !word.is_empty() && !KEYWORDS.contains(word) && *word != "C")?;
    Some(name.to_owned())
}

/// Returns whether a comment has no word that the name does not have.
fn echoes(text: &str, name: &str) -> bool {
    let mut spaced = String::new();
    let mut before = ' ';
    for c in name.chars() {
        // `PAGE_SIZE` has its words apart already.
        if c.is_uppercase() && before.is_lowercase() {
            spaced.push(' ');
        }
        spaced.extend(c.to_lowercase());
        before = c;
    }
    let known: Vec<&str> = spaced.split(|c: char| !c.is_alphanumeric()).collect();
    let lower = text.to_lowercase();
    let mut words = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty() && !FILLER.contains(word));
    let stem = |word: &str| word.trim_end_matches('s').to_owned();
    let mut any = false;
    words.all(|word| {
        any = true;
        known.iter().any(|known| stem(known) == stem(word))
    }) && any
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    fn of(text: &str) -> Vec<String> {
        lines(&check(&Tree::of([("crates/hz3/src/a.rs", text)])))
    }

    #[test]
    fn plain_comments_pass() {
        let text = "//! Counts pages.\n\n/// Bytes of a page.\nconst PAGE_SIZE: usize = 4096;\n\
            // A reader waits because the writer is not done.\nfn f() {}\n";
        assert_eq!(of(text), [""; 0]);
    }

    #[test]
    fn a_string_has_no_comments() {
        let wide = "a".repeat(98);
        assert_eq!(of(&format!("const A: &str = \"\n// {wide}\n\"; // {wide}\n")), [""; 0]);
    }

    #[test]
    fn every_rule_finds_its_fault() {
        let long = "word ".repeat(31);
        let nine = "// a\n".repeat(9);
        for (text, rule) in [
            (format!("// {}", "a".repeat(98)), Rule::Wide),
            (format!("// {long}\n"), Rule::Sentence),
            (nine, Rule::Long),
            ("/// What it costs.\nfn f() {}\n".to_owned(), Rule::Subject),
            ("// It waits, for it must.\n".to_owned(), Rule::Phrase),
            ("/// The page size.\nconst PAGE_SIZE: usize = 1;\n".to_owned(), Rule::Echo),
        ] {
            let found = findings(&Tree::of([("crates/hz3/src/a.rs", text.as_str())]));
            assert!(found.contains_key(&("crates/hz3".to_owned(), rule)), "{rule:?}: {found:?}");
        }
        let one = "pub(crate) struct Policy;\n";
        let tree = Tree::of([("crates/hz3/src/a.rs", one), ("crates/hz3/src/b.rs", one)]);
        let found = lines(&check(&tree));
        assert!(found[0].starts_with("crates/hz3: 1 findings of the rule `homonym`"), "{found:?}");
        assert!(found[1].starts_with("Policy: types with one name: "), "{found:?}");
    }

    #[test]
    fn as_many_as_accepted_pass_and_one_more_does_not() {
        let text = "// Whoever waits.\n// If you like.\n";
        let tree = |limit| Tree::of([("crates/hz3/src/a.rs", text), (ACCEPTED, limit)]);
        let both = "crates/hz3 phrase 2\ncrates/hz3 subject 1\n";
        assert_eq!(lines(&check(&tree(both))), [""; 0]);
        let found = lines(&check(&tree("crates/hz3 phrase 1\ncrates/hz3 subject 1\n")));
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("2 findings of the rule `phrase`, at most 1"), "{found:?}");
        assert_eq!(check(&tree("crates/hz3 phrases 1\n")).len(), 1);
    }
}
