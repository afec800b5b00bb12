//! The form of the pages: how wide, how long a sentence, which words, how much altogether.

use super::Finding;
use super::source::{Tree, has_extension};

/// Columns of a line that is no table, heading or code.
const WIDTH: usize = 100;
/// Words of a sentence.
const SENTENCE: usize = 30;
/// Words of a dialect of our own; the field has others (eventcount, adopt, mark dirty, target).
const OURS: [&str; 9] =
    ["doze", "nudge", "soil", "bury", "ledger", "laboratory", "whoever", "if you like", "by hand,"];
/// Words of all pages together.
const ALTOGETHER: usize = 15_000;
/// Bytes of the page that a newcomer reads first.
const ARCHITECTURE: (&str, usize) = ("ARCHITECTURE.md", 12 * 1024);

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut words = 0;
    for (file, text) in tree.files().filter(|(file, _)| has_extension(file, "md")) {
        words += count(text);
        if file == ARCHITECTURE.0 && text.len() > ARCHITECTURE.1 {
            let what = format!("{} bytes, at most {}", text.len(), ARCHITECTURE.1);
            findings.push(Finding { place: file.into(), what });
        }
        if !text.contains("do not edit. -->") {
            page(file, text, &mut findings);
        }
    }
    if words > ALTOGETHER {
        let what = format!("{words} words in all pages, at most {ALTOGETHER}");
        findings.push(Finding { place: "docs".into(), what });
    }
    findings
}

/// Looks at the lines and sentences of one page.
fn page(file: &str, text: &str, findings: &mut Vec<Finding>) {
    let mut fenced = false;
    // The sentence so far, and the line in which it began.
    let (mut sentence, mut began) = (0, 1);
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let prose = !fenced && !line.starts_with(['|', '#', '<', '!']) && !line.contains("```");
        if prose && line.chars().count() > WIDTH && !line.contains("://") {
            let what = format!("{} columns, at most {WIDTH}", line.chars().count());
            findings.push(Finding::new(file, index + 1, what));
        }
        let item = line.trim_start().starts_with("- ")
            || line
                .trim_start()
                .split_once(". ")
                .is_some_and(|(number, _)| number.parse::<u32>().is_ok());
        if !prose || line.trim().is_empty() || item {
            sentence = 0;
        }
        if !prose {
            continue;
        }
        let lower = format!(" {} ", line.to_lowercase());
        for word in OURS.iter().filter(|word| lower.contains(&format!(" {word} "))) {
            findings.push(Finding::new(
                file,
                index + 1,
                format!("\"{word}\" is a word of our own"),
            ));
        }
        for word in plain(line).split_whitespace() {
            if sentence == 0 {
                began = index + 1;
            }
            sentence += usize::from(word.chars().any(char::is_alphabetic));
            if sentence == SENTENCE + 1 {
                let what = format!("a sentence of more than {SENTENCE} words");
                findings.push(Finding::new(file, began, what));
            }
            let end = word.trim_end_matches(['"', ')', '*', '_', ']']);
            if end.ends_with(['.', ':', ';', '?', '!']) {
                sentence = 0;
            }
        }
    }
}

/// Returns a line with each piece of code as one word.
fn plain(line: &str) -> String {
    let parts = line.split('`').enumerate();
    parts.map(|(index, part)| if index % 2 == 0 { part } else { "x" }).collect()
}

/// Words of a text outside its code: what stands between blanks and has a letter.
fn count(text: &str) -> usize {
    let prose = text.split("```").step_by(2).flat_map(str::split_whitespace);
    prose.filter(|word| word.chars().any(char::is_alphabetic)).count()
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    fn of(page: &str) -> Vec<String> {
        lines(&check(&Tree::of([("docs/a.md", page)])))
    }

    #[test]
    fn short_lines_and_sentences_are_fine() {
        let nineteen = "word ".repeat(18) + "end.";
        let page = format!(
            "# {nineteen}{nineteen}\n\n{nineteen}\n{nineteen}\n- {nineteen}\n| {nineteen}{nineteen} |\n"
        );
        assert_eq!(of(&page), [""; 0]);
        assert_eq!(of(&format!("```text\n{}\n```\n", "word ".repeat(40))), [""; 0]);
    }

    #[test]
    fn wide_lines_and_long_sentences_are_found() {
        let expected = "docs/a.md:1: 104 columns, at most 100";
        assert_eq!(of(&format!("{}\n", "a123 ".repeat(20) + "four")), [expected]);
        let sixteen = "word ".repeat(16);
        let expected = "docs/a.md:2: a sentence of more than 30 words";
        assert_eq!(of(&format!("One.\n{sixteen}\n{sixteen}\n")), [expected]);
    }

    #[test]
    fn words_of_a_dialect_are_found() {
        assert_eq!(of("A ledger of it.\n"), ["docs/a.md:1: \"ledger\" is a word of our own"]);
        assert_eq!(of("A soiled page, `nudge`.\n"), [""; 0]);
    }

    #[test]
    fn too_much_altogether_is_found() {
        let page = "One two three.\n".repeat(5001);
        assert_eq!(of(&page), ["docs: 15003 words in all pages, at most 15000"]);
    }

    #[test]
    fn the_first_page_stays_short() {
        let tree = Tree::of([("ARCHITECTURE.md", &*"One.\n".repeat(3000))]);
        assert_eq!(lines(&check(&tree)), ["ARCHITECTURE.md: 15000 bytes, at most 12288"]);
    }
}
