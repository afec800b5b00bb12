//! Correctness under attack, for minutes: every policy in turn, with every delay at zero.
//!
//! Two attacks a policy, each for half of its time. In crate hz3 threads attack one heap whose
//! system refuses purges, and the heap is validated in the end (`crates/hz3/src/tests/attack.rs`).
//! Under `libhz3.so` a program's threads come and go, it forks, and its madvise fails at random
//! (`crates/hz3-c/tests/c/attack.c`).

use std::path::Path;
use std::process::Command;

use hz3_tools::{Failure, Result};

use crate::shell;

const POLICIES: [&str; 11] =
    ["default", "off", "s57b2", "s58", "s60", "s61", "s62", "s64", "s64-p1a", "s64-p1b", "s64-p1c"];

/// Every delay at zero, no budget; ticks as often as may be. Options of steps that a policy does
/// not have say nothing to it.
const AT_ONCE: [(&str, &str); 12] = [
    ("HZ3_TICK", "1"),
    ("HZ3_EPOCH_INTERVAL", "1"),
    ("HZ3_DECAY_EPOCHS", "0"),
    ("HZ3_MIN_RANGE", "1"),
    ("HZ3_PURGE_PAGES", "4294967295"),
    ("HZ3_PURGE_CALLS", "4294967295"),
    ("HZ3_CACHE_OVERAGES", "1"),
    ("HZ3_RECLAIM_BUDGET", "4294967295"),
    ("HZ3_DUMP_BUDGET", "4294967295"),
    ("HZ3_RETIRE_BUDGET", "4294967295"),
    ("HZ3_PURGE_DELAY", "0"),
    ("HZ3_PURGE_DELAY_MS", "0"),
];

/// Slow paths between two validations of the heap while a library that checks itself is attacked.
const VALIDATE: &str = "200";

/// Attacks every policy, or `only` that one, for `minutes` altogether; the program runs on the
/// library that checks itself if `checked`.
pub(crate) fn run(minutes: u32, seed: u64, only: Option<&str>, checked: bool) -> Result {
    let policies: Vec<_> =
        POLICIES.into_iter().filter(|name| only.is_none_or(|o| o == *name)).collect();
    if policies.is_empty() {
        return Err(Failure::new(format!("there is no such policy; there are {POLICIES:?}")));
    }
    let library = if checked { shell::checked_library()? } else { shell::library()? };
    let program = shell::target().join("release/attack");
    shell::compile("crates/hz3-c/tests/c/attack.c", &["-O2", "-pthread"], &program)?;
    let share = u64::from(minutes) * 60 / policies.len() as u64 / 2;
    let mut table = Vec::new();
    for policy in policies {
        for (place, command) in [
            ("heap", heap(policy, seed, share)),
            ("process", process(&program, &library, checked, (policy, seed, share))),
        ] {
            let counts = attack(command).map_err(|failure| {
                failure.during(&format!(
                    "attack on policy {policy}, seed {seed}, {place}; again: \
                     cargo xtask attack --policy {policy} --seed {seed}{}",
                    if checked { " --checked" } else { "" }
                ))
            })?;
            table.push(format!("{policy:<8} {place:<8} {counts}"));
        }
    }
    println!("\nseed {seed}, {share} seconds each; nothing was wrong:\n");
    println!("{}", table.join("\n"));
    Ok(())
}

/// Runs one attack; what it counted.
fn attack(mut command: Command) -> Result<String> {
    let mut counts = None;
    let status = shell::watch(&mut command, |line| {
        // The harness of tests has written "test NAME ... " before it.
        if let Some(at) = line.find("operations ") {
            counts = Some(line[at..].to_owned());
        }
    })?;
    shell::succeeded(&command, status)?;
    counts.ok_or_else(|| Failure::new("the attack did not say what it did"))
}

fn heap(policy: &str, seed: u64, seconds: u64) -> Command {
    let mut command = shell::cargo(&["test", "--release", "--package", "hz3", "--lib"]);
    shell::quick_release(&mut command, "test-release");
    command.args(["no_policy_takes_a_page", "--", "--nocapture"]);
    command.env("HZ3_ATTACK", format!("{policy} {seed} {seconds}"));
    command
}

fn process(
    program: &Path,
    library: &Path,
    checked: bool,
    (policy, seed, seconds): (&str, u64, u64),
) -> Command {
    let mut command = shell::program(program);
    command.arg(seed.to_string()).arg((seconds * 1000).to_string());
    command.envs(AT_ONCE).env("HZ3_POLICY", policy);
    if checked {
        command.env("HZ3_VALIDATE", VALIDATE);
    }
    command.env("LD_PRELOAD", library);
    command
}
