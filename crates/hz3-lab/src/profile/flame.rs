//! The flame graph of a profile, or of the difference of two.

use super::stacks::{Kind, Named};
use crate::failure::{Failure, Result};
use inferno::flamegraph::{self, Options};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Draws the stacks as SVG. With a base, red has grown and blue has shrunk.
pub(crate) fn draw(
    profile: &Named,
    kind: usize,
    base: Option<(&Named, usize)>,
    title: &str,
) -> Result<Vec<u8>> {
    let mut stacks: BTreeMap<String, [i64; 2]> = BTreeMap::new();
    for (column, (profile, kind)) in base.into_iter().chain([(profile, kind)]).enumerate() {
        for (stack, values) in &profile.stacks {
            let value = values.get(kind).copied().unwrap_or(0);
            let sums = stacks.entry(folded(profile, stack)).or_default();
            sums[column] = sums[column].saturating_add(value);
        }
    }
    let mut lines = Vec::new();
    for (stack, [first, second]) in &stacks {
        // A profile that is itself a difference has negative values, which have no width.
        let (first, second) = (first.max(&0), second.max(&0));
        if *first > 0 || *second > 0 {
            lines.push(match base {
                Some(_) => format!("{stack} {first} {second}"),
                None => format!("{stack} {first}"),
            });
        }
    }
    if lines.is_empty() {
        return Err(Failure::new(format!("{title}: every value is 0; there is nothing to draw")));
    }
    let mut options = Options::default();
    title.clone_into(&mut options.title);
    let Kind { name, unit } = &profile.kinds[kind];
    options.count_name = if unit.is_empty() { name.clone() } else { unit.clone() };
    options.deterministic = true;
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut svg)
        .map_err(|e| Failure::io("draw the flame graph", e))?;
    Ok(svg)
}

/// Joins the names with semicolons. A name of Rust may contain one, as in `[u8; 8]`, so it is
/// replaced.
fn folded(profile: &Named, stack: &[usize]) -> String {
    if stack.is_empty() {
        return "(no stack)".to_owned();
    }
    let mut line = String::new();
    for (i, &name) in stack.iter().enumerate() {
        let separator = if i == 0 { "" } else { ";" };
        let name = profile.names[name].replace(';', ",");
        let _ = write!(line, "{separator}{name}");
    }
    line
}
