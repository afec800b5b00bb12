//! The same facts as sentences: what holds the memory, what goes by itself, what can be done.

use super::observation::Observation;
use crate::text;

/// Parts below this share of the resident set are not worth a sentence: a fiftieth.
const WORTH: u64 = 50;
/// Values of `reclaimer` in the page.
const OFF: u64 = 0;
const BY_SLOW_PATHS: u64 = 1;

/// Explains the memory of the process, one fact a line.
pub(super) fn sentences(seen: &Observation) -> Vec<String> {
    [live_blocks(seen), free_memory(seen), other_memory(seen), limits(seen), hints(seen)].concat()
}

/// Returns whether a part of the memory is worth a sentence.
fn is_worth(seen: &Observation, bytes: u64) -> bool {
    bytes >= (seen.resident / WORTH).max(64 * 1024)
}

/// Says what the program holds.
fn live_blocks(seen: &Observation) -> Vec<String> {
    let mut lines = vec![format!(
        "Process {} ({}) has {} resident and holds {} in live blocks.",
        seen.pid,
        seen.name,
        bytes(seen.resident),
        bytes(seen.page.value("allocated")),
    )];
    if !seen.is_own() {
        lines.push(
            "It was forked and has not allocated much since: these are the figures of the \
                    process that forked it."
                .to_owned(),
        );
    }
    let untouched = seen.untouched();
    if is_worth(seen, untouched) {
        lines.push(format!(
            "Of the live blocks {} were never written to, or are swapped out.",
            bytes(untouched)
        ));
    }
    lines.extend(largest_class(seen));
    lines
}

/// Says where free memory is, and when it goes back.
fn free_memory(seen: &Observation) -> Vec<String> {
    let mut lines = Vec::new();
    let pinned = seen.page.value("slack_shared");
    if is_worth(seen, pinned) {
        lines.push(format!(
            "{} are pinned: free, but in pages that also hold live blocks. They stay until the \
             program frees those blocks or reuses the space. Long-lived blocks that are allocated \
             among short-lived ones cause it.",
            bytes(pinned),
        ));
    }
    let goes = goes_by_itself(seen);
    for (name, what) in [
        ("dirty", "free pages"),
        ("slack_holes", "free pages of slabs that are in use"),
        ("cached_idle", "in caches of idle threads"),
        ("cached_transfer", "on the way between the caches of threads"),
    ] {
        let free = seen.page.value(name);
        if is_worth(seen, free) {
            lines.push(format!("{} are {what}: {goes}", bytes(free)));
        }
    }
    let cached = seen.page.value("cached_running");
    if is_worth(seen, cached) {
        lines.push(format!(
            "{} are in caches of threads that work. They go once those threads rest; \
             HZ3_THREAD_CACHE lowers the bound.",
            bytes(cached),
        ));
    }
    lines
}

/// Says what is resident and neither live nor free.
fn other_memory(seen: &Observation) -> Vec<String> {
    let mut lines = Vec::new();
    let tables = seen.page.value("metadata_resident");
    if is_worth(seen, tables) {
        lines.push(format!("{} are hz3's tables.", bytes(tables)));
    }
    let parts = seen.parts();
    if let Some(other) = parts.last().filter(|part| is_worth(seen, part.bytes)) {
        lines.push(format!(
            "{} are not of the heap: code, stacks, files, and memory that the program mapped \
             itself.",
            bytes(other.bytes),
        ));
    }
    let (purged, refaulted) = (seen.page.value("purged_bytes"), seen.page.value("refaulted_bytes"));
    if is_worth(seen, refaulted) && refaulted > purged / 2 {
        lines.push(format!(
            "Of {} given back so far, {} were taken again: a longer HZ3_TICK keeps memory longer.",
            bytes(purged),
            bytes(refaulted),
        ));
    }
    lines
}

/// Says what the reader can do, and how old the figures are if they are old.
fn hints(seen: &Observation) -> Vec<String> {
    let page = |name| seen.page.value(name);
    let mut lines = Vec::new();
    if page("dirty") + page("slack_holes") + page("cached") > 0 {
        lines.push(
            "malloc_trim(0), hz3_collect() and hz3::collect() give back at once what is free and \
             not pinned."
                .to_owned(),
        );
    }
    if !seen.has_answered {
        lines.push(format!(
            "The process did not answer: it runs no slow path now. These are the figures of {} \
             ago.",
            seen.age(),
        ));
    }
    lines
}

/// Says when free memory goes back.
fn goes_by_itself(seen: &Observation) -> String {
    let tick = seen.page.value("tick_ms");
    match seen.page.value("reclaimer") {
        OFF => "nothing gives them back, because HZ3_POLICY is off.".to_owned(),
        BY_SLOW_PATHS => {
            "the program's next slow paths give back what exceeds 4 MiB and a quarter \
                          of the live bytes; the rest stays for reuse."
                .to_owned()
        }
        _ => format!(
            "they go by themselves if they stay unused, within {} to {}.",
            text::seconds(seconds(2 * tick * 1_000_000)),
            text::seconds(seconds(7 * tick * 1_000_000)),
        ),
    }
}

/// Names the size class that holds most.
fn largest_class(seen: &Observation) -> Option<String> {
    let large = seen.page.value("large");
    let class = seen.page.classes.iter().max_by_key(|class| class.live * class.block_bytes)?;
    let held = class.live * class.block_bytes;
    Some(if large > held {
        format!("Most of them are large: {} are in blocks of more than 32 KiB.", bytes(large))
    } else {
        format!(
            "The size class of {} bytes holds most: {} in {} blocks.",
            class.block_bytes,
            bytes(held),
            text::count(class.live),
        )
    })
}

/// Says how near the limits are.
fn limits(seen: &Observation) -> Vec<String> {
    let mut lines = Vec::new();
    let (limit, held) = (seen.page.value("limit"), seen.page.value("held"));
    if limit > 0 {
        lines.push(format!("HZ3_LIMIT allows {}; {} count towards it.", bytes(limit), bytes(held)));
    }
    if let Some(group) = &seen.group {
        if let (Some(limit), Some(current)) = (group.limit, group.current) {
            lines.push(format!(
                "Its control group may use {} and uses {}.",
                bytes(limit),
                bytes(current)
            ));
        }
        if let Some(pressure) = group.pressure.filter(|&pressure| pressure >= 1.0) {
            lines.push(format!(
                "Tasks of the group waited for memory {pressure:.0} % of the last ten seconds."
            ));
        }
    }
    lines
}

fn bytes(bytes: u64) -> String {
    text::kib(bytes as f64 / 1024.0)
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
