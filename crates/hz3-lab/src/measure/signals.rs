//! Signals: remembered, passed on to the running command, and turned into an exit code.

use crate::failure::{Failure, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Makes a write beyond the limit on the size of files (`ulimit -f`) fail like one to a full disk.
/// Otherwise the signal ends this program without a message. A handler, unlike an ignored signal,
/// is not inherited by the commands that this program starts.
pub(crate) fn survive_file_size_limit() -> Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::default())
        .map(drop)
        .map_err(|e| Failure::io("catch SIGXFSZ", e))
}

/// The last SIGINT, SIGTERM or SIGHUP that this program received.
#[derive(Debug, Clone)]
pub(crate) struct Interruption(Arc<AtomicUsize>);

impl Interruption {
    /// Installs the handlers: from now on these signals are remembered and do not end this program.
    pub(crate) fn watch() -> Result<Self> {
        let seen = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let number = usize::try_from(signal).unwrap_or(0);
            signal_hook::flag::register_usize(signal, Arc::clone(&seen), number)
                .map_err(|e| Failure::io(format!("catch signal {signal}"), e))?;
        }
        Ok(Self(seen))
    }

    /// Returns an interruption that never comes.
    pub(crate) fn none() -> Self {
        Self(Arc::new(AtomicUsize::new(0)))
    }

    /// Returns the last signal.
    pub(crate) fn signal(&self) -> Option<i32> {
        // Relaxed: the number itself is the message; no other data is published with it.
        i32::try_from(self.0.load(Ordering::Relaxed)).ok().filter(|&signal| signal != 0)
    }

    /// Sends a signal that came since `already` to `root` and returns it. A SIGINT from the
    /// keyboard is not sent, because the command is in the terminal's foreground group and has it
    /// already.
    pub(crate) fn pass_on(&self, root: i32, already: Option<i32>) -> Option<i32> {
        let now = self.signal();
        let keyboard = now == Some(SIGINT) && rustix::termios::isatty(rustix::stdio::stdin());
        if now != already
            && !keyboard
            && let (Some(signal), Some(pid)) =
                (now.and_then(Signal::from_named_raw), Pid::from_raw(root))
        {
            // The command may be gone already, so the error is ignored.
            let _ = kill_process(pid, signal);
        }
        now
    }

    /// Returns the exit code of a program that the signal ended, as a shell reports it.
    pub(crate) fn exit_code(&self) -> Option<u8> {
        self.signal().and_then(|signal| u8::try_from(128 + signal).ok())
    }
}
