//! Progress of a session: a bar on a terminal, a line now and then elsewhere.

use crate::failure::Result;
use crate::text::err;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Least time between two lines when there is no terminal.
const EVERY: Duration = Duration::from_secs(10);

/// Shows the progress of `total` trials.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    total: usize,
    done: usize,
    /// When the last line was written; `None` on a terminal.
    last_line: Option<Instant>,
    /// Lines may be written from the start.
    is_first: bool,
}

impl Progress {
    /// Starts at `done` of `total` trials.
    pub(super) fn new(total: usize, done: usize) -> Self {
        let bar = ProgressBar::new(total as u64).with_position(done as u64);
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        let last_line = (!std::io::stderr().is_terminal()).then(Instant::now);
        Self { bar, total, done, last_line, is_first: true }
    }

    /// Shows a message about the current trial.
    pub(super) fn show(&mut self, message: &str) -> Result<()> {
        self.bar.set_message(message.to_owned());
        if let Some(last) = &mut self.last_line
            && (self.is_first || last.elapsed() >= EVERY)
        {
            let (done, total) = (self.done, self.total);
            err::note(&format!("hz3: {done} of {total} trials done; {message}"))?;
            *last = Instant::now();
        }
        self.is_first = false;
        Ok(())
    }

    /// Counts one more trial as done.
    pub(super) fn step(&mut self) {
        self.done += 1;
        self.bar.inc(1);
    }

    /// Writes a line above the bar.
    pub(super) fn line(&self, text: &str) -> Result<()> {
        self.bar.suspend(|| err::note(text))
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
