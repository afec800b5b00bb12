//! A command that serves until it is told to stop: one pass on each allocator, or several pairs.

use super::passes::{Outcomes, Passes, Side};
use super::report::ratio;
use crate::cli::RunArgs;
use crate::failure::{Failure, Result};
use crate::measure::job::Outcome;
use crate::measure::listening::listens;
use crate::measure::sampler::Ends;
use crate::text;
use hz3_tools::load::{self, Load};
use serde::Serialize;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Time after which a server that listens on no socket gets its load.
const UNREADY: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

/// Makes the passes and reports them. Returns 0 if the server ended as planned.
pub(super) fn run(args: &RunArgs, passes: &mut Passes<'_>) -> Result<u8> {
    let pairs = usize::from(args.runs.unwrap_or(1));
    let mut outcomes = Outcomes::default();
    let mut loads: [Vec<Loaded>; 2] = [Vec::new(), Vec::new()];
    'passes: for pair in 0..pairs {
        for (place, side) in Side::in_pair(pair).into_iter().enumerate() {
            let number = 2 * pair + place + 1;
            let (all, side_name) = (2 * pairs, side.name());
            text::err::note(&format!("hz3: pass {number} of {all}: {side_name}"))?;
            let (outcome, loaded) = pass(args, passes, side)?;
            outcomes.of(side).push(outcome);
            loads[usize::from(side == Side::Hz3)].extend(loaded);
            if passes.signals.signal().is_some() {
                break 'passes;
            }
        }
    }
    let report = ServerReport::of(&outcomes, &loads);
    if args.json {
        text::out::json(&report)?;
    } else {
        text::err::note(&format!("\n{}", report.text(&outcomes)))?;
    }
    if let Some(code) = passes.signals.exit_code() {
        return Ok(code);
    }
    let unplanned = |outcome: &&Outcome| !outcome.series.ended;
    Ok(outcomes.hz3.iter().find(unplanned).map_or(0, Outcome::exit_code))
}

/// Makes one pass, with its load if there is one.
fn pass(args: &RunArgs, passes: &mut Passes<'_>, side: Side) -> Result<(Outcome, Option<Loaded>)> {
    let enough = Arc::new(AtomicBool::new(false));
    let ends = Ends { after: args.duration, asked: Some(Arc::clone(&enough)) };
    // The load starts before the server, so that it is not sampled as a child of the server.
    let load = args.load.as_deref().map(Gated::start).transpose()?;
    let running = passes.shown(side, ends)?;
    let server = running.pid();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = load.map(|load| scope.spawn(|| load.run(server, &enough, &over)));
        let outcome = running.finish();
        // Relaxed: the flag is the whole message; nothing is published with it.
        over.store(true, Ordering::Relaxed);
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<Loaded>>| {
            thread.join().unwrap_or_else(|_| Err(Failure::new("the load's thread panicked")))
        };
        Ok((outcome?, load.map(join).transpose()?))
    })
}

/// The result of the load.
#[derive(Debug, Serialize)]
struct Loaded {
    seconds: f64,
    exit_code: Option<i32>,
    /// The last line that it wrote to its standard output.
    last_line: String,
}

/// A load that waits for a signal to start.
struct Gated(Child);

impl Gated {
    fn start(command: &str) -> Result<Self> {
        // The first shell waits for a line, then replaces itself by the load.
        let script = "read -r go && exec sh -c \"$1\" < /dev/null";
        Command::new("sh")
            .args(["-c", script, "load", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map(Self)
            .map_err(|e| Failure::io("start the load", e))
    }

    /// Starts the load when `server` is ready, waits for it, and then sets `enough`. Ends the load
    /// if the server is `over` first.
    fn run(mut self, server: i32, enough: &AtomicBool, over: &AtomicBool) -> Result<Loaded> {
        let start = Instant::now();
        // Relaxed, here and below: the flags are the whole message.
        let is_over = || over.load(Ordering::Relaxed);
        while !listens(server) && !is_over() && start.elapsed() < UNREADY {
            std::thread::sleep(PAUSE);
        }
        let failed = |e| Failure::io("run the load", e);
        let start = Instant::now();
        if let Some(mut stdin) = self.0.stdin.take().filter(|_| !is_over()) {
            stdin.write_all(b"go\n").map_err(failed)?;
        }
        let output = self.0.stdout.take();
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut output) = output {
                // The lines before a read error are shown as well.
                let _ = output.read_to_end(&mut bytes);
            }
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let status = loop {
            if let Some(status) = self.0.try_wait().map_err(failed)? {
                break status;
            }
            if is_over() {
                // The load may have ended by itself in the meantime.
                let _ = self.0.kill();
            }
            std::thread::sleep(PAUSE);
        };
        let seconds = start.elapsed().as_secs_f64();
        enough.store(true, Ordering::Relaxed);
        let said = reader.join().unwrap_or_default();
        let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
        let last_line = lines.next_back().unwrap_or("").to_owned();
        Ok(Loaded { seconds, exit_code: status.code(), last_line })
    }
}

/// The result of one side: the first pass in full, the others for the intervals.
#[derive(Debug, Serialize)]
struct SideReport {
    passes: usize,
    wall_s: f64,
    cpu_s: f64,
    faults: u64,
    peak_rss_kb: u64,
    exit: String,
    /// Seconds and KiB.
    rss: Vec<(f64, u64)>,
    load: Option<serde_json::Value>,
}

#[derive(Debug, Serialize)]
struct ServerReport {
    machine_load: Option<String>,
    system: Option<SideReport>,
    hz3: Option<SideReport>,
}

impl ServerReport {
    fn of(outcomes: &Outcomes, loads: &[Vec<Loaded>; 2]) -> Self {
        let side = |outcomes: &[Outcome], loads: &[Loaded]| {
            let first = outcomes.first()?;
            let samples = &first.series.samples;
            Some(SideReport {
                passes: outcomes.len(),
                wall_s: first.wall.as_secs_f64(),
                cpu_s: first.cost.cpu.as_secs_f64(),
                faults: first.cost.faults,
                peak_rss_kb: first.peak_rss_kb(),
                exit: if first.series.ended { "ended".to_owned() } else { first.exit_word() },
                rss: samples.iter().map(|sample| (sample.t_ms / 1e3, sample.rss_kb)).collect(),
                load: loads.first().and_then(|load| serde_json::to_value(load).ok()),
            })
        };
        let all: Vec<&Load> =
            outcomes.system.iter().chain(&outcomes.hz3).map(|o| &o.load).collect();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            machine_load: load::sentence(all.into_iter(), processors),
            system: side(&outcomes.system, &loads[0]),
            hz3: side(&outcomes.hz3, &loads[1]),
        }
    }

    fn text(&self, outcomes: &Outcomes) -> String {
        let heads = ["", "system", "hz3", "hz3 / system"];
        let mut table = text::table::plain(&heads, 1);
        let mut row = |name: &str, cell: &dyn Fn(&SideReport) -> String, ratio: String| {
            let cell = |side: &Option<SideReport>| side.as_ref().map_or("-".to_owned(), cell);
            table.add_row([name.to_owned(), cell(&self.system), cell(&self.hz3), ratio]);
        };
        let of = |figure: fn(&Outcome) -> f64| ratio(&outcomes.ratios(figure));
        let none = String::new;
        row("pass", &|s| text::seconds(s.wall_s), none());
        for percent in [10u32, 25, 50, 75, 100] {
            let name = format!("RSS at {percent} %");
            row(&name, &|s| text::kib(at(&s.rss, percent)), none());
        }
        row("peak RSS", &|s| text::kib(s.peak_rss_kb as f64), of(|o| o.peak_rss_kb() as f64));
        row("page faults", &|s| text::count(s.faults), of(|o| o.cost.faults as f64));
        row("CPU", &|s| text::seconds(s.cpu_s), of(|o| o.cost.cpu.as_secs_f64()));
        let load = |key: &'static str| {
            move |side: &SideReport| side.load.as_ref().map_or("-".to_owned(), |l| word(&l[key]))
        };
        row("load's time, s", &load("seconds"), none());
        row("exit", &|s| s.exit.clone(), none());
        let mut lines: Vec<String> = self.machine_load.iter().cloned().collect();
        lines.extend([table.trim_fmt(), String::new()]);
        for (name, side) in [("system", &self.system), ("hz3", &self.hz3)] {
            let said = side.as_ref().and_then(|s| s.load.as_ref()?["last_line"].as_str());
            lines.extend(said.map(|said| format!("The load on {name} said last: {said}")));
            let code = side.as_ref().and_then(|s| s.load.as_ref()?["exit_code"].as_i64());
            let failed = code.filter(|code| *code != 0);
            lines.extend(
                failed.map(|code| format!("WARNING: the load on {name} ended with {code}.")),
            );
        }
        let pairs = outcomes.pairs();
        if pairs < crate::stats::estimate::FEWEST {
            let needed = crate::experiment::analysis::rounds_needed(pairs);
            lines.push(format!("What differs may differ by chance: {needed} (--runs)."));
        } else {
            lines.push(text::RATIO_KEY.to_owned() + ".");
        }
        lines.join("\n")
    }
}

fn word(value: &serde_json::Value) -> String {
    value.as_f64().map_or_else(|| value.to_string(), |number| format!("{number:.2}"))
}

/// Returns the resident set after this share of the time, in per cent.
fn at(rss: &[(f64, u64)], percent: u32) -> f64 {
    let end = rss.last().map_or(0.0, |(seconds, _)| *seconds);
    let then = end * f64::from(percent) / 100.0;
    rss.iter().rfind(|(seconds, _)| *seconds <= then).map_or(0.0, |(_, kb)| *kb as f64)
}
