//! One module per subcommand.

mod ab;
mod bench;
mod compare;
mod demo;
mod library;
mod look;
mod pages;
mod peers;
mod plan;
mod profile;
mod report;
mod run;
mod watch;

pub(crate) use library::library;

use crate::cli::Command;
use crate::failure::Result;

/// Runs the subcommand and returns the exit code.
pub(crate) fn dispatch(command: Command) -> Result<u8> {
    match command {
        Command::Compare(args) => compare::run(&args),
        Command::Ab(args) => ab::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Completions(args) => pages::completions(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Man(args) => pages::man(&args),
        Command::Peers(args) => peers::run(&args),
        Command::Profile(args) => profile::run(&args),
        Command::Probe => peers::probe(),
        Command::Run(args) => run::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Top(args) => look::top(&args),
        Command::Set(args) => look::set(&args),
        Command::Why(args) => look::why(&args),
        Command::Metrics(args) => look::metrics(&args),
        Command::Watch(args) => watch::run(&args),
    }
}
