//! The thread that relays a command's standard streams: it writes the input, keeps the output, and
//! passes the output on when asked to.

use super::capture::Capture;
use super::stdin::{self, StdinReplay};
use crate::failure::{Failure, Result};
use crate::text::out;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time that left-over children have for their output after the command's end.
const GRACE: Duration = Duration::from_millis(500);

/// The output of a run.
#[derive(Debug)]
pub(crate) struct Output {
    /// Standard output.
    pub(crate) stdout: Capture,
    /// Standard error.
    pub(crate) stderr: Capture,
}

/// Destinations of the output besides the capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tee {
    /// Nowhere.
    Silent,
    /// Each stream to ours of the same name.
    Through,
    /// Both streams to our standard error.
    Stderr,
}

type Sink = Box<dyn Write + Send>;

impl Tee {
    fn stdout(self) -> Option<Sink> {
        match self {
            Self::Silent => None,
            Self::Through => Some(Box::new(std::io::stdout())),
            Self::Stderr => Some(Box::new(std::io::stderr())),
        }
    }

    fn stderr(self) -> Option<Sink> {
        (self != Self::Silent).then(|| Box::new(std::io::stderr()) as Sink)
    }
}

/// A relay thread that runs beside the command.
#[derive(Debug)]
pub(crate) struct Relay {
    ended: Arc<OwnedFd>,
    thread: JoinHandle<Result<(Output, Option<Box<StdinReplay>>)>>,
}

impl Relay {
    /// Takes over the piped streams of `child` and starts the thread.
    pub(crate) fn start(
        child: &mut Child,
        replay: Option<Box<StdinReplay>>,
        tee: Tee,
    ) -> Result<Self> {
        let failed = |e: Errno| Failure::io("prepare the command's streams", e);
        let ended = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).map_err(failed)?);
        if let Some(stdin) = &child.stdin {
            // This changes our end of the pipe only.
            rustix::fs::fcntl_setfl(stdin, rustix::fs::OFlags::NONBLOCK).map_err(failed)?;
        }
        let wires = Wires {
            replay,
            replayed: 0,
            stdin: child.stdin.take(),
            stdout: Reader::new(child.stdout.take(), tee.stdout())?,
            stderr: Reader::new(child.stderr.take(), tee.stderr())?,
        };
        let signal = Arc::clone(&ended);
        let thread = std::thread::spawn(move || wires.run(&signal));
        Ok(Self { ended, thread })
    }

    /// Tells the relay that the command has ended. Returns the output and the replay for the next
    /// run.
    pub(crate) fn finish(self) -> Result<(Output, Option<Box<StdinReplay>>)> {
        rustix::io::write(&*self.ended, &1u64.to_ne_bytes())
            .map_err(|e| Failure::io("stop reading the command's output", e))?;
        self.thread.join().unwrap_or_else(|_| Err(Failure::new("reading the output panicked")))
    }
}

/// One output stream: its pipe until the end, its capture, and its further destination.
struct Reader<S> {
    pipe: Option<S>,
    kept: Capture,
    tee: Option<Sink>,
    /// Why the further destination takes no more.
    failed: Option<Failure>,
}

impl<S: Read> Reader<S> {
    fn new(pipe: Option<S>, tee: Option<Sink>) -> Result<Self> {
        Ok(Self { pipe, kept: Capture::new()?, tee, failed: None })
    }

    /// Moves the bytes that are ready; the pipe must be readable.
    fn transfer(&mut self) -> Result<()> {
        let mut buffer = [0; 1 << 14];
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let read =
            pipe.read(&mut buffer).map_err(|e| Failure::io("read the command's output", e))?;
        let bytes = &buffer[..read];
        self.kept.append(bytes)?;
        let passed =
            self.tee.as_mut().map_or(Ok(()), |tee| tee.write_all(bytes).and_then(|()| tee.flush()));
        if read == 0 || passed.is_err() {
            // Our output takes no more. Closing the pipe tells the command, by SIGPIPE.
            self.pipe = None;
        }
        if let Err(error) = passed {
            self.failed = Some(out::failed(&error));
        }
        Ok(())
    }
}

struct Wires {
    replay: Option<Box<StdinReplay>>,
    replayed: u64,
    stdin: Option<ChildStdin>,
    stdout: Reader<ChildStdout>,
    stderr: Reader<ChildStderr>,
}

/// The meaning of a descriptor that became ready.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Ended,
    Stdout,
    Stderr,
    Stdin,
    Source,
}

impl Wires {
    fn run(mut self, ended: &OwnedFd) -> Result<(Output, Option<Box<StdinReplay>>)> {
        let mut deadline = None;
        while !self.is_done(deadline) {
            for wire in self.ready(ended, deadline)? {
                match wire {
                    Wire::Stdout => self.stdout.transfer()?,
                    Wire::Stderr => self.stderr.transfer()?,
                    Wire::Stdin => self.write_input()?,
                    Wire::Source => self.read_input()?,
                    Wire::Ended => {
                        deadline = Some(Instant::now() + GRACE);
                        self.stdin = None;
                    }
                }
            }
        }
        if let Some(failure) = self.stdout.failed.or(self.stderr.failed) {
            return Err(failure);
        }
        Ok((Output { stdout: self.stdout.kept, stderr: self.stderr.kept }, self.replay))
    }

    fn is_done(&self, deadline: Option<Instant>) -> bool {
        let silent = self.stdout.pipe.is_none() && self.stderr.pipe.is_none();
        deadline.is_some_and(|deadline| silent || Instant::now() >= deadline)
    }

    /// Waits until a descriptor is ready and returns all that are.
    fn ready(&self, ended: &OwnedFd, deadline: Option<Instant>) -> Result<Vec<Wire>> {
        let mut watched: Vec<(Wire, PollFd<'_>)> = Vec::with_capacity(5);
        let mut add = |wire, fd| watched.push((wire, fd));
        if deadline.is_none() {
            add(Wire::Ended, PollFd::new(ended, PollFlags::IN));
        }
        if let Some(pipe) = &self.stdout.pipe {
            add(Wire::Stdout, PollFd::new(pipe, PollFlags::IN));
        }
        if let Some(pipe) = &self.stderr.pipe {
            add(Wire::Stderr, PollFd::new(pipe, PollFlags::IN));
        }
        if let (Some(pipe), Some(replay)) = (&self.stdin, &self.replay) {
            if replay.must_read(self.replayed) {
                add(Wire::Source, PollFd::from_borrowed_fd(stdin::source(), PollFlags::IN));
                // Without requested events, poll reports only that the command closed its end.
                add(Wire::Stdin, PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::empty()));
            } else {
                add(Wire::Stdin, PollFd::new(pipe, PollFlags::OUT));
            }
        }
        let pause = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let (wires, mut polled): (Vec<Wire>, Vec<PollFd<'_>>) = watched.into_iter().unzip();
        wait(&mut polled, pause)?;
        let ready = wires.into_iter().zip(polled).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|(wire, _)| wire).collect())
    }

    fn read_input(&mut self) -> Result<()> {
        self.replay.as_mut().map_or(Ok(()), |replay| replay.read_on())
    }

    fn write_input(&mut self) -> Result<()> {
        let mut buffer = [0; 1 << 14];
        let (Some(pipe), Some(replay)) = (&mut self.stdin, &mut self.replay) else { return Ok(()) };
        let known = replay.known(self.replayed, &mut buffer)?;
        if known == 0 {
            // The input has ended or the command has closed its end, so nothing more is written.
            self.stdin = None;
            return Ok(());
        }
        match pipe.write(&buffer[..known]) {
            Ok(written) => self.replayed += written as u64,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            // The command does not read the rest, which is no error.
            Err(_) => self.stdin = None,
        }
        if replay.is_end(self.replayed) {
            self.stdin = None;
        }
        Ok(())
    }
}

fn wait(polled: &mut [PollFd<'_>], pause: Option<Duration>) -> Result<()> {
    let timeout = pause.and_then(|pause| Timespec::try_from(pause).ok());
    match poll(polled, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(e) => Err(Failure::io("wait for the command's output", e)),
    }
}
