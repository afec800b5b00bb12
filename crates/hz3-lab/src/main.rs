//! `hz3`: runs programs on the hz3 memory allocator, measures them, and compares allocators.
//!
//! The layers call downwards only:
//!
//! ```text
//! cli        what the user may say            (clap)
//! commands   one directory or file a subcommand
//! workloads  what a benchmark does     |  peers    which allocators there are
//! report     pictures and the page  |  profile  a heap profile, named and summed up
//! experiment cases x allocators x rounds, and what they say
//! measure    a process watched from outside: its samples, its output, its cost
//! stats      medians, percentiles      |  text     numbers and tables for people
//! ```
#![allow(
    clippy::cast_precision_loss,
    reason = "counts become f64 only to be shown or compared at four digits"
)]

mod cli;
mod commands;
mod counts;
mod experiment;
mod failure;
mod files;
mod measure;
mod peers;
mod preload;
mod profile;
mod report;
mod stats;
mod text;
mod workloads;

use std::process::ExitCode;

fn main() -> ExitCode {
    let done = measure::signals::survive_file_size_limit()
        .and_then(|()| cli::parse::own())
        .and_then(|cli| cli.map_or(Ok(0), |cli| commands::dispatch(cli.command)));
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if !failure.is_quiet() {
                // Standard error may be closed or full as well; the exit code tells the rest.
                let _ = text::err::note(&text::one_line(&format!("hz3: {failure}")));
            }
            ExitCode::from(failure.code())
        }
    }
}
