//! The decisions of `hz3 ab`, `hz3 compare` and `hz3 demo` before they measure.

use crate::cli::{EffortArgs, parse};
use crate::experiment::cases::{Case, What};
use crate::failure::{self, Result};
use crate::files;
use std::path::Path;

/// Returns the requested cases, or the standard ones if none is requested, with the requested
/// number of rounds. Fails if `hz3 bench` does not understand one.
pub(super) fn cases(
    effort: &EffortArgs,
    standard: Vec<Case>,
    workloads: &[String],
    commands: &[String],
) -> Result<Vec<Case>> {
    let names: Vec<String> = standard.iter().map(|case| case.name.clone()).collect();
    let mut cases = effort.level().cases(standard, workloads, commands)?;
    check(&cases, &names)?;
    for case in &mut cases {
        case.rounds = effort.rounds.unwrap_or(case.rounds);
    }
    Ok(cases)
}

/// Fails if `hz3 bench` does not understand a case.
fn check(cases: &[Case], standard: &[String]) -> Result<()> {
    let workloads = parse::workloads();
    let names = workloads.iter().chain(standard).map(String::as_str);
    for case in cases {
        let What::Bench(words) = &case.what else { continue };
        let first = words.first().map_or("", String::as_str);
        if !workloads.iter().any(|name| name == first) {
            return Err(failure::unknown("workload", first, names));
        }
        parse::bench(words)?;
    }
    Ok(())
}

/// Fails if there are results under this name and `force` is not set.
pub(super) fn may_write_results(out: &Path, force: bool) -> Result<()> {
    let (json, csv) = files::json_and_csv(out);
    files::may_write(&json, force)?;
    files::may_write(&csv, force)
}
