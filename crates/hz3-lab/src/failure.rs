//! The failures of this tool, and its exit codes beyond those that all tools share.

pub(crate) use hz3_tools::{Failure, OWN_FAILURE, WRONG_USAGE};

/// Exit code when the allocator failed a workload's check.
pub(crate) const CHECK_FAILED: u8 = 1;
/// Exit code for a command that exists but cannot be executed.
pub(crate) const CANNOT_EXECUTE: u8 = 126;
/// Exit code for a command that does not exist.
pub(crate) const NOT_FOUND: u8 = 127;
/// Exit code when the reader of standard output has closed it: 128 + SIGPIPE.
pub(crate) const BROKEN_PIPE: u8 = 141;

/// A result whose error is a complete message.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// Returns the failure of an unknown `word`, which suggests the nearest of `names`.
pub(crate) fn unknown<'a>(
    kind: &str,
    word: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Failure {
    let failure = Failure::usage(format!("unknown {kind} `{word}`"));
    let remedy = if let Some(name) = crate::text::nearest(word, names.clone()) {
        format!("did you mean `{name}`?")
    } else {
        let mut listed: Vec<&str> = Vec::new();
        names.for_each(|name| {
            if !listed.contains(&name) {
                listed.push(name);
            }
        });
        format!("expected one of {}", listed.join(", "))
    };
    failure.with_remedy(remedy)
}
