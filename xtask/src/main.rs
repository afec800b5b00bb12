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
mod docs;
mod fastpath;
mod heartbeat;
mod misuse;
mod needs;
mod nightly;
mod numbers;
mod services;
mod setup;
mod shell;
mod targets;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hz3_tools::Result;

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
    /// Runs all tests; those that lack a program of Debian are named and left out
    Test {
        /// First install the Debian packages that are missing (needs root; says which and how much)
        #[arg(long)]
        install: bool,
        /// Run only the suites whose name contains this
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
    },
    /// Checks that the picture is true: layers, documents, invariants, orderings, unsafe code
    Check,
    /// Lists what the rules of language find in comments and pages
    Prose {
        /// Show the findings of this place, such as crates/hz3, not only their numbers
        place: Option<String>,
        /// Lower the accepted numbers in xtask/prose.txt to those of today
        #[arg(long, conflicts_with = "place")]
        shrink: bool,
    },
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
    /// Measures what hz3 costs beside other allocators, and fails when a target is missed
    Cost {
        /// Repetitions of every measurement; the median counts
        #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(5..))]
        repetitions: u32,
        /// Measure another library instead of libhz3.so
        #[arg(long, value_name = "PATH")]
        library: Option<PathBuf>,
        /// Also write the measurements as CSV, for the tables of the pages
        #[arg(long, value_name = "FILE")]
        csv: Option<PathBuf>,
    },
    /// Misuses the heap on hz3 and on the other allocators of this machine; writes docs/misuse.md
    Misuse,
    /// Writes docs/internals.md: invariants and locks, from the heads of the files that keep them
    Docs,
    /// Writes the tables of figures into the pages, from the recordings in docs/benchmarks
    Numbers,
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
        /// Run the program on the library that checks itself
        #[arg(long)]
        checked: bool,
    },
    /// Builds target/checked/libhz3-check.so, which ends a program when hz3 itself is wrong
    CheckedLibrary,
    /// Runs what takes hours: all of Miri, long attacks and storms, the check build, other targets
    Nightly {
        /// First install what is missing: Debian packages (needs root), Rust's nightly, targets
        #[arg(long)]
        install: bool,
        /// Run only the steps whose name contains this
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
        /// How long the attack on all policies takes
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
        minutes: u32,
    },
    /// Checks other targets, and that crate hz3 builds without a C compiler
    Targets {
        /// Also build a static program for musl and run it
        #[arg(long)]
        musl: bool,
    },
    /// Runs the tests of crate hz3 under Miri
    Miri {
        /// Only the tests of the parts with most unsafe code: about two minutes on two processors
        #[arg(long, conflicts_with = "filter")]
        short: bool,
        /// Under the Tree Borrows model instead of Stacked Borrows
        #[arg(long)]
        tree_borrows: bool,
        /// Run only the tests whose name contains this
        filter: Option<String>,
    },
    /// Runs the stress tests of crate hz3 under `ThreadSanitizer`
    Tsan,
    /// Runs the loom models of crate hz3
    Loom {
        /// Preemptions of a thread that are tried
        #[arg(long, default_value_t = 2)]
        preemptions: u32,
    },
    /// Installs what tests and chores need: Debian packages (needs root), Rust's nightly, targets
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
        Chore::Test { install, only } => test::run(install, only.as_deref()),
        Chore::Nightly { install, only, minutes } => {
            nightly::run(install, only.as_deref(), minutes)
        }
        Chore::Check => check::run(),
        Chore::Prose { place, shrink } => check::prose::run(place.as_deref(), shrink),
        Chore::Api => check::api::accept(),
        Chore::Fastpath { bless, why, library } => {
            fastpath::run(library.as_deref(), why.filter(|_| bless).as_deref())
        }
        Chore::Cost { repetitions, library, csv } => {
            cost::run(repetitions, library.as_deref(), csv.as_deref())
        }
        Chore::Misuse => misuse::run(),
        Chore::Docs => docs::run(),
        Chore::Numbers => numbers::run(),
        Chore::Attack { minutes, seed, policy, checked } => {
            attack::run(minutes, seed, policy.as_deref(), checked)
        }
        Chore::CheckedLibrary => {
            println!("{}", shell::checked_library()?.display());
            Ok(())
        }
        Chore::Targets { musl } => targets::run(musl),
        Chore::Miri { short, tree_borrows, filter } => {
            let extent = if short { nightly::Extent::Short } else { nightly::Extent::Full };
            nightly::miri(extent, tree_borrows, filter.as_deref())
        }
        Chore::Tsan => nightly::tsan(None),
        Chore::Loom { preemptions } => test::loom(preemptions),
        Chore::Setup => setup::everything(),
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

    /// Returns the words behind each `cargo xtask` of a page or script, as far as they are this
    /// program's.
    fn commands(text: &str) -> Vec<Vec<&str>> {
        let rests = text.split("cargo xtask ").skip(1);
        let ends = ['`', '#', ',', '.', ';', ':', '(', ')', '"', '\n', '&'];
        let lines = rests.map(|rest| rest.split(ends).next().unwrap_or_default());
        lines.map(|line| line.split_whitespace().collect()).collect()
    }

    #[test]
    fn the_pages_and_scripts_name_chores_and_options_that_exist() {
        let application = Arguments::command();
        let mut seen = 0;
        for page in [
            "README.md",
            "ARCHITECTURE.md",
            "CONTRIBUTING.md",
            "RELEASING.md",
            "SECURITY.md",
            "CHANGELOG.md",
            "packaging/README.md",
            "docs/tuning.md",
            "docs/benchmarks/README.md",
            "docs/guides/rust.md",
            ".ci/run",
            ".github/workflows/ci.yml",
        ] {
            let text = std::fs::read_to_string(shell::root().join(page)).unwrap();
            for words in commands(&text) {
                let Some(chore) = words.first().filter(|word| !word.starts_with('-')) else {
                    continue;
                };
                let chore = application.find_subcommand(chore);
                let chore = chore.unwrap_or_else(|| panic!("{page}: cargo xtask {words:?}"));
                for option in words.iter().filter_map(|word| word.strip_prefix("--")) {
                    let known = chore.get_arguments().any(|known| known.get_long() == Some(option));
                    assert!(known, "{page}: cargo xtask {words:?}: no option --{option}");
                }
                seen += 1;
            }
        }
        assert!(seen > 10, "the pages name {seen} chores");
    }

    #[test]
    fn a_golden_figure_is_not_changed_without_a_reason() {
        assert!(Arguments::try_parse_from(["xtask", "fastpath", "--bless"]).is_err());
        assert!(Arguments::try_parse_from(["xtask", "fastpath", "--bless", "--why", "x"]).is_ok());
    }
}
