//! Chores of the hz3 workspace: `cargo xtask --help` lists them.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people: printing is what it does"
)]

mod attack;
mod check;
mod cost;
mod counts;
mod demo;
mod dist;
mod fastpath;
mod misuse;
mod nightly;
mod setup;
mod shell;
mod targets;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hz3_programs::Result;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Chores of the hz3 workspace")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Builds hz3 and compares it with the other allocators of this machine: `hz3 demo`
    Demo {
        /// Install Debian's jemalloc, tcmalloc and mimalloc first (needs root)
        #[arg(long)]
        with_peers: bool,
    },
    /// Runs all tests; installs the Debian packages that they need when it may
    Test {
        /// Never install packages, fail when one is missing
        #[arg(long)]
        no_install: bool,
        /// Run only the suites whose name contains this
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
    },
    /// Checks that the picture is true: layers, documents, invariants, orderings, unsafe code
    Check,
    /// Takes today's public items of crate hz3 over into crates/hz3/api.txt
    Api,
    /// Counts the instructions of malloc and free against the golden figure
    Fastpath {
        /// Take today's figure as the golden one
        #[arg(long, requires = "why")]
        bless: bool,
        /// The reason for the change of the golden figure
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
        /// Count another library (nothing is compared)
        #[arg(long, value_name = "PATH", conflicts_with = "bless")]
        library: Option<PathBuf>,
    },
    /// Measures what hz3 costs beside other allocators, and fails when a bar is missed
    Cost {
        /// Repetitions of every measurement; the median counts
        #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(5..))]
        repetitions: u32,
        /// Measure another library instead of libhz3.so
        #[arg(long, value_name = "PATH")]
        library: Option<PathBuf>,
    },
    /// Misuses the heap on hz3 and on the other allocators of this machine; writes docs/misuse.md
    Misuse,
    /// Attacks every policy in turn for minutes: does any byte change while hz3 reclaims?
    Attack {
        /// How long, all policies together
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
        minutes: u32,
        /// Start of the random numbers
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Attack only this policy
        #[arg(long, value_name = "NAME")]
        policy: Option<String>,
    },
    /// Static musl build that runs, check for aarch64, proof that no C compiler is used
    Targets,
    /// Runs the tests of crate hz3 under Miri
    Miri {
        /// Under the Tree Borrows model instead of Stacked Borrows
        #[arg(long)]
        tree_borrows: bool,
        /// Run only the tests whose name contains this
        filter: Option<String>,
    },
    /// Runs the stress tests of crate hz3 under `ThreadSanitizer`
    Tsan,
    /// Runs the loom models of crate hz3
    Loom,
    /// Installs the Debian packages that the tests and chores need
    Setup,
    /// Builds hz3 and puts the library, the header, the tool and their pages below a prefix
    Install(dist::InstallArgs),
    /// Builds the packages that others install: a tarball and Debian packages, byte for byte alike
    Dist(dist::DistArgs),
}

fn main() -> ExitCode {
    match run(Arguments::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> Result {
    match chore {
        Chore::Demo { with_peers } => demo::run(with_peers),
        Chore::Test { no_install, only } => test::run(!no_install, only.as_deref()),
        Chore::Check => check::run(),
        Chore::Api => check::api::accept(),
        Chore::Fastpath { bless, why, library } => {
            fastpath::run(library.as_deref(), why.filter(|_| bless).as_deref())
        }
        Chore::Cost { repetitions, library } => cost::run(repetitions, library.as_deref()),
        Chore::Misuse => misuse::run(),
        Chore::Attack { minutes, seed, policy } => attack::run(minutes, seed, policy.as_deref()),
        Chore::Targets => targets::run(),
        Chore::Miri { tree_borrows, filter } => nightly::miri(tree_borrows, filter.as_deref()),
        Chore::Tsan => nightly::tsan(),
        Chore::Loom => test::loom(),
        Chore::Setup => setup::ensure(true),
        Chore::Install(arguments) => dist::install(&arguments),
        Chore::Dist(arguments) => dist::run(&arguments),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_golden_figure_is_not_changed_without_a_reason() {
        assert!(Arguments::try_parse_from(["xtask", "fastpath", "--bless"]).is_err());
        assert!(Arguments::try_parse_from(["xtask", "fastpath", "--bless", "--why", "x"]).is_ok());
    }
}
