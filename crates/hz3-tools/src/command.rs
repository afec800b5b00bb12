//! Commands that run to their end.

use std::path::Path;
use std::process::{Command, ExitStatus};

use crate::{Failure, Result};

/// Runs a program silently and returns its standard output.
///
/// # Errors
/// When the program cannot be started or fails, with its standard error, or its output is no text.
pub fn capture(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|error| Failure::from(error).during(&line(command)))?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failure::new(stderr).during(&line(command)))
}

/// Returns an error unless the status is a success.
///
/// # Errors
/// When the status is another one.
pub fn succeeded(command: &Command, status: ExitStatus) -> Result {
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("{}: {status}", line(command))))
    }
}

/// Returns the command as one would type it.
pub fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let mut line = program.to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_returned_and_a_failure_has_the_command_and_its_words() {
        let shell = |script| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]);
            command
        };
        assert_eq!(capture(&mut shell("echo yes")).unwrap(), "yes\n");
        let failure = capture(&mut shell("echo no >&2; exit 1")).unwrap_err();
        assert_eq!(failure.to_string(), "sh -c echo no >&2; exit 1: no\n");
        let mut ended = shell("exit 3");
        let status = ended.status().unwrap();
        let failure = succeeded(&ended, status).unwrap_err();
        assert_eq!(failure.to_string(), "sh -c exit 3: exit status: 3");
    }
}
