//! Writes the figures of the pages from what was recorded, so that no figure is typed.
//!
//! A page has `<!-- numbers: NAME -->` and `<!-- end of numbers -->`; what stands between them is
//! written from the CSV in `docs/benchmarks/` that the table `NAME` is made of.

mod beside;
mod cost;
mod digits;
mod global;
mod paragraph;
mod picture;
mod recording;
mod scaling;
mod tables;

use std::fmt::Write;
use std::fs;

use hz3_tools::{Failure, Result};

use crate::shell;
use paragraph::paragraph;
use recording::Recording;
use tables::TABLES;

const BEGIN: &str = "<!-- numbers: ";
const END: &str = "<!-- end of numbers -->";
/// The line below figures that are older than the allocator.
const NOTE: &str = "The allocator has changed since.";
/// The beginning of the load of a recording if other work ran.
const BESIDE: &str = "BESIDE OTHER WORK:";
/// The paths whose change makes figures older than the code.
const CODE: &str = "crates/hz3/src";

/// Writes all tables and the picture, and says how old the figures are.
pub(crate) fn run() -> Result {
    let read = |file: &str| fs::read_to_string(shell::root().join(file)).ok();
    let listing = shell::capture(shell::program("git").args(["ls-files", "*.md"]))?;
    for page in listing.lines() {
        let Some(text) = read(page) else { continue };
        let renewed =
            renew(&text, read, |commit, _| is_older(commit)).map_err(|error| error.during(page))?;
        if renewed != text {
            fs::write(shell::root().join(page), renewed)?;
            println!("wrote {page}");
        }
    }
    fs::write(shell::root().join(picture::FILE), picture::svg(&open(picture::SOURCE, read)?))?;
    let mut sources: Vec<&str> = TABLES.iter().map(|table| table.source).collect();
    sources.dedup();
    for source in sources {
        // A page that shows a table without its recording has failed above.
        let age = open(source, read).map(|recording| age(recording.fact("commit")));
        println!("{source}: {}", age.unwrap_or_else(|error| error.to_string()));
    }
    Ok(())
}

/// Says what in the pages differs from the recordings: the file and what is wrong.
pub(crate) fn stale<'a>(
    pages: impl Iterator<Item = (&'a str, &'a str)>,
    read: impl Fn(&str) -> Option<String> + Copy,
) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (page, text) in pages.filter(|(_, text)| text.contains(BEGIN)) {
        // The note may be broken into two lines.
        match renew(text, read, |_, old| old.replace('\n', " ").contains(NOTE)) {
            Ok(renewed) if renewed == text => {}
            Ok(_) => found.push((page.to_owned(), "figures differ from the CSV".to_owned())),
            Err(error) => found.push((page.to_owned(), error.to_string())),
        }
    }
    if let Some(picture) = read(picture::FILE) {
        let fresh = open(picture::SOURCE, read).map(|recording| picture::svg(&recording));
        if fresh.is_ok_and(|fresh| fresh != picture) {
            found.push((picture::FILE.to_owned(), "differs from the CSV".to_owned()));
        }
    }
    found
}

/// Returns the page with every table written anew. `is_older` tells from a commit and the old text
/// whether the figures are older than the allocator.
fn renew(
    page: &str,
    read: impl Fn(&str) -> Option<String> + Copy,
    is_older: impl Fn(&str, &str) -> bool,
) -> Result<String> {
    let mut parts = page.split(BEGIN);
    let mut renewed = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let broken = || Failure::new("a table of numbers without its end");
        let (name, rest) = part.split_once(" -->\n").ok_or_else(broken)?;
        let (old, after) = rest.split_once(END).ok_or_else(broken)?;
        let table = TABLES.iter().find(|table| table.name == name);
        let table = table.ok_or_else(|| Failure::new(format!("no table `{name}`")))?;
        let recording = open(table.source, read)?;
        let note = if is_older(recording.fact("commit"), old) { NOTE } else { "" };
        let origin = paragraph(&[&origin(&recording), note]);
        let table = (table.make)(&recording);
        let _ = write!(renewed, "{BEGIN}{name} -->\n\n{table}\n{origin}\n{END}");
        renewed += after;
    }
    Ok(renewed)
}

/// Says when, at which commit, on what and beside what a recording was made.
fn origin(recording: &Recording) -> String {
    let facts = ["date", "commit", "cpu", "cpu model"].map(|fact| recording.fact(fact));
    let [date, commit, cpu, model] = facts;
    let date = date.split(' ').next().unwrap_or_default();
    let model = if model.is_empty() { String::new() } else { format!(", {model}") };
    let beside = recording.fact("load").split_once(BESIDE).map(|(_, load)| load);
    let beside = beside.and_then(|load| load.split(',').next());
    let beside = beside.map_or(String::new(), |load| format!(" Meanwhile{load}."));
    let commit = if commit == "unknown" {
        "a commit that is not recorded".to_owned()
    } else {
        format!("commit {commit}")
    };
    format!("Measured on {date} at {commit}, {cpu}{model}.{beside}")
}

fn open(source: &str, read: impl Fn(&str) -> Option<String>) -> Result<Recording> {
    let file = format!("docs/benchmarks/{source}.csv");
    let text = read(&file).ok_or_else(|| Failure::new(format!("{file} is missing")))?;
    Recording::parse(&text).map_err(|error| error.during(&file))
}

/// Whether the allocator has changed since a commit.
fn is_older(commit: &str) -> bool {
    !age(commit).ends_with(" is")
}

/// Says how many commits changed the allocator since the one that was measured.
fn age(commit: &str) -> String {
    let range = format!("{commit}..HEAD");
    match shell::capture(shell::program("git").args(["rev-list", "--count", &range, "--", CODE])) {
        Ok(count) if count.trim() == "0" => format!("commit {commit}, as {CODE} is"),
        Ok(count) => format!("commit {commit}; {} later ones changed {CODE}", count.trim()),
        Err(_) => format!("commit `{commit}` is not in this repository"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: &str = "# date: 2026-01-02 03:04:05\n# cpu: a CPU\n# commit: abc\n\
        # allocator hz3: version 1, x, digest 1\n\
        round,case,allocator,speed_per_s,peak_rss_kb\n0,a,hz3,2000000,2048\n";

    #[allow(clippy::unnecessary_wraps, reason = "as a reader of files is")]
    fn read(file: &str) -> Option<String> {
        (file == "docs/benchmarks/speed.csv").then(|| CSV.to_owned())
    }

    #[test]
    fn a_table_is_written_and_stays_as_it_is() {
        let page = "before\n<!-- numbers: speed -->\nold\n<!-- end of numbers -->\nafter\n";
        let renewed = renew(page, read, |_, _| false).unwrap();
        let expected = "before\n<!-- numbers: speed -->\n\n| | hz3 |\n|---|---|\n| a | **2,000** |\n\n\
            Measured on 2026-01-02 at commit abc, a CPU.\n\n<!-- end of numbers -->\nafter\n";
        assert_eq!(renewed, expected);
        assert_eq!(renew(&renewed, read, |_, _| false).unwrap(), expected);
        let noted = renew(page, read, |commit, _| commit == "abc").unwrap();
        assert!(noted.contains("a CPU. The allocator has changed since.\n"), "{noted}");
        assert_eq!(stale([("p.md", &*noted)].into_iter(), read), []);
        assert_eq!(stale([("p.md", expected)].into_iter(), read), []);
        let found = stale([("p.md", page)].into_iter(), read);
        assert_eq!(found, [("p.md".to_owned(), "figures differ from the CSV".to_owned())]);
    }

    #[test]
    fn the_origin_names_the_processor_and_other_work() {
        let csv = "# date: 2026-01-02 03:04:05\n# cpu: a CPU\n# cpu model: family 1\n# commit: abc\n\
            # load: MEASURED BESIDE OTHER WORK: other programs used 0.5 of 2 processors, steal 1 %\n\
            round\n";
        let said = origin(&Recording::parse(csv).unwrap());
        assert_eq!(
            said,
            "Measured on 2026-01-02 at commit abc, a CPU, family 1. Meanwhile other programs used 0.5 \
             of 2 processors."
        );
    }

    #[test]
    fn an_unknown_commit_is_said_to_be_one() {
        let said = origin(
            &Recording::parse("# date: 2026-01-02\n# commit: unknown\n# cpu: a CPU\nround\n")
                .unwrap(),
        );
        assert_eq!(said, "Measured on 2026-01-02 at a commit that is not recorded, a CPU.");
    }

    #[test]
    fn a_note_in_two_lines_is_found() {
        let long = CSV.replace("a CPU", &"a CPU ".repeat(8));
        let read = |file: &str| (file == "docs/benchmarks/speed.csv").then(|| long.clone());
        let page = "<!-- numbers: speed -->\n<!-- end of numbers -->\n";
        let noted = renew(page, read, |_, _| true).unwrap();
        assert!(!noted.contains(NOTE) && noted.contains("since."), "{noted}");
        assert_eq!(stale([("p.md", &*noted)].into_iter(), read), []);
    }

    #[test]
    fn an_unknown_table_and_a_missing_end_are_errors() {
        let renew = |page| renew(page, read, |_, _| false);
        assert!(renew("<!-- numbers: x -->\n<!-- end of numbers -->").is_err());
        assert!(renew("<!-- numbers: speed -->\n").is_err());
    }
}
