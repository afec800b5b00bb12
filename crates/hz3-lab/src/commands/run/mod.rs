//! `hz3 run`: a command on the system's malloc, then on hz3, then once more to count.

mod figures;
mod report;
mod verdict;

use crate::cli::RunArgs;
use crate::counts::{self, Counts};
use crate::failure::{Failure, Result};
use crate::measure::feed::Input;
use crate::measure::job::{self, Job, Outcome, Streams, Tee};
use crate::measure::sampler::Plan;
use crate::measure::signals::Interruption;
use crate::{measure, preload};
use figures::Figures;
use report::{Agreement, Report};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The resident set is looked at this often.
const INTERVAL: Duration = Duration::from_millis(20);

/// Runs the command and reports; the exit code is the command's on hz3.
pub(crate) fn run(args: &RunArgs) -> Result<u8> {
    let library = preload::find(args.lib.as_deref())?;
    measure::adopt_orphans()?;
    let mut bench = Bench {
        words: &args.command,
        library,
        input: Input::ours()?,
        signals: Interruption::watch()?,
        tee: if args.json { Tee::Stderr } else { Tee::Through },
    };
    let Some(mut rounds) = bench.rounds(args.runs)? else { return bench.interrupted() };
    let counts = if args.no_count { None } else { Some(bench.count()?) };
    if bench.signals.signal().is_some() {
        return bench.interrupted();
    }
    let agreement = Agreement::of(&mut rounds)?;
    let report = Report {
        command: args.command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        name: preload::name(&bench.library),
        library: bench.library.display().to_string(),
        runs: args.runs,
        system: Figures::of(&rounds.system),
        hz3: Figures::of(&rounds.hz3),
        counts,
        agreement,
    };
    report.print(args.json)?;
    Ok(rounds.hz3.first().map_or(0, Outcome::exit_code))
}

/// The finished runs on either allocator, in order.
#[derive(Debug, Default)]
struct Rounds {
    system: Vec<Outcome>,
    hz3: Vec<Outcome>,
}

/// What all runs of one command share.
struct Bench<'a> {
    words: &'a [OsString],
    library: PathBuf,
    input: Input,
    signals: Interruption,
    tee: Tee,
}

impl Bench<'_> {
    /// System and hz3 take turns. `None` when a signal ended that early.
    fn rounds(&mut self, runs: u16) -> Result<Option<Rounds>> {
        let mut rounds = Rounds::default();
        for round in 0..runs {
            let tee = if round == 0 { self.tee } else { Tee::Silent };
            rounds.system.push(self.once(self.on_system(), Tee::Silent)?);
            if self.signals.signal().is_some() {
                return Ok(None);
            }
            rounds.hz3.push(self.once(self.on_hz3(None), tee)?);
            if self.signals.signal().is_some() {
                return Ok(None);
            }
        }
        Ok(Some(rounds))
    }

    /// One more run on hz3, with every request counted.
    fn count(&mut self) -> Result<Counts> {
        let directory = tempfile::Builder::new()
            .prefix("hz3-run-")
            .tempdir()
            .map_err(|e| Failure::io("make a directory for hz3's statistics", e))?;
        let file = directory.path().join("statistics.jsonl");
        self.once(self.on_hz3(Some(&file)), Tee::Silent)?;
        counts::read(&file)
    }

    fn once(&mut self, job: Job, tee: Tee) -> Result<Outcome> {
        let plan = Plan {
            interval: INTERVAL,
            detail_every: 0,
            eager: true,
            library: Some(self.library.clone()),
            limit: None,
        };
        job::run(&job, plan, Streams::Keep { input: &mut self.input, tee }, &self.signals)
    }

    fn on_system(&self) -> Job {
        let value = preload::without_hz3(std::env::var_os(preload::VARIABLE).as_deref());
        self.job(vec![(preload::VARIABLE.into(), value)])
    }

    fn on_hz3(&self, statistics: Option<&Path>) -> Job {
        let current = std::env::var_os(preload::VARIABLE);
        let value = preload::with_library(&self.library, current.as_deref());
        let mut environment = vec![(preload::VARIABLE.into(), Some(value))];
        if let Some(file) = statistics {
            environment.push(("HZ3_COUNT".into(), Some("1".into())));
            environment.push(("HZ3_STATS".into(), Some(file.into())));
        }
        self.job(environment)
    }

    fn job(&self, environment: Vec<(OsString, Option<OsString>)>) -> Job {
        Job { words: self.words.to_vec(), environment }
    }

    fn interrupted(&self) -> Result<u8> {
        eprintln!("hz3: interrupted; no report, as not every run has ended");
        self.signals.exit_code().ok_or_else(|| Failure::new("stopped without a signal"))
    }
}
