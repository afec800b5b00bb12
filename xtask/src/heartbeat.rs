//! A sign of life while a program that was started says nothing.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Silence is never longer than this.
const PERIOD: Duration = Duration::from_secs(9);

/// Prints a line whenever nothing was heard for a while, until it is dropped.
pub(crate) struct Heartbeat {
    heard: Option<Sender<()>>,
    printer: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// `what` is named in each line.
    pub(crate) fn start(what: String) -> Self {
        Self::every(PERIOD, move |time| println!("... {what}: {} s", time.as_secs()))
    }

    fn every(period: Duration, mut print: impl FnMut(Duration) + Send + 'static) -> Self {
        let (heard, ear) = mpsc::channel();
        let printer = thread::spawn(move || {
            let start = Instant::now();
            loop {
                match ear.recv_timeout(period) {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Timeout) => print(start.elapsed()),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        });
        Self { heard: Some(heard), printer: Some(printer) }
    }

    /// Something else was printed just now.
    pub(crate) fn heard(&self) {
        if let Some(sender) = &self.heard {
            // The printer ends only after this sender is gone.
            let _ = sender.send(());
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.heard = None;
        // A printer that panicked has said so itself.
        let _ = self.printer.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_broken_until_the_end() {
        let (beats, count) = mpsc::channel();
        let heartbeat = Heartbeat::every(Duration::from_millis(1), move |time| {
            beats.send(time).unwrap();
        });
        let first = count.recv().unwrap();
        heartbeat.heard();
        assert!(count.recv().unwrap() > first);
        drop(heartbeat);
        // The printer is gone, and with it the sending end.
        assert!(count.iter().all(|time| time > first));
    }
}
