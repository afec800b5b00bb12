//! The output of a command, kept in an unlinked file, and the comparison of two outputs.

use crate::failure::{Failure, Result};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};

/// The bytes of one stream of one run.
#[derive(Debug)]
pub(crate) struct Capture {
    file: File,
    bytes: u64,
}

/// The first difference of two captures.
#[derive(Debug, PartialEq, Eq, Clone, Copy, serde::Serialize)]
pub(crate) struct Difference {
    /// The first line that differs, counted from 1.
    pub(crate) line: u64,
    /// The first byte that differs, counted from 0.
    pub(crate) byte: u64,
}

impl Capture {
    /// Returns an empty capture.
    pub(crate) fn new() -> Result<Self> {
        let file = tempfile::tempfile()
            .map_err(|e| Failure::io("make a temporary file for the command's output", e))?;
        Ok(Self { file, bytes: 0 })
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|e| Failure::io("keep the command's output", e))
    }

    /// Returns the first `limit` bytes as text, with invalid UTF-8 replaced.
    pub(crate) fn text(&mut self, limit: usize) -> Result<String> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        self.rewound()?
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(|e| Failure::io("read back the command's output", e))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns the first difference to `other`; `None` if both are equal.
    pub(crate) fn difference(&mut self, other: &mut Self) -> Result<Option<Difference>> {
        let mut left = self.rewound()?.bytes();
        let mut right = other.rewound()?.bytes();
        let mut place = Difference { line: 1, byte: 0 };
        loop {
            let pair = (left.next().transpose(), right.next().transpose());
            let (Ok(a), Ok(b)) = pair else {
                return Err(Failure::new("cannot read back the command's output"));
            };
            match (a, b) {
                (None, None) => return Ok(None),
                (Some(a), Some(b)) if a == b => {
                    place.byte += 1;
                    place.line += u64::from(a == b'\n');
                }
                _ => return Ok(Some(place)),
            }
        }
    }

    fn rewound(&mut self) -> Result<BufReader<&File>> {
        self.file
            .seek(SeekFrom::Start(0))
            .map_err(|e| Failure::io("read back the command's output", e))?;
        Ok(BufReader::new(&self.file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(a: &str, b: &str) -> Option<Difference> {
        let (mut left, mut right) = (Capture::new().unwrap(), Capture::new().unwrap());
        left.append(a.as_bytes()).unwrap();
        right.append(b.as_bytes()).unwrap();
        left.difference(&mut right).unwrap()
    }

    #[test]
    fn equal_output_has_no_difference() {
        assert_eq!(difference("", ""), None);
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
    }

    #[test]
    fn the_first_difference_is_found_by_line_and_byte() {
        assert_eq!(difference("a\nb\nc", "a\nB\nc"), Some(Difference { line: 2, byte: 2 }));
        assert_eq!(difference("a\n", "a\nmore"), Some(Difference { line: 2, byte: 2 }));
        assert_eq!(difference("x", ""), Some(Difference { line: 1, byte: 0 }));
    }
}
