//! Standard output that reports its errors.

use crate::failure::{BROKEN_PIPE, Failure, Result};
use serde::Serialize;
use std::io::{ErrorKind, Write};

/// Writes `bytes`. A closed pipe ends the program quietly; a full disk is a failure.
pub(crate) fn bytes(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|e| failed(&e))
}

/// Writes a line.
pub(crate) fn line(text: &str) -> Result<()> {
    bytes(format!("{text}\n").as_bytes())
}

/// Writes a value as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    line(&serde_json::to_string(value).map_err(|e| Failure::io("write JSON", e))?)
}

/// Returns the failure to write to the standard output.
pub(crate) fn failed(error: &std::io::Error) -> Failure {
    if error.kind() == ErrorKind::BrokenPipe {
        return Failure::quiet(BROKEN_PIPE);
    }
    Failure::io("write the output", error)
}
