//! The thread that samples a running command at an interval.

use super::sample::{self, Sample};
use super::signals::Interruption;
use super::tree::Tree;
use crate::failure::{Failure, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The interval and extent of sampling.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Time between two looks.
    pub(crate) interval: Duration,
    /// Every how many looks `smaps_rollup` is read as well; 0 is never.
    pub(crate) detail_every: usize,
    /// Look more often at first, so that a command of a few milliseconds is seen at all.
    pub(crate) eager: bool,
    /// A library to look for in the command's mappings.
    pub(crate) library: Option<PathBuf>,
    /// Kill the command when it runs longer than this.
    pub(crate) limit: Option<Duration>,
    /// Whether the command is ours to end.
    pub(crate) may_end: bool,
    /// When to ask the command to end.
    pub(crate) ends: Ends,
    /// Takes every sample as it comes; a failure ends the command.
    pub(crate) sink: Option<Sink>,
}

/// When a command that does not end by itself is asked to, by SIGTERM; [`Ends::GRACE`] later it is
/// killed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    /// At this time after its start.
    pub(crate) after: Option<Duration>,
    /// When somebody sets this.
    pub(crate) asked: Option<Arc<AtomicBool>>,
}

impl Ends {
    const GRACE: Duration = Duration::from_secs(10);

    fn are_reached(&self, running: Duration) -> bool {
        // Relaxed: the flag is the whole message; nothing is published with it.
        let asked = self.asked.as_ref().is_some_and(|asked| asked.load(Ordering::Relaxed));
        asked || self.after.is_some_and(|after| running >= after)
    }
}

/// Where samples go as they come.
pub(crate) struct Sink(pub(crate) Box<TakeSample>);

type TakeSample = dyn FnMut(&Sample) -> Result<()> + Send;

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sink")
    }
}

/// The samples, and how the command ended.
#[derive(Debug, Default)]
pub(crate) struct Series {
    /// The samples in order of time.
    pub(crate) samples: Vec<Sample>,
    /// Whether the command had the planned library mapped; `None` when it was never looked at.
    pub(crate) library_mapped: Option<bool>,
    /// The command ran into the plan's limit and was killed.
    pub(crate) timed_out: bool,
    /// The command was asked to end, as planned.
    pub(crate) ended: bool,
    /// The error of the sink that could not take a sample.
    pub(crate) sink_failure: Option<Failure>,
}

/// A running sampler.
#[derive(Debug)]
pub(crate) struct Sampler {
    stop: Sender<()>,
    thread: JoinHandle<Series>,
}

impl Sampler {
    /// Starts to look at `tree`, whose root started at `start`.
    pub(crate) fn start(tree: Tree, start: Instant, plan: Plan, signals: Interruption) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut watch = Watch::new(tree, start, plan, signals);
            loop {
                watch.look();
                if watch.series.sink_failure.is_some() && !watch.plan.may_end {
                    return watch.series;
                }
                let pause = watch.next_look().saturating_duration_since(Instant::now());
                if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    return watch.series;
                }
            }
        });
        Self { stop, thread }
    }

    /// Returns whether the thread has ended by itself, because a sample could not be written.
    pub(crate) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends the thread and takes what it saw.
    pub(crate) fn finish(self) -> Series {
        drop(self.stop);
        // With panic = "abort" a panicked sampler has ended the program already.
        self.thread.join().unwrap_or_default()
    }
}

struct Watch {
    tree: Tree,
    start: Instant,
    plan: Plan,
    signals: Interruption,
    passed_on: Option<i32>,
    looks: usize,
    /// When the command was asked to end.
    asked_at: Option<Instant>,
    series: Series,
}

impl Watch {
    fn new(tree: Tree, start: Instant, plan: Plan, signals: Interruption) -> Self {
        let series = Series::default();
        // A signal that came before this thread was up has reached nobody yet.
        Self { tree, start, plan, signals, passed_on: None, looks: 0, asked_at: None, series }
    }

    fn look(&mut self) {
        let every = self.plan.detail_every;
        let detailed = every > 0 && self.looks.is_multiple_of(every);
        self.looks += 1;
        let sample = sample::take(&mut self.tree, self.start, detailed);
        if let (Some(sample), Some(Sink(sink))) = (&sample, &mut self.plan.sink)
            && let Err(failure) = sink(sample)
        {
            self.series.sink_failure = Some(failure);
            self.plan.sink = None;
        }
        self.series.samples.extend(sample);
        self.passed_on = self.signals.pass_on(self.tree.root(), self.passed_on);
        self.look_for_library();
        self.end_what_hangs();
    }

    fn end_what_hangs(&mut self) {
        let running = self.start.elapsed();
        if !self.plan.may_end {
            return;
        }
        let is_due = self.series.sink_failure.is_some() || self.plan.ends.are_reached(running);
        if is_due && self.asked_at.is_none() {
            self.asked_at = Some(Instant::now());
            self.series.ended = true;
            if let Some(root) = Pid::from_raw(self.tree.root()) {
                // It may just have ended by itself.
                let _ = kill_process(root, Signal::TERM);
            }
        }
        let hangs = self.plan.limit.is_some_and(|limit| running > limit);
        self.series.timed_out |= hangs;
        if hangs || self.asked_at.is_some_and(|asked| asked.elapsed() > Ends::GRACE) {
            let mut told = HashSet::new();
            // Again as long as there are new ones: a process may have forked while it was not told
            // yet.
            loop {
                let members = self.tree.members();
                let fresh: Vec<i32> = members.into_iter().filter(|pid| told.insert(*pid)).collect();
                if fresh.is_empty() {
                    break;
                }
                for pid in fresh.into_iter().filter_map(Pid::from_raw) {
                    // It may just have ended by itself.
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
        }
    }

    fn look_for_library(&mut self) {
        /// The loader maps preloaded libraries before the first instruction of the program: later
        /// looks find nothing new.
        const LOOKS: usize = 10;
        if self.looks > LOOKS || self.series.library_mapped == Some(true) {
            return;
        }
        if let Some(library) = &self.plan.library
            && let Some(mapped) = sample::maps_library(self.tree.root(), library)
        {
            self.series.library_mapped = Some(mapped);
        }
    }

    fn next_look(&self) -> Instant {
        /// An eager sampler waits a tenth of the time that has passed, but at least this long.
        const SHORTEST: Duration = Duration::from_millis(1);
        let now = Instant::now();
        let passed = now - self.start;
        let interval = self.plan.interval.max(SHORTEST);
        if self.plan.eager && passed < interval * 10 {
            return now + passed.div_f64(10.0).max(SHORTEST);
        }
        // On the grid of the interval: a look that took long delays no other one.
        let periods = passed.as_nanos() / interval.as_nanos() + 1;
        self.start + interval.saturating_mul(u32::try_from(periods).unwrap_or(u32::MAX))
    }
}
