//! The command line of `hz3`.

mod ab;
mod bench;
mod compare;
mod demo;
mod effort;
mod look;
mod pages;
pub(crate) mod parse;
mod peers;
mod profile;
mod report;
mod run;
mod values;
mod watch;

pub(crate) use ab::AbArgs;
pub(crate) use bench::BenchArgs;
pub(crate) use compare::CompareArgs;
pub(crate) use demo::DemoArgs;
pub(crate) use effort::EffortArgs;
pub(crate) use look::{LookArgs, SetArgs, TopArgs};
pub(crate) use pages::{CompletionsArgs, ManArgs};
pub(crate) use peers::PeersArgs;
pub(crate) use profile::ProfileArgs;
pub(crate) use report::ReportArgs;
pub(crate) use run::RunArgs;
pub(crate) use watch::WatchArgs;

use clap::{Parser, Subcommand};

const NOTES: &str = "\
Start with `hz3 demo`, or with `hz3 run -- CMD` for a program of your own. `hz3 compare` measures
carefully, `hz3 report` draws its results, `hz3 profile` reads a heap profile, `hz3 ab` judges a
change of hz3 itself.

Exit status, unless a subcommand says otherwise:
  0    done
  1    something that was measured failed
  2    wrong usage
  125  hz3 itself failed, for instance because the disk is full
  126  the command cannot be executed
  127  the command was not found
  128 + N  ended by signal N; 141 when the reader of the output has gone

Completions: hz3 completions bash > ~/.local/share/bash-completion/completions/hz3
Man pages:   hz3 man --dir DIR, where DIR may be ~/.local/share/man/man1";

/// Runs programs on the hz3 memory allocator, measures them, and compares it with other allocators.
#[derive(Debug, Parser)]
#[command(name = "hz3", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_long_help = NOTES)]
pub(crate) struct Cli {
    /// The subcommand to run.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Compare hz3 with the allocators of this machine, in about half a minute for each
    #[command(long_about = demo::LONG, after_long_help = demo::NOTES)]
    Demo(DemoArgs),

    /// Run a command on the system's malloc and on hz3, and show both side by side
    #[command(long_about = run::LONG, after_long_help = run::NOTES)]
    Run(RunArgs),

    /// Watch the memory of a command or a running process and write it down as CSV
    #[command(long_about = watch::LONG, after_long_help = watch::NOTES)]
    Watch(WatchArgs),

    /// Show what the heap of a running process holds, and what it does
    #[command(long_about = look::TOP, after_long_help = look::NOTES)]
    Top(TopArgs),

    /// Set options of a running process
    #[command(long_about = look::SET, after_long_help = look::NOTES)]
    Set(SetArgs),

    /// Say why a running process holds its memory
    #[command(long_about = look::WHY, after_long_help = look::NOTES)]
    Why(LookArgs),

    /// Print the statistics of a running process as `OpenMetrics` text
    #[command(long_about = look::METRICS, after_long_help = look::NOTES)]
    Metrics(LookArgs),

    /// Run one workload on this process's malloc and report its speed
    #[command(long_about = bench::LONG, after_long_help = bench::NOTES)]
    Bench(BenchArgs),

    /// Compare allocators on workloads: interleaved, with intervals
    #[command(long_about = compare::LONG, after_long_help = compare::NOTES)]
    Compare(CompareArgs),

    /// Judge a change of hz3: GO, NO-GO, uncertain, or no difference
    #[command(long_about = ab::LONG, after_long_help = ab::NOTES)]
    Ab(AbArgs),

    /// Make a page with pictures of a comparison or a watch
    #[command(long_about = report::LONG, after_long_help = report::NOTES)]
    Report(ReportArgs),

    /// Show which functions hold the memory, from a heap profile
    #[command(long_about = profile::LONG, after_long_help = profile::NOTES)]
    Profile(ProfileArgs),

    /// List the allocators that can be compared, and how to get the others
    #[command(long_about = peers::LONG, after_long_help = peers::NOTES)]
    Peers(PeersArgs),

    /// Print a completion script for a shell
    Completions(CompletionsArgs),

    /// Print the man page, or write those of all subcommands
    Man(ManArgs),

    /// Say which allocator this process runs on (for `hz3 peers`)
    #[command(hide = true)]
    Probe,
}
