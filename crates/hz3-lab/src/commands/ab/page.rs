//! An experiment for people: in the terminal, as a page of the experiment log, as a line of its
//! index.

use super::experiment::Experiment;
use crate::experiment::cases::What;
use crate::experiment::verdict::{Changes, memory_of};
use crate::peers::Peer;
use crate::stats::estimate::Estimate;
use crate::stats::median;
use crate::text;
use std::fmt::Write;
use std::path::Path;

const HEADS: [&str; 7] =
    ["case", "baseline speed", "speed change", "95 %", "baseline memory", "memory change", "95 %"];

/// Formats changes, findings and verdict as text.
pub(super) fn terminal(experiment: &Experiment) -> String {
    let mut table = text::table::plain(&HEADS, 1);
    for row in rows(experiment) {
        table.add_row(row);
    }
    let verdict = &experiment.verdict;
    let load = experiment.record.load().map(|load| load + "\n\n");
    let mut out = load.unwrap_or_default() + &table.trim_fmt();
    let _ = write!(out, "\nspeed: {}\n", experiment.record.measure.unit());
    let _ = write!(out, "claim: {}\n\n", experiment.criteria.claim.words());
    let mut findings = text::table::plain(&["criterion", "found", "wanted", ""], 4);
    for f in &verdict.findings {
        findings.add_row([&f.criterion, &f.found, &f.wanted, f.decision.word()]);
    }
    out += &findings.trim_fmt();
    for (case, peer, reason) in experiment.record.failures() {
        let _ = write!(out, "\nFAILED: {} on {}: {reason}", case.name, peer.name);
    }
    let _ = write!(out, "\n\n{}: {}.", verdict.decision.word(), verdict.reason);
    out
}

/// One row a case, and one for all.
fn rows(experiment: &Experiment) -> Vec<[String; 7]> {
    let record = &experiment.record;
    let changes = Changes::of(record);
    let of_base = |case: usize, figure: fn(&crate::experiment::trial::Figures) -> Option<f64>| {
        median(&record.results(case, 0).filter_map(|(_, f)| figure(f)).collect::<Vec<_>>())
    };
    let mut rows: Vec<[String; 7]> = Vec::new();
    for (i, (case, (speed, memory))) in record.cases.iter().zip(&changes.cases).enumerate() {
        let [speed, speed_interval] = change(speed.as_ref());
        let [memory, memory_interval] = change(memory.as_ref());
        let base_speed = of_base(i, |f| f.speed).map_or("-".to_owned(), text::si);
        let base_memory = of_base(i, memory_of).map_or("-".to_owned(), text::kib);
        let name = case.name.clone();
        rows.push([name, base_speed, speed, speed_interval, base_memory, memory, memory_interval]);
    }
    let [speed, speed_interval] = change(changes.speed.as_ref());
    let [memory, memory_interval] = change(changes.memory.as_ref());
    let (name, none) = ("geometric mean".to_owned(), String::new());
    rows.push([name, none.clone(), speed, speed_interval, none, memory, memory_interval]);
    rows
}

fn change(estimate: Option<&Estimate>) -> [String; 2] {
    match estimate {
        Some(e) => {
            let range = e.interval.map(|i| format!("{:+.1} to {:+.1}", i.low, i.high));
            [format!("{:+.1} %", e.value), range.unwrap_or("-".to_owned())]
        }
        None => ["-".to_owned(), "-".to_owned()],
    }
}

/// Writes the page of an experiment as Markdown.
pub(super) fn markdown(experiment: &Experiment, record_path: &Path) -> String {
    let Experiment { name, why, verdict, record, .. } = experiment;
    let mut out = format!("# {name}: {}\n\n", verdict.decision.word());
    let _ = write!(out, "**Verdict:** {}: {}.\n\n", verdict.decision.word(), verdict.reason);
    let _ = write!(out, "**Claim:** {}.\n\n", experiment.criteria.claim.words());
    if let Some(load) = record.load() {
        let _ = write!(out, "{load}\n\n");
    }
    if !why.is_empty() {
        let _ = write!(out, "**Why:** {why}\n\n");
    }
    let _ =
        write!(out, "**Again:** `hz3 ab --replay {}`\n\n## Condition\n\n", record_path.display());
    out += &markdown_table(
        &["", ""],
        record.machine.facts().iter().map(|(k, v)| vec![(*k).to_owned(), v.clone()]),
    );
    let contenders = record.peers.iter().map(contender);
    out += "\n";
    out += &markdown_table(&["contender", "library", "version, digest", "settings"], contenders);
    let _ = write!(
        out,
        "\n{} rounds at most, level {:?}, seed {}. Speed is in {}.\n\n",
        record.rounds,
        record.level,
        record.seed,
        record.measure.unit()
    );
    let commands = record.cases.iter().map(|case| {
        let line = match &case.what {
            What::Bench(words) => format!("hz3 bench {}", words.join(" ")),
            What::Command(line) => line.clone(),
        };
        vec![case.name.clone(), format!("`{line}`"), case.rounds.to_string()]
    });
    out += &markdown_table(&["case", "command", "rounds"], commands);
    out += "\n## Result\n\n";
    out += &markdown_table(&HEADS, rows(experiment).into_iter().map(Vec::from));
    out += "\n";
    let findings = verdict.findings.iter().map(|f| {
        vec![f.criterion.clone(), f.found.clone(), f.wanted.clone(), f.decision.word().to_owned()]
    });
    out += &markdown_table(&["criterion", "found", "wanted", "verdict"], findings);
    for (case, peer, reason) in record.failures() {
        let _ = write!(out, "\nFailed: {} on {}: {reason}\n", case.name, peer.name);
    }
    out
}

fn contender(peer: &Peer) -> Vec<String> {
    let file = peer.library.as_deref().and_then(Path::file_name).unwrap_or_default();
    let settings: Vec<String> =
        peer.environment.iter().map(|(name, value)| format!("`{name}={value}`")).collect();
    let settings = if settings.is_empty() { "default".to_owned() } else { settings.join(" ") };
    let version = peer.version.as_deref().unwrap_or("?");
    let digest = peer.digest.as_deref().unwrap_or("-");
    let library = file.to_string_lossy().into_owned();
    vec![peer.name.clone(), library, format!("{version}, {digest}"), settings]
}

/// Where the page of the experiment log has the index of the recorded experiments.
const INDEX_BEGIN: &str = "<!-- recorded: written by hz3 ab --record -->\n";
const INDEX_END: &str = "<!-- end of recorded -->\n";

/// Returns the page of the experiment log with a new index. The text around the index stays.
pub(super) fn with_index(page: Option<&str>, experiments: &[Experiment]) -> String {
    let index = index(experiments);
    let page = page.unwrap_or("# Experiments\n");
    let parts = page.split_once(INDEX_BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(INDEX_END)?;
        Some((before.to_owned(), after))
    });
    let (before, after) = parts.unwrap_or_else(|| (format!("{page}\n"), ""));
    format!("{before}{INDEX_BEGIN}\n{index}\n{INDEX_END}{after}")
}

/// Every A/B that was recorded, the newest first.
fn index(experiments: &[Experiment]) -> String {
    let lines = experiments.iter().map(|experiment| {
        let name = &experiment.name;
        let date = experiment.record.machine.date.split(' ').next().unwrap_or_default().to_owned();
        let verdict = &experiment.verdict;
        vec![
            date,
            format!("[{name}]({name}.md)"),
            verdict.decision.word().to_owned(),
            verdict.reason.clone(),
            experiment.why.clone(),
        ]
    });
    markdown_table(&["date", "experiment", "verdict", "reason", "why"], lines)
}

fn markdown_table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut out = line(&heads.iter().map(|head| (*head).to_owned()).collect::<Vec<_>>());
    let _ = writeln!(out, "|{}", "---|".repeat(heads.len()));
    rows.for_each(|row| out.push_str(&line(&row)));
    out
}
