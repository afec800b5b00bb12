//! One trial: a case on an allocator, in a process of its own, watched from outside.

use super::cases::{Case, What};
use crate::counts::StatisticsFile;
use crate::failure::{Failure, Result};
use crate::files::is_on_path;
use crate::measure::bench_report::{BenchReport, Percentiles};
use crate::measure::job::{self, Job, Outcome, Streams, Tee};
use crate::measure::sample::Sample;
use crate::measure::sampler::{Ends, Plan};
use crate::measure::signals::Interruption;
use crate::measure::stdin::Input;
use crate::peers::{Peer, complaint};
use crate::stats;
use hz3_tools::load::Load;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// Options for callgrind that count the instructions and write only their sum, to standard error.
const CALLGRIND: [&str; 3] = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];

/// The options of `hz3 bench` that only a trial sets.
pub(crate) const OWN_OPTIONS: [&str; 4] = ["--json", "--no-harness", "--no-latency", "--best-of"];

/// The sampling interval of the C hz3.
const INTERVAL: Duration = Duration::from_millis(50);

/// The unit of speed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Measure {
    /// Operations a second
    #[default]
    Time,
    /// Operations per million instructions, counted by callgrind
    Instructions,
}

impl Measure {
    /// Names the unit of the speed figures.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Time => "operations a second",
            Self::Instructions => "operations per million instructions",
        }
    }

    /// Fails if the program that counts is not installed.
    pub(crate) fn check(self) -> Result<()> {
        if self == Self::Instructions && !is_on_path(CALLGRIND[0]) {
            let what = format!("instructions are counted by {}, which is not found", CALLGRIND[0]);
            return Err(Failure::new(what).with_remedy("apt-get install valgrind"));
        }
        Ok(())
    }

    /// Passes of a tight loop within a trial. The fastest counts.
    fn best_of(self) -> &'static str {
        match self {
            Self::Time => "5",
            Self::Instructions => "1",
        }
    }
}

/// The figures of one trial.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
pub(crate) struct Figures {
    /// Operations per second; for a command, runs per second.
    pub(crate) speed: Option<f64>,
    /// Operations of the throughput pass, if the workload reports them.
    #[serde(default)]
    pub(crate) operations: Option<f64>,
    /// Wall and CPU time of the whole process in seconds.
    pub(crate) wall_s: f64,
    pub(crate) cpu_s: f64,
    /// Page faults.
    pub(crate) faults: u64,
    /// Largest resident set of the whole process, as [`Outcome::peak_rss_kb`] says, and the mean of
    /// the samples.
    pub(crate) peak_rss_kb: f64,
    pub(crate) mean_rss_kb: Option<f64>,
    /// Resident set in KiB: at the end of the last idle time; the largest end; all ends in order;
    /// and their growth per cycle.
    pub(crate) idle_rss_kb: Option<f64>,
    #[serde(default)]
    pub(crate) worst_idle_rss_kb: Option<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) idle_ends_kb: Vec<f64>,
    pub(crate) growth_kb: Option<f64>,
    /// Resident set before the workload's first allocation, as the process itself read it.
    #[serde(default)]
    pub(crate) start_rss_kb: Option<f64>,
    /// The pages that contain survivors, in KiB.
    #[serde(default)]
    pub(crate) floor_kb: Option<f64>,
    /// The benchmark's own table of blocks, in KiB, if it reports one.
    pub(crate) harness_kb: Option<f64>,
    /// Charge of the control group in KiB: the largest, and at the end of the last idle time.
    #[serde(default)]
    pub(crate) peak_cgroup_kb: Option<f64>,
    #[serde(default)]
    pub(crate) idle_cgroup_kb: Option<f64>,
    /// Calls of madvise, as hz3 counted them.
    pub(crate) madvise_calls: Option<f64>,
    /// The 99.9th percentile of the latencies, if they were taken.
    #[serde(default)]
    pub(crate) malloc_p999_ns: Option<f64>,
    #[serde(default)]
    pub(crate) free_p999_ns: Option<f64>,
    /// The other load of the machine.
    #[serde(default)]
    pub(crate) load: Option<Load>,
    /// Latencies in nanoseconds and their curves, for pictures.
    pub(crate) latency: Option<LatencyCurves>,
    /// Resident set over time, if requested.
    pub(crate) series: Option<RssSeries>,
}

impl Figures {
    /// Returns the ends of the idle times but the first, whose cycle also fills caches and tables.
    pub(crate) fn later_idle_ends_kb(&self) -> &[f64] {
        self.idle_ends_kb.get(1..).unwrap_or_default()
    }
}

/// Latencies as `hz3 bench` reports them.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub(crate) struct LatencyCurves {
    pub(crate) malloc_ns: Option<Percentiles>,
    pub(crate) free_ns: Option<Percentiles>,
    pub(crate) malloc_curve: Vec<(u64, f64)>,
    pub(crate) free_curve: Vec<(u64, f64)>,
}

/// The resident set over time: pairs of milliseconds and KiB, and the phases in the same time.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub(crate) struct RssSeries {
    pub(crate) rss: Vec<(f64, u64)>,
    pub(crate) phases: Vec<Phase>,
}

/// A named span of a workload, in milliseconds from the start of the process.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub(crate) struct Phase {
    pub(crate) name: String,
    pub(crate) start_ms: f64,
    pub(crate) end_ms: f64,
}

/// The details of a benchmark that a trial reads.
#[derive(Debug, Deserialize)]
struct Details {
    #[serde(default)]
    phases: Vec<Phase>,
    start_rss_kb: Option<f64>,
    floor_kb: Option<f64>,
    harness_kb: Option<f64>,
}

/// How to run trials.
#[derive(Debug)]
pub(crate) struct Runner<'a> {
    /// The signal that ended the session.
    pub(crate) signals: &'a Interruption,
    /// Time after which a trial is killed and counts as failed.
    pub(crate) limit: Duration,
    pub(crate) measure: Measure,
    /// Whether every trial takes latencies.
    pub(crate) latency: bool,
}

impl Runner<'_> {
    /// Runs `case` on `peer`. With `detailed`, always takes latencies, and keeps the curves and
    /// series for pictures. An error concerns this trial only.
    pub(crate) fn run(&self, case: &Case, peer: &Peer, detailed: bool) -> Result<Figures> {
        let statistics = StatisticsFile::new()?;
        let detailed = detailed && self.measure == Measure::Time;
        let latency = (detailed || self.latency) && self.measure == Measure::Time;
        let job = self.job(case, peer, latency, &statistics.path())?;
        let mut outcome = self.outcome(&job, peer)?;
        let mut figures = watched(&outcome);
        figures.madvise_calls = statistics.read()?.madvise_calls.map(|n| n as f64);
        match &case.what {
            What::Command(_) => {
                figures.speed = Some(1.0 / outcome.wall.as_secs_f64().max(1e-9));
                if peer.library.is_some() && !is_served(&outcome) {
                    return Err(Failure::new("the library was not mapped by the command"));
                }
            }
            What::Bench(_) => add_report(&mut figures, &mut outcome, peer, detailed)?,
        }
        if self.measure == Measure::Instructions {
            let instructions = instructions(&mut outcome)?;
            // The whole run of a command is one operation.
            figures.speed = Some(figures.operations.unwrap_or(1.0) / instructions * 1e6);
        }
        if detailed && figures.series.is_none() {
            figures.series =
                Some(RssSeries { rss: points(&outcome.series.samples), phases: vec![] });
        }
        Ok(figures)
    }

    /// Runs the job to its end. It is an error if it fails, or complains about the peer's library.
    fn outcome(&self, job: &Job, peer: &Peer) -> Result<Outcome> {
        let plan = Plan {
            interval: INTERVAL,
            detail_every: 0,
            eager: false,
            library: peer.library.clone(),
            limit: Some(self.limit),
            may_end: true,
            ends: Ends::default(),
            sink: None,
        };
        let mut input = Input::Nothing;
        let streams = Streams::Keep { input: &mut input, tee: Tee::Silent };
        let mut outcome = job::run(job, plan, streams, self.signals)?;
        if outcome.exit_code() != 0 {
            return Err(failed(&mut outcome, self.limit));
        }
        let said = outcome.output.as_mut().map(|output| output.stderr.text(1 << 16)).transpose()?;
        match said.as_deref().and_then(complaint::find) {
            Some(line) => Err(complaint::failure(&peer.name, line)),
            None => Ok(outcome),
        }
    }

    fn job(&self, case: &Case, peer: &Peer, latency: bool, statistics: &Path) -> Result<Job> {
        let mut words: Vec<OsString> = match self.measure {
            Measure::Time => Vec::new(),
            Measure::Instructions => CALLGRIND.map(Into::into).to_vec(),
        };
        match &case.what {
            What::Command(line) => words.extend(["sh", "-c", line].map(Into::into)),
            What::Bench(line) => {
                let exe =
                    std::env::current_exe().map_err(|e| Failure::io("find this program", e))?;
                words.extend([exe.into_os_string(), "bench".into()]);
                words.extend(line.iter().map(Into::into));
                let [json, no_harness, no_latency, best_of] = OWN_OPTIONS;
                words.extend([json, no_harness, best_of, self.measure.best_of()].map(Into::into));
                words.extend((!latency).then(|| no_latency.into()));
            }
        }
        let mut environment = vec![("HZ3_STATS".into(), Some(statistics.into()))];
        environment.extend(peer.apply());
        Ok(Job { words, environment })
    }
}

/// Returns whether the command mapped the library. A command that ended before it could be sampled
/// counts as having mapped it.
fn is_served(outcome: &Outcome) -> bool {
    /// With fewer samples the command may have ended before the library was seen.
    const ENOUGH_SAMPLES: usize = 5;
    let seen = &outcome.series;
    seen.library_mapped.unwrap_or(seen.samples.len() < ENOUGH_SAMPLES)
}

/// Returns the instructions that callgrind counted.
fn instructions(outcome: &mut Outcome) -> Result<f64> {
    let output = outcome.output.as_mut().ok_or_else(|| Failure::new("no output was kept"))?;
    let text = output.stderr.text(usize::MAX)?;
    collected(&text).ok_or_else(|| {
        Failure::new("callgrind reported no count").with_remedy("is valgrind installed?")
    })
}

/// Returns the sum in callgrind's last lines: `==1== Collected : 123`.
fn collected(text: &str) -> Option<f64> {
    let line = text.lines().rev().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ').next()?.parse().ok().filter(|count| *count > 0.0)
}

fn failed(outcome: &mut Outcome, limit: Duration) -> Failure {
    if outcome.series.timed_out {
        return Failure::new(format!("killed after {} s", limit.as_secs_f64()));
    }
    let said = outcome.output.as_mut().and_then(|output| output.stderr.text(400).ok());
    let said = said.unwrap_or_default();
    Failure::new(format!("ended with {}: {}", outcome.exit_word(), said.trim()))
}

fn watched(outcome: &Outcome) -> Figures {
    let rss: Vec<f64> = outcome.series.samples.iter().map(|s| s.rss_kb as f64).collect();
    Figures {
        wall_s: outcome.wall.as_secs_f64(),
        cpu_s: outcome.cost.cpu.as_secs_f64(),
        faults: outcome.cost.faults,
        peak_rss_kb: outcome.peak_rss_kb() as f64,
        mean_rss_kb: stats::mean(&rss),
        load: Some(outcome.load),
        ..Figures::default()
    }
}

fn add_report(
    figures: &mut Figures,
    outcome: &mut Outcome,
    peer: &Peer,
    detailed: bool,
) -> Result<()> {
    let report = read_report(outcome, peer)?;
    let details: Details = serde_json::from_value(Value::Object(report.details))
        .map_err(|e| Failure::io("understand the benchmark's details", e))?;
    let p999 = |latencies: Percentiles| latencies.p999 as f64;
    figures.speed = Some(report.ops_per_s);
    figures.operations = Some(report.operations as f64);
    figures.start_rss_kb = details.start_rss_kb;
    figures.floor_kb = details.floor_kb;
    figures.harness_kb = details.harness_kb;
    figures.malloc_p999_ns = report.malloc_ns.map(p999);
    figures.free_p999_ns = report.free_ns.map(p999);
    // The report is on the system's monotonic clock; the samples start at 0.
    let shifted = |phase: Phase| Phase {
        start_ms: phase.start_ms - outcome.started_ms,
        end_ms: phase.end_ms - outcome.started_ms,
        name: phase.name,
    };
    let phases: Vec<Phase> = details.phases.into_iter().map(shifted).collect();
    // The memory of the latency pass, which comes last, is left out of the picture.
    let until = report.measured_until_ms - outcome.started_ms;
    outcome.series.samples.retain(|sample| sample.until_ms <= until);
    add_memory(figures, &phases, &outcome.series.samples);
    if detailed {
        figures.latency = Some(LatencyCurves {
            malloc_ns: report.malloc_ns,
            free_ns: report.free_ns,
            malloc_curve: report.malloc_curve,
            free_curve: report.free_curve,
        });
        figures.series = Some(RssSeries { rss: points(&outcome.series.samples), phases });
    }
    Ok(())
}

/// Reads what the benchmark printed, and checks that it ran on the peer.
fn read_report(outcome: &mut Outcome, peer: &Peer) -> Result<BenchReport> {
    let output = outcome.output.as_mut().ok_or_else(|| Failure::new("no output was kept"))?;
    let text = output.stdout.text(usize::MAX)?;
    let report: BenchReport = serde_json::from_str(&text).map_err(|e| {
        Failure::io(format!("understand the benchmark's output `{}`", text.trim()), e)
    })?;
    if !peer.is_origin(&report.allocator) {
        return Err(Failure::new(format!("malloc came from {}", report.allocator)));
    }
    Ok(report)
}

fn add_memory(figures: &mut Figures, phases: &[Phase], samples: &[Sample]) {
    let rss: Vec<f64> = samples.iter().map(|sample| sample.rss_kb as f64).collect();
    figures.mean_rss_kb = stats::mean(&rss);
    let charges = samples.iter().filter_map(|sample| sample.cgroup_kb);
    figures.peak_cgroup_kb = charges.max().map(|kb| kb as f64);
    let ends = idle_ends(phases, samples);
    figures.idle_cgroup_kb = ends.last().and_then(|sample| Some(sample.cgroup_kb? as f64));
    let idle: Vec<f64> = ends.iter().map(|sample| sample.rss_kb as f64).collect();
    figures.idle_rss_kb = idle.last().copied();
    figures.worst_idle_rss_kb = idle.iter().copied().reduce(f64::max);
    figures.idle_ends_kb = idle;
    figures.growth_kb = stats::trend::slope(figures.later_idle_ends_kb());
}

/// Finds the last sample of each idle phase that began and ended within the phase.
fn idle_ends<'a>(phases: &[Phase], samples: &'a [Sample]) -> Vec<&'a Sample> {
    let idle = phases.iter().filter(|phase| phase.name == "idle");
    let last_sample = |phase: &Phase| {
        let inside =
            |sample: &&Sample| phase.start_ms <= sample.t_ms && sample.until_ms <= phase.end_ms;
        samples.iter().rfind(inside)
    };
    idle.filter_map(last_sample).collect()
}

/// Thins a series to this many points, evenly spread.
const POINTS: usize = 600;

fn points(samples: &[Sample]) -> Vec<(f64, u64)> {
    let step = samples.len().div_ceil(POINTS).max(1);
    samples.iter().step_by(step).map(|sample| (sample.t_ms, sample.rss_kb)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(t_ms: f64, rss_kb: u64) -> Sample {
        Sample { t_ms, until_ms: t_ms, rss_kb, ..Sample::default() }
    }

    #[test]
    fn the_idle_figure_is_the_last_sample_of_each_idle_phase() {
        let phase =
            |name: &str, start_ms, end_ms| Phase { name: name.to_owned(), start_ms, end_ms };
        let phases =
            [phase("burst", 0.0, 100.0), phase("idle", 100.0, 200.0), phase("idle", 300.0, 400.0)];
        let samples = [
            sample(90.0, 9),
            sample(110.0, 5),
            sample(190.0, 4),
            sample(390.0, 6),
            sample(410.0, 7),
        ];
        let ends: Vec<u64> = idle_ends(&phases, &samples).iter().map(|s| s.rss_kb).collect();
        assert_eq!(ends, [4, 6]);
        // A sample that ends later may have seen what came after the phase.
        let late = Sample { until_ms: 401.0, ..sample(395.0, 8) };
        let ends: Vec<u64> = idle_ends(&phases, &[samples.to_vec(), vec![late]].concat())
            .iter()
            .map(|s| s.rss_kb)
            .collect();
        assert_eq!(ends, [4, 6]);
    }

    #[test]
    fn the_count_is_the_last_word_of_callgrinds_line() {
        let text = "==7== Events    : Ir\n==7== Collected : 1812345\n==7==\n";
        assert_eq!(collected(text), Some(1_812_345.0));
        assert_eq!(collected("nothing"), None);
    }

    #[test]
    fn long_series_are_thinned_out() {
        let samples: Vec<Sample> = (0..5000).map(|i| sample(f64::from(i), 1)).collect();
        let points = points(&samples);
        assert!((POINTS / 2..=POINTS).contains(&points.len()), "{}", points.len());
    }
}
