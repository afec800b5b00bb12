//! What the user may say.

mod ab;
mod bench;
mod compare;
mod peers;
mod report;
mod run;
mod watch;

pub(crate) use ab::AbArgs;
pub(crate) use bench::BenchArgs;
pub(crate) use compare::CompareArgs;
pub(crate) use peers::PeersArgs;
pub(crate) use report::ReportArgs;
pub(crate) use run::RunArgs;
pub(crate) use watch::WatchArgs;

use clap::{Parser, Subcommand};

/// The laboratory of the hz3 memory allocator: runs programs on it, measures it, and compares it with
/// other allocators.
#[derive(Debug, Parser)]
#[command(name = "hz3", version, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command on the system's malloc and on hz3, and show both side by side
    #[command(long_about = run::LONG, after_long_help = run::NOTES)]
    Run(RunArgs),

    /// Watch a command's memory from outside and write it down as CSV
    #[command(long_about = watch::LONG, after_long_help = watch::NOTES)]
    Watch(WatchArgs),

    /// Run one workload on this process's malloc and report its speed
    #[command(long_about = bench::LONG, after_long_help = bench::NOTES)]
    Bench(BenchArgs),

    /// Compare allocators on workloads: interleaved, with intervals
    #[command(long_about = compare::LONG, after_long_help = compare::NOTES)]
    Compare(CompareArgs),

    /// Judge a change of hz3: GO, NO-GO, uncertain, or no difference
    #[command(long_about = ab::LONG, after_long_help = ab::NOTES)]
    Ab(AbArgs),

    /// Make a page with pictures of a comparison
    #[command(long_about = report::LONG, after_long_help = report::NOTES)]
    Report(ReportArgs),

    /// List the allocators that can be compared, and how to get the others
    #[command(long_about = peers::LONG, after_long_help = peers::NOTES)]
    Peers(PeersArgs),

    /// Say which allocator this process runs on (for `hz3 peers`)
    #[command(hide = true)]
    Probe,
}
