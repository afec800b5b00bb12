//! Standard input for a command that runs several times. Every run reads the same bytes.

use crate::failure::{Failure, Result};
use rustix::fs::{FileType, fstat};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::BorrowedFd;
use std::process::Stdio;

/// Where a command's input comes from.
#[derive(Debug)]
pub(crate) enum Input {
    /// No input: every run reads an empty file.
    Nothing,
    /// A terminal or another device, which every run inherits.
    Device,
    /// A regular file, which every run opens anew at this offset.
    File(u64),
    /// A pipe or socket. The bytes that the first run reads are kept for the others.
    Stream(Box<StdinReplay>),
}

/// A stream that is read on demand and kept.
#[derive(Debug)]
pub(crate) struct StdinReplay {
    kept: File,
    length: u64,
    ended: bool,
}

impl Input {
    /// Classifies our own standard input.
    pub(crate) fn ours() -> Result<Self> {
        let failed = |e: &dyn std::fmt::Display| Failure::io("look at the standard input", e);
        let Ok(stat) = fstat(rustix::stdio::stdin()) else { return Ok(Self::Device) };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let at = rustix::fs::tell(rustix::stdio::stdin()).map_err(|e| failed(&e))?;
                Ok(Self::File(at))
            }
            FileType::Fifo | FileType::Socket => {
                let kept = tempfile::tempfile().map_err(|e| failed(&e))?;
                Ok(Self::Stream(Box::new(StdinReplay { kept, length: 0, ended: false })))
            }
            _ => Ok(Self::Device),
        }
    }

    /// Returns the standard input for the next run.
    pub(crate) fn stdio(&self) -> Result<Stdio> {
        match self {
            Self::Nothing => Ok(Stdio::null()),
            Self::Device => Ok(Stdio::inherit()),
            Self::Stream(_) => Ok(Stdio::piped()),
            Self::File(at) => {
                let open = || {
                    let mut file = File::open("/proc/self/fd/0")?;
                    file.seek(SeekFrom::Start(*at))?;
                    Ok::<_, std::io::Error>(file)
                };
                open().map(Stdio::from).map_err(|e| Failure::io("open the standard input again", e))
            }
        }
    }
}

impl StdinReplay {
    /// Copies kept bytes from `at` on; returns 0 if the stream must be read first.
    pub(crate) fn known(&mut self, at: u64, buffer: &mut [u8]) -> Result<usize> {
        if at >= self.length {
            return Ok(0);
        }
        let read = self.kept.seek(SeekFrom::Start(at)).and_then(|_| self.kept.read(buffer));
        read.map_err(|e| Failure::io("read the kept standard input", e))
    }

    /// Reads more of the stream, which must be ready.
    pub(crate) fn read_on(&mut self) -> Result<()> {
        let mut buffer = [0; 1 << 14];
        let read = rustix::io::read(rustix::stdio::stdin(), &mut buffer)
            .map_err(|e| Failure::io("read the standard input", e))?;
        self.ended = read == 0;
        let written = self
            .kept
            .seek(SeekFrom::Start(self.length))
            .and_then(|_| self.kept.write_all(&buffer[..read]));
        written.map_err(|e| Failure::io("keep the standard input", e))?;
        self.length += read as u64;
        Ok(())
    }

    /// Returns whether the stream has ended and `at` is its end.
    pub(crate) fn is_end(&self, at: u64) -> bool {
        self.ended && at >= self.length
    }

    /// Returns whether the byte at `at` has yet to be read from the stream.
    pub(crate) fn must_read(&self, at: u64) -> bool {
        !self.ended && at >= self.length
    }
}

/// Returns the descriptor that [`StdinReplay::read_on`] reads.
pub(crate) fn source<'a>() -> BorrowedFd<'a> {
    rustix::stdio::stdin()
}
