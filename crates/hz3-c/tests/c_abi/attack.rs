//! Runs the attack of `cargo xtask attack` for one second per policy.

use crate::harness::{Link, preloaded, program, run};

#[test]
fn no_byte_changes_while_threads_reclaim_processes_fork_and_madvise_fails() {
    let program = program("attack.c", Link::None);
    for policy in ["default", "s64-p1b"] {
        let outcome = run(preloaded(&program).args(["1", "1000"]).env("HZ3_POLICY", policy));
        let good = outcome.status.success() && outcome.stdout.starts_with("operations ");
        assert!(good && outcome.stderr.is_empty(), "{policy}: {outcome}");
    }
}
