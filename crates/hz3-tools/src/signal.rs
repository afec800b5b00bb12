//! Signals to other processes.

use std::io;

/// The signals that tools and tests send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP
    Hangup,
    /// SIGINT
    Interrupt,
    /// SIGQUIT
    Quit,
    /// SIGTERM
    Terminate,
    /// SIGKILL
    Kill,
}

impl Signal {
    fn number(self) -> i32 {
        match self {
            Self::Hangup => libc::SIGHUP,
            Self::Interrupt => libc::SIGINT,
            Self::Quit => libc::SIGQUIT,
            Self::Terminate => libc::SIGTERM,
            Self::Kill => libc::SIGKILL,
        }
    }
}

/// Sends a signal to the process `pid`.
///
/// # Errors
/// When there is no such process, or it is another user's.
pub fn send(signal: Signal, pid: u32) -> io::Result<()> {
    deliver(signal, target(pid)?)
}

/// Sends a signal to every process of the group that `leader` leads or led.
pub(crate) fn send_to_group(signal: Signal, leader: u32) -> io::Result<()> {
    deliver(signal, -target(leader)?)
}

/// Refuses 0, which stands for the caller's own group.
fn target(pid: u32) -> io::Result<i32> {
    let pid = i32::try_from(pid).ok().filter(|&pid| pid > 0);
    pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

fn deliver(signal: Signal, target: i32) -> io::Result<()> {
    // SAFETY: kill takes two numbers and touches no memory of this process.
    if unsafe { libc::kill(target, signal.number()) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
