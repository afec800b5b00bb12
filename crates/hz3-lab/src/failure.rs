//! The one error type: what went wrong, what to do about it, and the exit code.

use std::fmt;

/// Exit code of wrong usage.
pub(crate) const WRONG_USAGE: u8 = 2;
/// Exit code of hz3's own failures, the same as that of `env` and `timeout`.
pub(crate) const OWN_FAILURE: u8 = 125;
/// Exit code for a command that exists but cannot be executed.
pub(crate) const CANNOT_EXECUTE: u8 = 126;
/// Exit code for a command that does not exist.
pub(crate) const NOT_FOUND: u8 = 127;
/// Exit code when the reader of standard output has closed it: 128 + SIGPIPE.
pub(crate) const BROKEN_PIPE: u8 = 141;

/// A result whose error is a complete message.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// An error message in one line, with an exit code and an optional remedy.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    what: String,
    remedy: Option<String>,
}

impl Failure {
    /// Creates a failure of hz3 itself.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { code: OWN_FAILURE, what: what.into(), remedy: None }
    }

    /// Creates a failure for wrong usage, before anything was started.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(what).with_code(WRONG_USAGE)
    }

    /// Creates a failure for an unknown `word`; suggests the nearest of `names`.
    pub(crate) fn unknown<'a>(
        kind: &str,
        word: &str,
        names: impl Iterator<Item = &'a str> + Clone,
    ) -> Self {
        let failure = Self::usage(format!("unknown {kind} `{word}`"));
        match crate::text::nearest(word, names.clone()) {
            Some(name) => failure.with_remedy(format!("did you mean `{name}`?")),
            None => failure
                .with_remedy(format!("expected one of {}", names.collect::<Vec<_>>().join(", "))),
        }
    }

    /// Ends the program with `code`, without a message.
    pub(crate) fn quiet(code: u8) -> Self {
        Self { code, what: String::new(), remedy: None }
    }

    /// Creates a failure of a system call or file operation: the action and the system's reason.
    pub(crate) fn io(tried: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self::new(format!("cannot {tried}: {error}"))
    }

    /// Ends the program with `code` instead of 125.
    #[must_use]
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Adds a remedy.
    #[must_use]
    pub(crate) fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The exit code of the program.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// Returns whether there is no message.
    pub(crate) fn is_quiet(&self) -> bool {
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

impl std::error::Error for Failure {}
