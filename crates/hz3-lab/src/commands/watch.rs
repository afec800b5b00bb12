//! `hz3 watch`: the memory of a command, or of a running process, over time.

use crate::cli::WatchArgs;
use crate::failure::{CANNOT_EXECUTE, Failure, NOT_FOUND, Result};
use crate::files;
use crate::measure::job::{self, Job, Outcome, Streams};
use crate::measure::sample::Sample;
use crate::measure::sampler::{Ends, Plan, Sampler, Series, Sink};
use crate::measure::series_csv;
use crate::measure::signals::Interruption;
use crate::measure::summary::{self, Summary};
use crate::measure::tree::Tree;
use crate::{measure, preload, text};
use serde::Serialize;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

/// Watches until the end. Returns the exit code of the command.
pub(crate) fn run(args: &WatchArgs) -> Result<u8> {
    if args.json && files::is_stdout(&args.out) {
        return Err(Failure::usage("--json and --out - both want the standard output"));
    }
    let library = args.lib.as_deref().map(|path| preload::find(Some(path))).transpose()?;
    measure::needs_proc()?;
    if let Some(pid) = args.pid {
        if !Path::new(&format!("/proc/{pid}")).exists() {
            return Err(Failure::usage(format!("no process has the number {pid}")));
        }
        if !is_running(pid) || !has_memory(pid) {
            return Err(measure::stats_page::without_memory(pid));
        }
    }
    if args.pid.is_none() {
        // Before the samples of an earlier watch are overwritten for nothing.
        job::needs_program(&args.command)?;
    }
    let is_new = !files::is_stdout(&args.out) && !args.out.exists();
    let plan = Plan {
        interval: args.interval,
        detail_every: args.pss_every,
        eager: false,
        library: library.clone(),
        limit: None,
        may_end: args.pid.is_none(),
        ends: Ends { after: args.duration.filter(|_| args.pid.is_none()), asked: None },
        sink: Some(sink(&args.out, args.force)?),
    };
    match args.pid {
        Some(pid) => attached(args, pid, plan),
        None => command(args, library.as_deref(), plan).inspect_err(|failure| {
            if is_new && [NOT_FOUND, CANNOT_EXECUTE].contains(&failure.code()) {
                // Without its samples the file would only be in the way of the next watch.
                let _gone_already = std::fs::remove_file(&args.out);
            }
        }),
    }
}

fn command(args: &WatchArgs, library: Option<&Path>, plan: Plan) -> Result<u8> {
    measure::adopt_orphans()?;
    let current = std::env::var_os(preload::VARIABLE);
    let preloaded = library.map(|library| preload::with_library(library, current.as_deref()));
    let environment =
        preloaded.map(|value| (preload::VARIABLE.into(), Some(value))).into_iter().collect();
    let job = Job { words: args.command.clone(), environment };
    let mut outcome = job::run(&job, plan, Streams::Inherit, &Interruption::watch()?)?;
    if let Some(failure) = outcome.series.sink_failure.take() {
        return Err(failure);
    }
    WatchReport::of(&args.out, &outcome).print(args.json)?;
    Ok(outcome.exit_code())
}

/// Interval at which a process that is not our child is checked for its end.
const PAUSE: Duration = Duration::from_millis(20);

fn attached(args: &WatchArgs, pid: i32, plan: Plan) -> Result<u8> {
    let signals = Interruption::watch()?;
    let start = Instant::now();
    // A signal ends the watch, not the process.
    let sampler = Sampler::start(Tree::attached(pid), start, plan, Interruption::none());
    let is_over = || args.duration.is_some_and(|limit| start.elapsed() >= limit);
    while is_running(pid) && signals.signal().is_none() && !is_over() && !sampler.is_finished() {
        std::thread::sleep(PAUSE);
    }
    let mut series = sampler.finish();
    if let Some(failure) = series.sink_failure.take() {
        return Err(failure);
    }
    WatchReport::of_series(&args.out, &series, start.elapsed()).print(args.json)?;
    Ok(signals.exit_code().unwrap_or(0))
}

/// Returns whether the process runs; a zombie does not.
fn is_running(pid: i32) -> bool {
    let state = procfs::process::Process::new(pid).and_then(|process| process.stat());
    state.is_ok_and(|stat| stat.state != 'Z' && stat.state != 'X')
}

/// Returns whether the process has an address space; a thread of the kernel does not.
fn has_memory(pid: i32) -> bool {
    let stat = procfs::process::Process::new(pid).and_then(|process| process.stat());
    stat.map_or(true, |stat| stat.vsize > 0)
}

/// Opens the output before the command starts, so that a wrong path does not cost the measurement.
fn sink(path: &Path, force: bool) -> Result<Sink> {
    let is_stdout = files::is_stdout(path);
    let out: Box<dyn std::io::Write + Send> =
        if is_stdout { Box::new(std::io::stdout()) } else { Box::new(files::create(path, force)?) };
    let name = path.display().to_string();
    let failed = move |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(error) if is_stdout || error.kind() == ErrorKind::BrokenPipe => {
            text::out::failed(&error)
        }
        csv::ErrorKind::Io(error) => Failure::io(format!("write {name}"), error),
        other => Failure::io(format!("write {name}"), format!("{other:?}")),
    };
    let mut series = series_csv::SeriesWriter::new(out).map_err(&failed)?;
    Ok(Sink(Box::new(move |sample: &Sample| series.write(sample).map_err(&failed))))
}

#[derive(Serialize)]
struct WatchReport {
    out: String,
    wall_s: f64,
    /// The figures of a command that ended.
    #[serde(flatten)]
    end: Option<End>,
    quantities: Vec<Summary>,
}

#[derive(Serialize)]
struct End {
    exit: String,
    exit_code: u8,
    cpu_s: f64,
    faults: u64,
    /// Peak of the largest single process, from the kernel (`ru_maxrss`).
    max_rss_kb: u64,
}

impl WatchReport {
    fn of(out: &Path, outcome: &Outcome) -> Self {
        let end = End {
            exit: outcome.exit_word(),
            exit_code: outcome.exit_code(),
            cpu_s: outcome.cost.cpu.as_secs_f64(),
            faults: outcome.cost.faults,
            max_rss_kb: outcome.cost.max_rss_kb,
        };
        Self { end: Some(end), ..Self::of_series(out, &outcome.series, outcome.wall) }
    }

    fn of_series(out: &Path, series: &Series, wall: Duration) -> Self {
        Self {
            out: out.display().to_string(),
            wall_s: wall.as_secs_f64(),
            end: None,
            quantities: summary::all(&series.samples),
        }
    }

    fn print(&self, json: bool) -> Result<()> {
        if json {
            return text::out::json(self);
        }
        let [table, sentence, summary] = [self.table(), self.sentence(), self.summary_line()];
        text::err::note(&format!("\n{table}\n{sentence}\n{summary}"))
    }

    fn table(&self) -> String {
        let mut table = text::table::plain(&["", "samples", "mean", "max", "p95", "last"], 1);
        for q in &self.quantities {
            let figures = [q.mean_kb, q.max_kb, q.p95_kb, q.last_kb].map(text::kib);
            let [mean, max, p95, last] = figures;
            table.add_row([q.quantity.to_owned(), q.n.to_string(), mean, max, p95, last]);
        }
        table.trim_fmt()
    }

    fn sentence(&self) -> String {
        let wall = text::seconds(self.wall_s);
        self.end.as_ref().map_or_else(
            || format!("watched for {wall}"),
            |end| {
                format!(
                    "exit {}, wall {wall}, CPU {}, {} faults, largest process {}",
                    end.exit,
                    text::seconds(end.cpu_s),
                    text::count(end.faults),
                    text::kib(end.max_rss_kb as f64),
                )
            },
        )
    }

    /// Returns one line for programs, in the form of the C hz3's `measure_mem_timeseries.sh`.
    fn summary_line(&self) -> String {
        let rss = self.quantities.first();
        let kb = |figure: fn(&Summary) -> f64| rss.map_or(0.0, figure);
        format!(
            "[MEM_TS] out={} rc={} n={} mean_kb={:.0} max_kb={:.0} p95_kb={:.0}",
            self.out,
            self.end.as_ref().map_or(0, |end| end.exit_code),
            rss.map_or(0, |summary| summary.n),
            kb(|s| s.mean_kb),
            kb(|s| s.max_kb),
            kb(|s| s.p95_kb),
        )
    }
}
