//! Calls go down only: a module of crate hz3 uses its own layer and the layers below it.

use super::Finding;
use super::source::{Tree, code, line, words};

const SOURCES: &str = "crates/hz3/src/";

/// The layers of crate hz3 from top to bottom; modules on one line are one layer's peers and do not
/// use each other. A module that is not in this table is a finding: place it first.
const LAYERS: &[&[&str]] = &[
    &["lib", "tests"],
    &["allocator"],
    &["api", "c_malloc", "system"],
    &["raw"],
    &["thread"],
    &["hot"],
    &["heap"],
    &["reclaim"],
    &["cache"],
    &["transfer"],
    &["central"],
    &["segment"],
    &["profiler"],
    &["os"],
    &["options", "stats"],
    &["base"],
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, relative, text) in tree.rust_below(SOURCES) {
        let module: Vec<&str> = relative.trim_end_matches(".rs").split('/').collect();
        let Some(own) = level(module[0]) else {
            findings.push(Finding::new(file, 1, format!("`{}` is in no layer", module[0])));
            continue;
        };
        // `x/mod.rs` is the module `x`; another file is one step deeper.
        let depth = module.iter().filter(|&&part| part != "mod").count();
        for (line, used) in uses(&code(text), depth) {
            let Some(below) = level(used) else { continue };
            if used == module[0] || below > own {
                continue;
            }
            let what = if below == own { "beside" } else { "above" };
            let message = format!("`{}` uses `{used}`, which is {what} it", module[0]);
            findings.push(Finding::new(file, line, message));
        }
    }
    findings
}

fn level(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// Returns the top modules that a file names as `crate::x`, `crate::{x, y}` or by climbing with
/// `super::`.
fn uses(code: &str, depth: usize) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let climb = "super::".repeat(depth);
    for prefix in ["crate::", &climb] {
        let mut from = 0;
        while let Some(at) = code[from..].find(prefix).map(|at| from + at) {
            from = at + prefix.len();
            // Part of a longer path (`$crate::`, one more `super::`) means another place.
            if code[..at].ends_with(|c: char| c.is_alphanumeric() || "_:$".contains(c)) {
                continue;
            }
            for (offset, name) in heads(&code[from..]) {
                found.push((line(code, from + offset), name));
            }
        }
    }
    found
}

/// Returns the first segments of a path or of a group of paths, with their offsets.
fn heads(rest: &str) -> Vec<(usize, &str)> {
    let name = |text| words(text).next();
    let Some(group) = rest.strip_prefix('{') else {
        return name(rest).map(|word| (0, word)).into_iter().collect();
    };
    let (mut depth, mut start, mut found) = (1, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && c == ',') {
            let part = &group[start..at];
            let gap = part.len() - part.trim_start().len();
            found.extend(name(part).map(|word| (1 + start + gap, word)));
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    #[test]
    fn a_use_that_points_down_is_fine() {
        let tree = Tree::of([
            ("crates/hz3/src/cache/mod.rs", "use crate::central::Central;\nuse crate::cache::x;\n"),
            (
                "crates/hz3/src/heap.rs",
                "use crate::{base::units, cache::{self, ThreadCache}, stats};\n",
            ),
            ("crates/hz3/src/base/bits.rs", "// use crate::heap\nlet x = \"crate::heap\";\n"),
            ("crates/hz3-lab/src/base.rs", "use crate::heap::Heap;\n"),
        ]);
        assert_eq!(check(&tree), []);
    }

    #[test]
    fn a_use_that_points_up_is_found_with_its_line() {
        let tree = Tree::of([
            ("crates/hz3/src/segment/arena.rs", "use core::ptr;\n\nuse crate::central::Central;\n"),
            (
                "crates/hz3/src/os/mod.rs",
                "use crate::{\n    base::x,\n    cache::{steal, mod_b},\n};\n",
            ),
        ]);
        let expected = [
            "crates/hz3/src/os/mod.rs:3: `os` uses `cache`, which is above it",
            "crates/hz3/src/segment/arena.rs:3: `segment` uses `central`, which is above it",
        ];
        assert_eq!(lines(&check(&tree)), expected);
    }

    #[test]
    fn a_path_in_the_middle_of_code_and_a_climb_with_super_count_too() {
        let tree = Tree::of([
            (
                "crates/hz3/src/central/bin.rs",
                "fn f() { crate::heap::g(); super::super::cache::h(); super::slab::i() }",
            ),
            ("crates/hz3/src/segment/mod.rs", "use super::heap::Heap;"),
            ("crates/hz3/src/base/fatal.rs", "macro_rules! m { () => { $crate::heap::x() } }"),
        ]);
        let expected = [
            "crates/hz3/src/central/bin.rs:1: `central` uses `heap`, which is above it",
            "crates/hz3/src/central/bin.rs:1: `central` uses `cache`, which is above it",
            "crates/hz3/src/segment/mod.rs:1: `segment` uses `heap`, which is above it",
        ];
        assert_eq!(lines(&check(&tree)), expected);
    }

    #[test]
    fn peers_do_not_use_each_other_and_every_module_has_a_layer() {
        let tree = Tree::of([
            ("crates/hz3/src/options/mod.rs", "use crate::stats::Stats;"),
            ("crates/hz3/src/attic.rs", ""),
        ]);
        let expected = [
            "crates/hz3/src/attic.rs:1: `attic` is in no layer",
            "crates/hz3/src/options/mod.rs:1: `options` uses `stats`, which is beside it",
        ];
        assert_eq!(lines(&check(&tree)), expected);
    }
}
