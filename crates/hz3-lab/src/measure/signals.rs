//! Interruption: remembered, passed on to the running command, and turned into an exit code.

use crate::failure::{Failure, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The last signal that asked this program to stop.
#[derive(Debug, Clone)]
pub(crate) struct Interruption(Arc<AtomicUsize>);

impl Interruption {
    /// From now on SIGINT, SIGTERM and SIGHUP no longer end this program; they are remembered.
    pub(crate) fn watch() -> Result<Self> {
        let seen = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let number = usize::try_from(signal).unwrap_or(0);
            signal_hook::flag::register_usize(signal, Arc::clone(&seen), number)
                .map_err(|e| Failure::io(format!("catch signal {signal}"), e))?;
        }
        Ok(Self(seen))
    }

    /// One that never comes.
    pub(crate) fn none() -> Self {
        Self(Arc::new(AtomicUsize::new(0)))
    }

    /// The signal, if one came.
    pub(crate) fn signal(&self) -> Option<i32> {
        // Relaxed: the number is the whole message; nothing is published with it.
        i32::try_from(self.0.load(Ordering::Relaxed)).ok().filter(|&signal| signal != 0)
    }

    /// Sends a signal that came since `already` on to `root`; returns the last one handled. A SIGINT from
    /// the keyboard has reached the command already, as it is in the terminal's group with us.
    pub(crate) fn pass_on(&self, root: i32, already: Option<i32>) -> Option<i32> {
        let now = self.signal();
        let keyboard = now == Some(SIGINT) && rustix::termios::isatty(rustix::stdio::stdin());
        if now != already
            && !keyboard
            && let (Some(signal), Some(pid)) =
                (now.and_then(Signal::from_named_raw), Pid::from_raw(root))
        {
            // The command may be gone already; then there is nobody to tell.
            let _ = kill_process(pid, signal);
        }
        now
    }

    /// The exit code of a program that the signal ended, as a shell reports it.
    pub(crate) fn exit_code(&self) -> Option<u8> {
        self.signal().and_then(|signal| u8::try_from(128 + signal).ok())
    }
}
