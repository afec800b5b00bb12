//! `hz3 watch`: a command's memory over time.

use crate::cli::WatchArgs;
use crate::failure::{Failure, Result};
use crate::measure::job::{self, Job, Outcome, Streams};
use crate::measure::sampler::Plan;
use crate::measure::series_csv;
use crate::measure::signals::Interruption;
use crate::measure::summary::{self, Summary};
use crate::{measure, preload, text};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// Watches the command; the exit code is the command's.
pub(crate) fn run(args: &WatchArgs) -> Result<u8> {
    let library = args.lib.as_deref().map(preload::usable).transpose()?;
    measure::adopt_orphans()?;
    let out = Out::open(&args.out)?;
    let plan = Plan {
        interval: Duration::from_millis(args.interval),
        detail_every: args.pss_every,
        eager: false,
        library: library.clone(),
        limit: None,
    };
    let current = std::env::var_os(preload::VARIABLE);
    let environment = library
        .map(|library| {
            (preload::VARIABLE.into(), Some(preload::with_library(&library, current.as_deref())))
        })
        .into_iter()
        .collect();
    let job = Job { words: args.command.clone(), environment };
    let outcome = job::run(&job, plan, Streams::Inherit, &Interruption::watch()?)?;
    out.write(&outcome)?;
    Report::of(&args.out, &outcome).print(args.json)?;
    Ok(outcome.exit_code())
}

/// The place of the CSV, opened before the command starts: a wrong path must not cost the measurement.
enum Out {
    Stdout,
    File(std::fs::File),
}

impl Out {
    fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        std::fs::File::create(path)
            .map(Self::File)
            .map_err(|e| Failure::io(format!("write to {}", path.display()), e))
    }

    fn write(self, outcome: &Outcome) -> Result<()> {
        let samples = &outcome.series.samples;
        match self {
            Self::Stdout => series_csv::write(samples, std::io::stdout().lock()),
            Self::File(file) => series_csv::write(samples, std::io::BufWriter::new(file)),
        }
        .map_err(|e| Failure::io("write the samples", e))
    }
}

#[derive(Serialize)]
struct Report {
    out: String,
    exit: String,
    exit_code: u8,
    wall_s: f64,
    cpu_s: f64,
    faults: u64,
    /// The kernel's figure for the largest single process.
    max_rss_kb: u64,
    quantities: Vec<Summary>,
}

impl Report {
    fn of(out: &Path, outcome: &Outcome) -> Self {
        Self {
            out: out.display().to_string(),
            exit: outcome.exit_word(),
            exit_code: outcome.exit_code(),
            wall_s: outcome.wall.as_secs_f64(),
            cpu_s: outcome.cost.cpu.as_secs_f64(),
            faults: outcome.cost.faults,
            max_rss_kb: outcome.cost.max_rss_kb,
            quantities: summary::all(&outcome.series.samples),
        }
    }

    fn print(&self, json: bool) -> Result<()> {
        if json {
            let line = serde_json::to_string(self).map_err(|e| Failure::io("write JSON", e))?;
            println!("{line}");
        } else {
            eprintln!("\n{}\n{}\n{}", self.table(), self.sentence(), self.seeds_line());
        }
        Ok(())
    }

    fn table(&self) -> String {
        let mut table = text::table::plain(&["", "looks", "mean", "max", "p95", "last"], 1);
        for q in &self.quantities {
            let figures = [q.mean_kb, q.max_kb, q.p95_kb, q.last_kb].map(text::kib);
            let [mean, max, p95, last] = figures;
            table.add_row([q.quantity.to_owned(), q.n.to_string(), mean, max, p95, last]);
        }
        table.trim_fmt()
    }

    fn sentence(&self) -> String {
        format!(
            "exit {}, wall {}, CPU {}, {} faults, largest process {}",
            self.exit,
            text::seconds(self.wall_s),
            text::seconds(self.cpu_s),
            text::count(self.faults),
            text::kib(self.max_rss_kb as f64),
        )
    }

    /// The line that `measure_mem_timeseries.sh` ends with, so that its readers can read ours.
    fn seeds_line(&self) -> String {
        let rss = self.quantities.first();
        let kb = |figure: fn(&Summary) -> f64| rss.map_or(0.0, figure);
        format!(
            "[MEM_TS] out={} rc={} n={} mean_kb={:.0} max_kb={:.0} p95_kb={:.0}",
            self.out,
            self.exit_code,
            rss.map_or(0, |summary| summary.n),
            kb(|s| s.mean_kb),
            kb(|s| s.max_kb),
            kb(|s| s.p95_kb),
        )
    }
}
