//! `hz3`: the laboratory of the hz3 memory allocator.
//!
//! The layers call downwards only:
//!
//! ```text
//! cli        what the user may say            (clap)
//! commands   one directory or file a subcommand
//! workloads  what a benchmark does     |  peers    which allocators there are
//! report     pictures and the page
//! experiment cases x allocators x rounds, and what they say
//! measure    a process watched from outside: its samples, its output, its cost
//! stats      medians, percentiles      |  text     numbers and tables for people
//! ```
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program talks on its standard streams"
)]
#![allow(
    clippy::cast_precision_loss,
    reason = "counts become f64 only to be shown or compared at four digits"
)]

mod cli;
mod commands;
mod counts;
mod experiment;
mod failure;
mod measure;
mod peers;
mod preload;
mod report;
mod stats;
mod text;
mod workloads;

use clap::Parser;
use clap::error::ErrorKind;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(shown) if shown.kind() == ErrorKind::DisplayVersion => {
            print!("{shown}");
            println!("library: {}", commands::library());
            return ExitCode::SUCCESS;
        }
        Err(wrong) => wrong.exit(),
    };
    match commands::dispatch(cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("hz3: {failure}");
            ExitCode::from(failure.code())
        }
    }
}
