//! A program with everything that it starts.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use crate::signal::{Signal, send, send_to_group};
use crate::wait_until;

/// A running program, in a process group of its own. Dropped before the program's end, it is killed
/// with all that it started.
#[derive(Debug)]
pub struct Group {
    child: Child,
    has_ended: bool,
}

impl Group {
    /// Starts the program.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        Ok(Self { child: command.process_group(0).spawn()?, has_ended: false })
    }

    /// Returns the program with its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Returns the program's process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the program itself.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        send(signal, self.id())
    }

    /// Kills the program and all that it started; after its end, what it left behind.
    pub fn kill(&self) {
        // An error says that nothing is left.
        let _ = send_to_group(Signal::Kill, self.id());
    }

    /// Returns how the program ended, or `None` while it runs.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn poll(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        self.has_ended = status.is_some();
        Ok(status)
    }

    /// Waits for the program's end, and calls `look` with its process id before each poll. Returns
    /// `None` if `limit` passes first.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn wait(
        &mut self,
        limit: Duration,
        mut look: impl FnMut(u32),
    ) -> io::Result<Option<ExitStatus>> {
        let mut status = Ok(None);
        wait_until(limit, || {
            look(self.id());
            status = self.poll();
            !matches!(status, Ok(None))
        });
        status
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.has_ended {
            self.kill();
            // A program that cannot be waited for is not this process's child any more.
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Stdio;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(300);

    fn shell(script: &str) -> Group {
        let mut command = Command::new("/bin/sh");
        Group::start(command.args(["-c", script]).stdout(Stdio::piped())).unwrap()
    }

    #[test]
    fn the_end_of_a_program_is_seen_and_told() {
        let mut looks = 0;
        let status = shell("exit 3").wait(PATIENCE, |_| looks += 1).unwrap();
        assert_eq!(status.and_then(|status| status.code()), Some(3));
        assert!(looks > 0);
        let mut waiting = shell("exec sleep 600");
        assert!(waiting.wait(Duration::ZERO, |_| ()).unwrap().is_none());
        waiting.signal(Signal::Terminate).unwrap();
        let status = waiting.wait(PATIENCE, |_| ()).unwrap();
        assert_eq!(status.and_then(|status| status.signal()), Some(libc::SIGTERM));
    }

    #[test]
    fn what_a_program_started_ends_with_it() {
        // The pipe ends when nobody holds its other side.
        let mut group = shell("while :; do sleep 600; done & echo started; wait");
        let mut pipe = group.child().stdout.take().unwrap();
        let mut byte = [0];
        pipe.read_exact(&mut byte).unwrap();
        drop(group);
        let mut rest = String::new();
        pipe.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "tarted\n");
    }
}
