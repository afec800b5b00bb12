//! `hz3 completions` and `hz3 man`.

use clap::Args;
use std::path::PathBuf;

/// The options of `hz3 completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell to complete for
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// The options of `hz3 man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write a page for hz3 and one for each subcommand into this directory, instead of the first
    /// page to the standard output
    #[arg(short, long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}
