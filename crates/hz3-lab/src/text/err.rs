//! Standard error that reports its errors: `eprintln!` would panic.

use crate::failure::{BROKEN_PIPE, Failure, Result};
use std::io::{ErrorKind, Write};

/// Writes a line. A closed pipe ends the program quietly; a full disk is a failure.
pub(crate) fn note(text: &str) -> Result<()> {
    let line = format!("{text}\n");
    std::io::stderr().lock().write_all(line.as_bytes()).map_err(|error| {
        if error.kind() == ErrorKind::BrokenPipe {
            return Failure::quiet(BROKEN_PIPE);
        }
        Failure::io("write to the standard error", error)
    })
}
