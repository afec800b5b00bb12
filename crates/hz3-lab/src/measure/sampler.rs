//! The thread that looks at a running command again and again.

use super::sample::{self, Sample};
use super::signals::Interruption;
use super::tree::Tree;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often to look, and at what.
#[derive(Debug, Clone)]
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
}

/// What the thread saw.
#[derive(Debug, Default)]
pub(crate) struct Series {
    /// The samples in order of time.
    pub(crate) samples: Vec<Sample>,
    /// Whether the command had the planned library mapped; `None` when it was never looked at.
    pub(crate) library_mapped: Option<bool>,
    /// The command ran into the plan's limit and was killed.
    pub(crate) timed_out: bool,
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
                let pause = watch.next_look().saturating_duration_since(Instant::now());
                if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    return watch.series;
                }
            }
        });
        Self { stop, thread }
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
    series: Series,
}

impl Watch {
    fn new(tree: Tree, start: Instant, plan: Plan, signals: Interruption) -> Self {
        let series = Series::default();
        // A signal that came before this thread was up has reached nobody yet.
        Self { tree, start, plan, signals, passed_on: None, looks: 0, series }
    }

    fn look(&mut self) {
        let every = self.plan.detail_every;
        let detailed = every > 0 && self.looks.is_multiple_of(every);
        self.looks += 1;
        self.series.samples.extend(sample::take(&mut self.tree, self.start, detailed));
        self.passed_on = self.signals.pass_on(self.tree.root(), self.passed_on);
        self.look_for_library();
        self.end_what_hangs();
    }

    fn end_what_hangs(&mut self) {
        if self.plan.limit.is_some_and(|limit| self.start.elapsed() > limit) {
            self.series.timed_out = true;
            let mut told = HashSet::new();
            // Again as long as there are new ones: a process may have forked while it was not told yet.
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
