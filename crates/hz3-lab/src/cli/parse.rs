//! Reports wrong usage in one line.

use super::{BenchArgs, Cli, Command};
use crate::failure::{Failure, Result};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};
use std::ffi::OsString;

/// Parses the command line of this process. Returns `None` after printing help or the version.
pub(crate) fn own() -> Result<Option<Cli>> {
    match Cli::try_parse() {
        Ok(cli) => Ok(Some(cli)),
        Err(error) if !error.use_stderr() => {
            let mut text = error.render().to_string();
            if error.kind() == ErrorKind::DisplayVersion {
                let library = crate::commands::library();
                text.extend(["library: ", &library, "\n"]);
            }
            crate::text::out::bytes(text.as_bytes())?;
            Ok(None)
        }
        // `hz3` alone shows its help; a subcommand without its arguments is wrong usage like any
        // other.
        Err(error)
            if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                && std::env::args_os().count() > 1 =>
        {
            let names = workloads().join(", ");
            Err(Failure::usage(format!("a subcommand is missing; expected one of {names}")))
        }
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            error.exit()
        }
        Err(error) => Err(Failure::usage(explained(&error))),
    }
}

/// Parses a line for `hz3 bench`, as it is given to `--workload`.
pub(crate) fn bench(words: &[String]) -> Result<BenchArgs> {
    let line = words.join(" ");
    let all = ["hz3", "bench"].into_iter().chain(words.iter().map(String::as_str));
    let wrong = |what: String| Failure::usage(format!("the workload `{line}`: {what}"));
    match Cli::try_parse_from(all.map(OsString::from)) {
        Ok(Cli { command: Command::Bench(bench) }) => {
            bench.workload.settled().map_err(|failure| wrong(failure.to_string()))?;
            Ok(bench)
        }
        Ok(_) => Err(wrong("it is no workload".to_owned())),
        Err(error) => Err(wrong(explained(&error))),
    }
}

/// Lists the names of all workloads.
pub(crate) fn workloads() -> Vec<String> {
    let command = Cli::command();
    let bench = command.find_subcommand("bench").map(clap::Command::get_subcommands);
    bench.into_iter().flatten().map(|workload| workload.get_name().to_owned()).collect()
}

/// Formats an error in one line, with the nearest subcommand if clap suggests none.
fn explained(error: &clap::Error) -> String {
    let line = one_line(&error.render().to_string());
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return line;
    };
    let command = Cli::command();
    let subcommands = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    let mut names: Vec<String> = subcommands.map(|sub| sub.get_name().to_owned()).collect();
    names.extend(workloads());
    match crate::text::nearest(word, names.iter().map(String::as_str)) {
        Some(name) if !line.contains("similar") => format!("{line}; did you mean '{name}'?"),
        _ => line,
    }
}

/// Returns the text of an error without its usage, in one line.
fn one_line(error: &str) -> String {
    let said = error.lines().map(str::trim).take_while(|line| {
        !line.starts_with("Usage:") && !line.starts_with("For more information")
    });
    let parts: Vec<String> =
        said.filter(|line| !line.is_empty()).map(|line| line.replacen("error: ", "", 1)).collect();
    parts.join(" ").replace(" tip: ", "; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_one_line_with_the_nearest_name() {
        let error = |words: &[&str]| {
            one_line(&Cli::try_parse_from(words).unwrap_err().render().to_string())
        };
        let typo = error(&["hz3", "comprae"]);
        assert_eq!(typo.lines().count(), 1, "{typo}");
        assert!(typo.contains("'comprae'") && typo.contains("'compare'"), "{typo}");
        let missing = error(&["hz3", "run"]);
        assert!(missing.contains("required") && missing.contains("<CMD>"), "{missing}");
    }

    #[test]
    fn a_line_for_bench_is_checked_whole() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(bench(&words("mixed --ops 5")).is_ok());
        for line in ["mixd", "mixed --opps 5", "mixed --ops many", "remote 2 5000"] {
            let failure = bench(&words(line)).unwrap_err();
            assert_eq!(failure.code(), 2, "{failure}");
        }
        assert!(workloads().contains(&"burst-idle".to_owned()));
    }
}
