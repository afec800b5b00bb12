//! Files that decide and do nothing dangerous stay free of unsafe code.

use super::Finding;
use super::source::{Tree, code, words};

/// The names of policy files, wherever they are in crate hz3.
const POLICY: [&str; 10] = [
    "ageing",
    "capacity",
    "options",
    "policy",
    "prefault_policy",
    "queue",
    "slack",
    "stats",
    "tick",
    "trim",
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, relative, text) in tree.rust_below("crates/hz3/src/") {
        let mut parts = relative.trim_end_matches(".rs").split('/');
        if !parts.any(|part| POLICY.contains(&part)) {
            continue;
        }
        for (index, line) in code(text).lines().enumerate() {
            if words(line).any(|word| word == "unsafe") {
                findings.push(Finding::new(file, index + 1, "unsafe code in a policy file"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    #[test]
    fn unsafe_code_is_found_in_policy_files_only() {
        let tree = Tree::of([
            (
                "crates/hz3/src/cache/capacity.rs",
                "// unsafe\n#![forbid(unsafe_code)]\nfn f() { unsafe { g() } }\n",
            ),
            ("crates/hz3/src/reclaim/queue/ring.rs", "unsafe fn f() {}\n"),
            ("crates/hz3/src/cache/stack.rs", "unsafe { f() }\n"),
        ]);
        let expected = [
            "crates/hz3/src/cache/capacity.rs:3: unsafe code in a policy file",
            "crates/hz3/src/reclaim/queue/ring.rs:1: unsafe code in a policy file",
        ];
        assert_eq!(lines(&check(&tree)), expected);
    }
}
