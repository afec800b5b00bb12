//! The HTML page.

use super::Picture;
use super::svg::escape;
use crate::experiment::analysis::{Analysis, Cell};
use crate::experiment::record::Record;
use crate::text;
use std::fmt::Write;

const STYLE: [&str; 3] =
    [include_str!("colours.css"), include_str!("plots.css"), include_str!("page.css")];

/// Writes the whole report as one HTML file.
pub(crate) fn html(
    record: &Record,
    analysis: &Analysis,
    pictures: &[Picture],
    sentence: Option<&str>,
) -> String {
    let mut body = format!(
        "<h1>Memory allocators compared</h1><p class='load'>{}</p><p class='lead'>{}</p>",
        escape(&circumstances_line(record)),
        escape(sentence.unwrap_or(""))
    );
    if let Some(command) = &record.command {
        let _ = write!(body, "<p>Made by <code>{}</code>.</p>", escape(command));
    }
    for picture in pictures {
        let Picture { name, title, caption, svg } = picture;
        let _ = write!(
            body,
            "<h2 id='{}'>{}</h2><figure>{}<figcaption>{}</figcaption></figure>",
            escape(name),
            escape(title),
            svg.inline(),
            escape(caption)
        );
    }
    body += &tables(record, analysis);
    body += &circumstances(record);
    document("Memory allocators compared", &body)
}

/// Writes a page with the picture of one watch.
pub(crate) fn watched(picture: &Picture, file: &str) -> String {
    let body = format!(
        "<h1>{}</h1><p class='load'>{}</p><figure>{}<figcaption>{}</figcaption></figure>",
        escape(&picture.title),
        escape(file),
        picture.svg.inline(),
        escape(&picture.caption)
    );
    document(&picture.title, &body)
}

fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' \
         content='width=device-width,initial-scale=1'><meta name='color-scheme' content='light dark'>\
         <link rel='icon' href='data:,'><title>{}</title><style>{}</style></head>\
         <body>{body}</body></html>\n",
        escape(title),
        STYLE.concat()
    )
}

/// Summarises load, machine and versions; the table at the end has the rest.
fn circumstances_line(record: &Record) -> String {
    let machine = &record.machine;
    let versions = record.peers.iter().map(|peer| {
        format!("{} {}", peer.name, peer.version.as_deref().unwrap_or("of unknown version"))
    });
    format!(
        "{} {}, {} processors, {}, {}. {}.",
        record.load().unwrap_or_else(|| "The load is not known.".to_owned()),
        machine.cpu,
        machine.cpus,
        machine.kernel,
        machine.date,
        versions.collect::<Vec<_>>().join(", ")
    )
}

fn tables(record: &Record, analysis: &Analysis) -> String {
    let names = || record.peers.iter().map(|peer| peer.name.clone());
    let rows = |cell: fn(&Cell) -> String| {
        let cases = record.cases.iter().zip(&analysis.cells);
        let row = move |(case, cells): (&crate::experiment::cases::Case, &Vec<Cell>)| {
            std::iter::once(case.name.clone()).chain(cells.iter().map(cell)).collect::<Vec<_>>()
        };
        cases.map(row).collect::<Vec<_>>()
    };
    let heads: Vec<String> = std::iter::once("case".to_owned()).chain(names()).collect();
    let mut ratios = rows(|cell| cell.ratio.map_or_else(|| missing(cell), |e| text::ratio(&e)));
    let means = analysis
        .overall
        .iter()
        .map(|mean| mean.as_ref().map_or("-".to_owned(), |(estimate, _)| text::ratio(estimate)));
    ratios.push(std::iter::once("geometric mean".to_owned()).chain(means).collect());
    let speeds = rows(|cell| cell.speed.map_or_else(|| missing(cell), text::si));
    let memory = rows(|cell| {
        let peak = cell.peak_rss_kb.map_or_else(|| missing(cell), text::kib);
        cell.idle_rss_kb.map_or(peak.clone(), |idle| format!("{peak} / {}", text::kib(idle)))
    });
    let base = &record.peers[record.base].name;
    section(
        &format!("Speed as a ratio to {base}, with 95 % intervals; {}", text::RATIO_KEY),
        &heads,
        &ratios,
    ) + &section("Operations a second", &heads, &speeds)
        + &section("Memory: peak / at the end of the idle time", &heads, &memory)
}

fn missing(cell: &Cell) -> String {
    if cell.failures > 0 { "failed".to_owned() } else { "-".to_owned() }
}

fn section(title: &str, heads: &[String], rows: &[Vec<String>]) -> String {
    let mut out = format!("<h2>{}</h2><div class='scroll'><table><thead><tr>", escape(title));
    for head in heads {
        let _ = write!(out, "<th>{}</th>", escape(head));
    }
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        for (head, cell) in heads.iter().zip(row) {
            let class = if cell == "failed" { " class='failed'" } else { "" };
            let (head, cell) = (escape(head), escape(cell));
            let _ = write!(out, "<td{class} data-head='{head}'>{cell}</td>");
        }
        out.push_str("</tr>");
    }
    out + "</tbody></table></div>"
}

fn circumstances(record: &Record) -> String {
    let mut facts: Vec<Vec<String>> = record
        .machine
        .facts()
        .into_iter()
        .map(|(name, value)| vec![name.to_owned(), value])
        .collect();
    facts.push(vec!["seed".to_owned(), record.seed.to_string()]);
    facts.push(vec!["rounds".to_owned(), record.rounds.to_string()]);
    for peer in &record.peers {
        let library =
            peer.library.as_ref().map_or("the C library".to_owned(), |l| l.display().to_string());
        let version = peer.version.as_deref().unwrap_or("?");
        facts.push(vec![format!("allocator {}", peer.name), format!("{version}, {library}")]);
    }
    for missing in &record.missing {
        facts.push(vec![format!("missing {}", missing.name), missing.remedy.clone()]);
    }
    for (case, peer, reason) in record.failures() {
        facts.push(vec![format!("failed: {} on {}", case.name, peer.name), reason.to_owned()]);
    }
    let heads = ["what", "value"].map(str::to_owned);
    section("Circumstances", &heads, &facts).replace("<td data", "<td class='left' data")
}
