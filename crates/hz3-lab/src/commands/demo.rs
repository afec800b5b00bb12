//! `hz3 demo`: memory that was freed, in the situations where allocators keep it.

use super::compare::tables;
use super::{plan, report};
use crate::cli::DemoArgs;
use crate::experiment::analysis::Analysis;
use crate::experiment::cases::{Case, Level};
use crate::experiment::record::Record;
use crate::experiment::session::{self, Ended, Limits};
use crate::failure::{Failure, OWN_FAILURE, Result, WRONG_USAGE};
use crate::peers::{Candidates, Missing};
use crate::{files, preload, text};
use std::path::PathBuf;
use std::time::Duration;

/// A trial takes a few seconds. After this time it counts as hung.
const LIMIT: Duration = Duration::from_secs(60);
/// Seconds of one round of one allocator, on 2 cores.
const SECONDS_EACH: f64 = 5.5;

/// Measures, prints, and writes the page.
pub(crate) fn run(args: &DemoArgs) -> Result<u8> {
    let out = place(args);
    let results = out.with_extension("json");
    if [&results, &out.with_extension("csv")].contains(&&out) {
        return Err(Failure::usage("the page would overwrite the results")
            .with_remedy("name it FILE.html; the results are in FILE.json and FILE.csv"));
    }
    files::may_write(&out, args.force)?;
    plan::may_write_results(&results, args.force)?;
    let mut record = planned(args)?;
    let names: Vec<&str> = record.peers.iter().map(|peer| peer.name.as_str()).collect();
    text::err::note(&format!(
        "hz3: comparing {}: a burst of memory that is freed, in three situations, and two loops for \
         speed; about {}",
        names.join(", "),
        text::about(SECONDS_EACH * f64::from(args.rounds) * names.len() as f64)
    ))?;
    offer(&record.missing)?;
    let limits = Limits { trial: LIMIT, session: None };
    let ended = session::run(&mut record, &results, limits)?;
    report::write(&record, &out)?;
    let tables = tables(&record, &Analysis::of(&record));
    text::out::line(&format!("{tables}\nthe page with the pictures: {}", out.display()))?;
    if let Ended::Interrupted(code) = ended {
        return Ok(code);
    }
    Ok(u8::from(record.failures().next().is_some()))
}

/// Returns the named page, or the first default name that no file has yet.
fn place(args: &DemoArgs) -> PathBuf {
    args.out.clone().unwrap_or_else(|| {
        let mut names = std::iter::once("hz3-demo.html".to_owned())
            .chain((2u32..).map(|number| format!("hz3-demo-{number}.html")))
            .map(PathBuf::from);
        let is_free = |page: &PathBuf| !page.exists() && !page.with_extension("json").exists();
        names.find(is_free).unwrap_or_default()
    })
}

/// Prints how to install the allocators that Debian has and this machine lacks.
fn offer(missing: &[Missing]) -> Result<()> {
    const INSTALL: &str = "apt-get install ";
    let packages: Vec<&str> =
        missing.iter().filter_map(|missing| missing.remedy.strip_prefix(INSTALL)).collect();
    if packages.is_empty() {
        return Ok(());
    }
    let packages = packages.join(" ");
    text::err::note(&format!("hz3: for more to compare with, type: {INSTALL}{packages}"))
}

fn planned(args: &DemoArgs) -> Result<Record> {
    if args.allocators.is_empty() {
        preload::find(None)?;
    }
    let candidates = Candidates::find(&args.peers.extra)?;
    let selection = candidates.select(&args.allocators)?;
    if selection.peers.len() < 2 {
        let code = if args.allocators.is_empty() { OWN_FAILURE } else { WRONG_USAGE };
        return Err(Failure::new("there is nothing to compare with")
            .with_remedy("name two allocators that are here; `hz3 peers` says how to get others")
            .with_code(code));
    }
    let base = selection.peers.iter().position(|peer| peer.name == "glibc").unwrap_or(0);
    let plan = Record::new(Level::Quick, cases(args.rounds), selection.peers);
    Ok(Record { base, missing: selection.missing, ..plan })
}

fn cases(rounds: u32) -> Vec<Case> {
    let burst = "burst-idle --total 100000 --cycles 1 --idle 1.05";
    let memory =
        |name: &str, options: &str| Case::bench(name, &format!("{burst} {options}"), false, rounds);
    vec![
        memory("threads stay", "--shape stay"),
        memory("freed by another thread", "--shape remote"),
        memory("one in twenty survives", "--shape stay --keep 5 --keep-hold"),
        Case::bench("small", "mixed --sizes small --ops 1000000", true, rounds),
        Case::bench("mixed", "mixed --sizes mixed --ops 250000", true, rounds),
    ]
}
