//! Starts a command, samples it, and waits for it.

use super::clock::monotonic_ms;
pub(crate) use super::relay::Tee;
use super::relay::{Output, Relay};
use super::sampler::{Plan, Sampler, Series};
use super::signals::Interruption;
use super::stdin::Input;
use super::tree::{Before, Tree};
use super::wait::{self, Cost};
use crate::failure::{CANNOT_EXECUTE, Failure, NOT_FOUND, Result};
use crate::files;
use hz3_tools::load::{Load, Meter};
use std::ffi::OsString;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A command to run: a program, its arguments, and changes to the environment.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// The program (looked up in `PATH`) and its arguments; at least one word.
    pub(crate) words: Vec<OsString>,
    /// Variables to set, or to unset where there is no value.
    pub(crate) environment: Vec<(OsString, Option<OsString>)>,
}

/// The standard streams of the command.
#[derive(Debug)]
pub(crate) enum Streams<'a> {
    /// The command inherits ours.
    Inherit,
    /// Input comes from `input`; output is kept, and passed on as `tee` says.
    Keep { input: &'a mut Input, tee: Tee },
}

/// A finished run.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// How the command ended.
    pub(crate) status: ExitStatus,
    /// When it started, on the system's monotonic clock.
    pub(crate) started_ms: f64,
    /// Time from just before the start to the end.
    pub(crate) wall: Duration,
    /// The cost that the kernel accounts to it.
    pub(crate) cost: Cost,
    /// The other load of the machine.
    pub(crate) load: Load,
    /// The samples.
    pub(crate) series: Series,
    /// The output, if it was kept.
    pub(crate) output: Option<Output>,
}

impl Outcome {
    /// Returns the largest resident set in KiB: of the whole tree as sampled, or of one process as
    /// the kernel knows it. The kernel's figure is exact but does not see two processes at once.
    pub(crate) fn peak_rss_kb(&self) -> u64 {
        let sampled = self.series.samples.iter().map(|sample| sample.rss_kb).max();
        sampled.unwrap_or(0).max(self.cost.max_rss_kb)
    }

    /// Returns the resident set at the last sample, in KiB.
    pub(crate) fn last_rss_kb(&self) -> Option<u64> {
        self.series.samples.last().map(|sample| sample.rss_kb)
    }

    /// Returns the exit code as a shell gives it: 128 plus the number for a signal.
    pub(crate) fn exit_code(&self) -> u8 {
        let code = self.status.code().or_else(|| self.status.signal().map(|signal| 128 + signal));
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
    }

    /// Describes the end of the command in a word: `0`, `3`, `signal 11`.
    pub(crate) fn exit_word(&self) -> String {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => code.to_string(),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "unknown".to_owned(),
        }
    }
}

/// A running command.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    pid: i32,
    started_ms: f64,
    start: Instant,
    meter: Meter,
    sampler: Sampler,
    relay: Option<Relay>,
    streams: Streams<'a>,
}

/// Starts `job` and waits for its end.
pub(crate) fn run(
    job: &Job,
    plan: Plan,
    streams: Streams<'_>,
    signals: &Interruption,
) -> Result<Outcome> {
    start(job, plan, streams, signals)?.finish()
}

pub(crate) fn start<'a>(
    job: &Job,
    plan: Plan,
    mut streams: Streams<'a>,
    signals: &Interruption,
) -> Result<Running<'a>> {
    let mut command = prepare(job, &streams)?;
    let before = Before::now();
    let meter = Meter::start();
    let started_ms = monotonic_ms();
    let start = Instant::now();
    let mut child = command.spawn().map_err(|e| cannot_start(job, &e))?;
    let pid = i32::try_from(child.id()).map_err(|e| Failure::io("use the process number", e))?;
    let sampler = Sampler::start(Tree::of(pid, before), start, plan, signals.clone());
    let relay = start_relay(&mut child, &mut streams)?;
    Ok(Running { pid, started_ms, start, meter, sampler, relay, streams })
}

impl Running<'_> {
    /// Returns the process id of the command's first process.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    pub(crate) fn finish(mut self) -> Result<Outcome> {
        let (status, cost) = wait::wait(self.pid)?;
        let wall = self.start.elapsed();
        let load = self.meter.stop(cost.cpu);
        let series = self.sampler.finish();
        let output = self.relay.map(|relay| finish_relay(relay, &mut self.streams)).transpose()?;
        Ok(Outcome { status, started_ms: self.started_ms, wall, cost, load, series, output })
    }
}

fn prepare(job: &Job, streams: &Streams<'_>) -> Result<Command> {
    let mut words = job.words.iter();
    let program = words.next().ok_or_else(|| Failure::new("no command was given"))?;
    let mut command = Command::new(program);
    command.args(words);
    for (name, value) in &job.environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Streams::Keep { input, .. } = streams {
        command.stdin(input.stdio()?).stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    // SAFETY: the closure does nothing, so it is safe after a fork. With a closure the standard
    // library starts the child by `fork`, without one by `posix_spawn`, in our address space. The
    // kernel would then count our own peak as the child's (`ru_maxrss`).
    unsafe { command.pre_exec(|| Ok(())) };
    Ok(command)
}

fn start_relay(
    child: &mut std::process::Child,
    streams: &mut Streams<'_>,
) -> Result<Option<Relay>> {
    let Streams::Keep { input, tee } = streams else { return Ok(None) };
    let replay = match std::mem::replace(*input, Input::Device) {
        Input::Stream(replay) => Some(replay),
        other => {
            **input = other;
            None
        }
    };
    Relay::start(child, replay, *tee).map(Some)
}

fn finish_relay(relay: Relay, streams: &mut Streams<'_>) -> Result<Output> {
    let (output, replay) = relay.finish()?;
    if let (Streams::Keep { input, .. }, Some(replay)) = (streams, replay) {
        **input = Input::Stream(replay);
    }
    Ok(output)
}

/// Fails if the command's program is nowhere to be found.
pub(crate) fn needs_program(words: &[OsString]) -> Result<()> {
    let Some(name) = words.first().and_then(|program| program.to_str()) else { return Ok(()) };
    let exists =
        if name.contains('/') { Path::new(name).exists() } else { files::is_on_path(name) };
    if exists { Ok(()) } else { Err(not_found(name)) }
}

fn not_found(name: &str) -> Failure {
    let what = match name {
        "" => "the name of the command is empty".to_owned(),
        path if path.contains('/') => format!("{path}: there is no such file"),
        name => format!("{name}: not found in PATH"),
    };
    Failure::new(what).with_code(NOT_FOUND)
}

fn cannot_start(job: &Job, error: &std::io::Error) -> Failure {
    let name = job.words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    if name.is_empty() || error.kind() == std::io::ErrorKind::NotFound {
        not_found(&name)
    } else {
        Failure::io(format!("execute {name}"), error).with_code(CANNOT_EXECUTE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::sample::Sample;

    #[test]
    fn the_peak_is_the_larger_of_what_was_sampled_and_what_the_kernel_knows() {
        let outcome = |sampled: [u64; 3], max_rss_kb| Outcome {
            status: ExitStatus::default(),
            started_ms: 0.0,
            wall: Duration::ZERO,
            cost: Cost { cpu: Duration::ZERO, max_rss_kb, faults: 0 },
            load: Load::default(),
            series: Series {
                samples: sampled.map(|rss_kb| Sample { rss_kb, ..Sample::default() }).to_vec(),
                ..Series::default()
            },
            output: None,
        };
        assert_eq!(outcome([10, 60, 5], 40).peak_rss_kb(), 60, "two processes at once");
        assert_eq!(outcome([10, 20, 5], 40).peak_rss_kb(), 40, "between two looks");
    }
}
