//! The one error type: what went wrong, what to do about it, and the exit code.

use std::error::Error;
use std::fmt;

/// Exit code of wrong usage.
pub const WRONG_USAGE: u8 = 2;
/// Exit code of a tool's own failures, the same as that of `env` and `timeout`.
pub const OWN_FAILURE: u8 = 125;

/// A result whose error is a complete message.
pub type Result<T = (), E = Failure> = std::result::Result<T, E>;

/// An error message for a person, with an exit code and an optional remedy.
///
/// Its `Debug` output is the message too, because a failed test prints that.
pub struct Failure {
    code: u8,
    what: String,
    remedy: Option<String>,
}

impl Failure {
    /// Creates a failure of the tool itself.
    pub fn new(what: impl Into<String>) -> Self {
        Self { code: OWN_FAILURE, what: what.into(), remedy: None }
    }

    /// Creates a failure for wrong usage, before anything was started.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(what).with_code(WRONG_USAGE)
    }

    /// Creates a failure of a system call or file operation: the action and the system's reason.
    pub fn io(tried: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self::new(format!("cannot {tried}: {error}"))
    }

    /// Ends the program with `code`, without a message.
    pub fn quiet(code: u8) -> Self {
        Self::new("").with_code(code)
    }

    /// Puts what was being done in front of the message.
    #[must_use]
    pub fn during(self, what: &str) -> Self {
        Self { what: format!("{what}: {}", self.what), ..self }
    }

    /// Ends the program with `code` instead of 125.
    #[must_use]
    pub fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// Adds a remedy.
    #[must_use]
    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// Returns the exit code of the program.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Returns whether there is no message.
    pub fn is_quiet(&self) -> bool {
        self.what.is_empty()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(remedy) = &self.remedy {
            write!(f, "; {remedy}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `?` takes any error; therefore `Failure` itself is not an [`Error`].
impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_prints_its_message_its_context_and_its_remedy() {
        let failure = Failure::new("no such file").during("reading x").with_remedy("make one");
        assert_eq!(format!("{failure:?}"), "reading x: no such file; make one");
        assert_eq!(failure.code(), OWN_FAILURE);
    }

    #[test]
    fn the_exit_code_and_silence_are_kept() {
        let failure = Failure::usage("what").during("when").with_remedy("how");
        assert_eq!((failure.code(), failure.is_quiet()), (WRONG_USAGE, false));
        assert_eq!((Failure::quiet(7).code(), Failure::quiet(7).is_quiet()), (7, true));
    }
}
