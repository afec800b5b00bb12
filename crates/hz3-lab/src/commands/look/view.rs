//! One look at a process as lines of text, as wide as the terminal or 80 columns, and as JSON.

use super::observation::Observation;
use crate::text;
use serde_json::{Value, json};

/// Columns of the text where there is no terminal, and beyond which it does not grow.
pub(super) const COLUMNS: usize = 80;
/// Rows of the tables of classes and threads.
const ROWS: usize = 8;
/// Columns of a full bar.
const BAR: usize = 20;

/// Returns the lines for so many columns. With an earlier look they have rates.
pub(super) fn text(
    seen: &Observation,
    before: Option<&Observation>,
    columns: usize,
) -> Vec<String> {
    let columns = columns.min(COLUMNS);
    let mut lines = wrapped(&head(seen), columns);
    lines.push(String::new());
    let parts = seen.parts();
    let whole = seen.resident.max(1);
    for part in &parts {
        let filled = (part.bytes.min(whole) as f64 / whole as f64 * BAR as f64).round();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to BAR")]
        let bar = "#".repeat(filled as usize);
        lines.push(
            format!("{:<16}{:>11}  {bar:<BAR$} {}", part.name, bytes(part.bytes), part.note)
                .trim_end()
                .chars()
                .take(columns)
                .collect(),
        );
    }
    let resident = format!("{:<16}{:>11}  {}", "resident", bytes(seen.resident), limits(seen));
    lines.extend(wrapped(resident.trim_end(), columns));
    lines.push(String::new());
    let counts = before.map_or_else(|| counts(seen), |before| rates(seen, before));
    lines.extend(wrapped(&counts, columns));
    lines.push(String::new());
    let [left, right] = [classes(seen), threads(seen)];
    if columns < COLUMNS {
        lines.extend(left);
        lines.push(String::new());
        lines.extend(right);
    } else {
        lines.extend(beside(&left, &right));
    }
    lines
}

/// Breaks a line at blanks.
fn wrapped(line: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = line;
    while let Some((limit, _)) = rest.char_indices().nth(columns.max(1)) {
        // The blank may stand just behind the last column.
        let end = rest[limit..].chars().next().map_or(limit, |next| limit + next.len_utf8());
        let at = rest[..end].rfind(' ').filter(|&at| at > 0).unwrap_or(limit);
        lines.push(rest[..at].trim_end().to_owned());
        rest = rest[at..].trim_start();
    }
    lines.push(rest.to_owned());
    lines
}

fn head(seen: &Observation) -> String {
    let reclaimer = match seen.page.value("reclaimer") {
        0 => "off",
        1 => "by slow paths",
        _ => "by its thread",
    };
    let origin = if seen.is_own() { "" } else { ", of the parent" };
    let threads = match seen.page.value("threads") {
        1 => "1 thread".to_owned(),
        n => format!("{n} threads"),
    };
    let (pid, name, age) = (seen.pid, &seen.name, seen.age());
    format!("{pid} {name}  {threads}  reclaim {reclaimer}  figures {age} old{origin}")
}

fn limits(seen: &Observation) -> String {
    let mut words = Vec::new();
    if seen.swapped > 0 {
        words.push(format!("swapped {}", bytes(seen.swapped)));
    }
    if let Some(group) = &seen.group {
        if let (Some(current), Some(limit)) = (group.current, group.limit.or(group.high)) {
            words.push(format!("group {} of {}", bytes(current), bytes(limit)));
        }
        if let Some(pressure) = group.pressure {
            words.push(format!("pressure {pressure:.1} %"));
        }
    }
    words.join(", ")
}

fn counts(seen: &Observation) -> String {
    let page = |name| seen.page.value(name);
    format!(
        "so far: {} misses, {} faults, {} purged, {} refaulted",
        text::count(misses(seen)),
        text::count(seen.faults),
        bytes(page("purged_bytes")),
        bytes(page("refaulted_bytes")),
    )
}

fn misses(seen: &Observation) -> u64 {
    ["refills", "large_allocs", "huge_allocs"].map(|name| seen.page.value(name)).iter().sum()
}

/// Returns the rates a second between two updates of the page.
fn rates(seen: &Observation, before: &Observation) -> String {
    let at = |seen: &Observation| seen.page.value("updated_ns");
    let seconds = at(seen).saturating_sub(at(before)) as f64 / 1e9;
    if seconds <= 0.0 {
        return counts(seen);
    }
    let rate = |figure: fn(&Observation) -> u64| {
        figure(seen).saturating_sub(figure(before)) as f64 / seconds
    };
    let kib = |figure| text::kib(rate(figure) / 1024.0);
    format!(
        "a second: {} misses, {} faults, {} purged, {} refaulted",
        text::si(rate(misses)),
        text::si(rate(|seen| seen.faults)),
        kib(|seen| seen.page.value("purged_bytes")),
        kib(|seen| seen.page.value("refaulted_bytes")),
    )
}

/// Returns the table of the classes that hold most.
fn classes(seen: &Observation) -> Vec<String> {
    let mut classes = seen.page.classes.clone();
    classes.sort_by_key(|class| std::cmp::Reverse((class.live + class.cached) * class.block_bytes));
    let mut rows = vec![format!("{:>6} {:>10} {:>11} {:>9}", "CLASS", "BLOCKS", "LIVE", "CACHED")];
    rows.extend(classes.iter().take(ROWS).map(|class| {
        format!(
            "{:>6} {:>10} {:>11} {:>9}",
            class.block_bytes,
            text::count(class.live),
            bytes(class.live * class.block_bytes),
            text::count(class.cached),
        )
    }));
    rows
}

/// Returns the table of the threads that cache most.
fn threads(seen: &Observation) -> Vec<String> {
    let mut threads = seen.page.threads.clone();
    threads.sort_by_key(|thread| std::cmp::Reverse(thread.cached_bytes));
    let mut rows = vec![format!("{:>7} {:<10} {:>9} {:>9}", "THREAD", "NAME", "CACHED", "MISSES")];
    rows.extend(threads.iter().take(ROWS).map(|thread| {
        let name = seen.thread_names.get(&thread.id).map_or("?", String::as_str);
        let name: String = name.chars().take(10).collect();
        format!(
            "{:>7} {name:<10} {:>9} {:>9}",
            thread.id,
            bytes(thread.cached_bytes),
            text::si(thread.slow_paths as f64),
        )
    }));
    rows
}

/// Puts two tables beside each other.
fn beside(left: &[String], right: &[String]) -> Vec<String> {
    let row = |rows: &[String], index: usize| rows.get(index).cloned().unwrap_or_default();
    let count = left.len().max(right.len());
    let rows = (0..count).map(|index| format!("{:<39}  {}", row(left, index), row(right, index)));
    rows.map(|line| line.trim_end().to_owned()).collect()
}

/// Returns everything as one JSON object.
pub(super) fn json(seen: &Observation) -> Value {
    let values = seen.page.names.iter().map(|name| (name.clone(), seen.page.value(name).into()));
    let values: serde_json::Map<String, Value> = values.collect();
    let parts = seen.parts();
    let parts = parts.iter().map(|part| (part.name.replace(", ", "_"), part.bytes.into()));
    let parts: serde_json::Map<String, Value> = parts.collect();
    let group = seen.group.as_ref().map(|group| {
        json!({
            "limit": group.limit, "high": group.high, "current": group.current,
            "pressure": group.pressure,
        })
    });
    let classes = seen.page.classes.iter().map(|class| {
        json!({
            "block_bytes": class.block_bytes, "slabs": class.slabs, "live": class.live,
            "cached": class.cached,
        })
    });
    let threads = seen.page.threads.iter().map(|thread| {
        json!({
            "id": thread.id, "name": seen.thread_names.get(&thread.id),
            "active": thread.is_active, "cached_bytes": thread.cached_bytes,
            "slow_paths": thread.slow_paths,
        })
    });
    json!({
        "pid": seen.pid, "name": seen.name, "answered": seen.has_answered, "own": seen.is_own(),
        "age_ns": seen.age_ns, "resident": seen.resident, "swapped": seen.swapped,
        "faults": seen.faults, "parts": parts, "values": values, "group": group,
        "classes": classes.collect::<Vec<_>>(), "threads": threads.collect::<Vec<_>>(),
    })
}

fn bytes(bytes: u64) -> String {
    text::kib(bytes as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn a_long_line_breaks_at_blanks_and_loses_nothing() {
        assert_eq!(wrapped("one two three", 80), ["one two three"]);
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("one two three", 6), ["one", "two", "three"]);
        assert_eq!(wrapped("\u{fffd}\u{fffd}\u{fffd}", 2), ["\u{fffd}\u{fffd}", "\u{fffd}"]);
        assert_eq!(wrapped("", 1), [""]);
        assert_eq!(wrapped("ab", 0), ["a", "b"]);
    }
}
