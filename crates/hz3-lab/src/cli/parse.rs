//! Reports wrong usage in one line.

use super::{BenchArgs, Cli, Command};
use crate::experiment::trial::OWN_OPTIONS;
use crate::failure::{Failure, Result};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, CommandFactory, FromArgMatches};
use std::ffi::OsString;

/// Parses the command line of this process. Returns `None` after printing help or the version.
pub(crate) fn own() -> Result<Option<Cli>> {
    let words: Vec<OsString> = std::env::args_os().collect();
    match parsed(&words) {
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
                && words.len() > 1 =>
        {
            let names = workloads().join(", ");
            Err(Failure::usage(format!("a subcommand is missing; expected one of {names}")))
        }
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            error.exit()
        }
        Err(error) => Err(Failure::usage(explained(&error, &words))),
    }
}

fn parsed(words: &[OsString]) -> Result<Cli, clap::Error> {
    let mut command = outspoken(Cli::command());
    let mut matches = command.try_get_matches_from_mut(words)?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// Takes a negative number or time for the value of the option before it, so that the message names
/// the option and what it accepts. Otherwise clap takes the value for an unknown option.
fn outspoken(command: clap::Command) -> clap::Command {
    let is_time = |arg: &Arg| {
        arg.get_value_names().is_some_and(|names| names.iter().any(|name| name.as_str() == "TIME"))
    };
    let command = command.mut_args(|arg| match arg.get_action().takes_values() {
        true if is_time(&arg) => arg.allow_hyphen_values(true),
        true => arg.allow_negative_numbers(true),
        false => arg,
    });
    command.mut_subcommands(outspoken)
}

/// Parses a line for `hz3 bench`, as it is given to `--workload`.
pub(crate) fn bench(words: &[String]) -> Result<BenchArgs> {
    let line = words.join(" ");
    let all = ["hz3", "bench"].into_iter().chain(words.iter().map(String::as_str));
    let all: Vec<OsString> = all.map(OsString::from).collect();
    let wrong = |what: String| Failure::usage(format!("the workload `{line}`: {what}"));
    let is_own = |word: &&String| {
        OWN_OPTIONS.contains(&word.split_once('=').map_or(word.as_str(), |(name, _)| name))
    };
    if let Some(own) = words.iter().find(is_own) {
        return Err(wrong(format!("each trial sets {own} itself")));
    }
    match parsed(&all) {
        Ok(Cli { command: Command::Bench(bench) }) => {
            bench.workload.settled().map_err(|failure| wrong(failure.to_string()))?;
            Ok(bench)
        }
        Ok(_) => Err(wrong("it is no workload".to_owned())),
        Err(error) if !error.use_stderr() => {
            Err(wrong(format!("it runs nothing; `hz3 bench {line}` shows the help")))
        }
        Err(error) => Err(wrong(explained(&error, &all))),
    }
}

/// Lists the names of all workloads.
pub(crate) fn workloads() -> Vec<String> {
    let command = Cli::command();
    let bench = command.find_subcommand("bench").map(clap::Command::get_subcommands);
    bench.into_iter().flatten().map(|workload| workload.get_name().to_owned()).collect()
}

/// Formats an error of these words in one line: with the range that a number must be in, and with
/// the nearest subcommand if clap suggests none.
fn explained(error: &clap::Error, words: &[OsString]) -> String {
    let line = one_line(&error.render().to_string());
    let mut command = Cli::command();
    // An argument of a command that is not built cannot be shown.
    command.build();
    if error.kind() == ErrorKind::ValueValidation {
        return with_range(&line, error, &command, words);
    }
    if let Some(name) = words.get(1).and_then(|word| word.to_str())
        && error.kind() == ErrorKind::UnknownArgument
        && ["run", "watch"].contains(&name)
        && !words.iter().any(|word| word == "--")
        && !line.contains("similar")
    {
        return format!("{line}; a command stands behind `--`: hz3 {name} -- CMD");
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return line;
    };
    if line.contains("similar") {
        return line;
    }
    let is_bench = words.iter().any(|word| word == "bench");
    let subcommands = command.get_subcommands().filter(|sub| !sub.is_hide_set() && !is_bench);
    let mut names: Vec<String> = subcommands.map(|sub| sub.get_name().to_owned()).collect();
    names.extend(workloads());
    match crate::text::nearest(word, names.iter().map(String::as_str)) {
        Some(name) => format!("{line}; did you mean '{name}'?"),
        None if is_bench => format!("{line}; expected one of {}", names.join(", ")),
        None => line,
    }
}

/// The reasons that the parsers of numbers give for a text that is no number, or too large a one.
const NO_NUMBER: [&str; 5] = [
    "invalid digit found in string",
    "cannot parse integer from empty string",
    "number too large to fit in target type",
    "invalid float literal",
    "cannot parse float from empty string",
];

/// Replaces what a parser says about a number by what the option accepts.
fn with_range(
    line: &str,
    error: &clap::Error,
    command: &clap::Command,
    words: &[OsString],
) -> String {
    let Some((before, reason)) = line.rsplit_once(": ") else { return line.to_owned() };
    let range = match reason.split_once(" is not in ") {
        Some((_, range)) => Some(range.to_owned()),
        None if NO_NUMBER.contains(&reason) => range_of(error, command, words),
        None => return line.to_owned(),
    };
    match range.as_deref().and_then(|range| range.split_once("..=")) {
        Some((from, to)) => format!("{before}: expected a whole number from {from} to {to}"),
        None if reason.contains("float") => format!("{before}: expected a number"),
        None => format!("{before}: expected a whole number"),
    }
}

/// Returns the range of the argument that the error names, `1..=8`. Its parser alone knows the
/// range, and says it about a number outside.
fn range_of(error: &clap::Error, command: &clap::Command, words: &[OsString]) -> Option<String> {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return None };
    let mut place = command;
    let mut args: Vec<&Arg> = Vec::new();
    for word in words.iter().skip(1) {
        args.extend(place.get_arguments());
        place = place.find_subcommand(word).unwrap_or(place);
    }
    args.extend(place.get_arguments());
    let arg = args.into_iter().rev().find(|arg| arg.to_string() == *shown)?;
    let value = Arg::new("value").allow_hyphen_values(true);
    let asked = clap::Command::new("ask").arg(value.value_parser(arg.get_value_parser().clone()));
    // A parser of numbers without a sign does not read the first one.
    [i64::MIN.to_string(), u64::MAX.to_string()].iter().find_map(|number| {
        let refused = asked.clone().try_get_matches_from(["ask", number]).err()?;
        let line = one_line(&refused.render().to_string());
        line.rsplit_once(" is not in ").map(|(_, range)| range.to_owned())
    })
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
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            explained(&parsed(&words).unwrap_err(), &words)
        };
        let typo = error(&["hz3", "comprae"]);
        assert_eq!(typo.lines().count(), 1, "{typo}");
        assert!(typo.contains("'comprae'") && typo.contains("'compare'"), "{typo}");
        let missing = error(&["hz3", "run"]);
        assert!(missing.contains("required") && missing.contains("<CMD>"), "{missing}");
        let workload = error(&["hz3", "bench", "smal"]);
        assert!(workload.contains("expected one of") && workload.contains("pool"), "{workload}");
    }

    #[test]
    fn a_wrong_number_is_told_with_its_option_and_its_range() {
        let to_u32 = "expected a whole number from 1 to 4294967295";
        let threads = "expected a whole number from 1 to 10000";
        for (line, option, expected) in [
            ("bench mixed --threads -1", "--threads", threads),
            ("bench mixed --threads two", "--threads", threads),
            ("bench mixed --threads 0", "--threads", threads),
            ("bench mixed --threads 99999999", "--threads", threads),
            ("bench mixed --slots 0", "--slots", to_u32),
            ("bench mixed --ops 0", "--ops", "from 1 to 1000000000000"),
            ("bench mixed --ops -5", "--ops", "from 1 to 1000000000000"),
            ("bench xfer --blocks 9223372036854775808", "--blocks", "from 1 to 1000000000000"),
            ("bench holes --rows 99999999999999999999", "--rows", "from 1 to 1000000000000"),
            ("bench pool --idle -1", "--idle", "expected seconds from 0"),
            ("bench waves --waves 1:4294967295", "--waves", "100000 bursts"),
            ("bench remote --percent 101", "--percent", "from 0 to 100"),
            ("compare --rounds -1", "--rounds", "expected a whole number from 1 to 10000"),
            ("compare --seed x", "--seed", "expected a whole number"),
            ("compare --time -5s", "--time", "above 0"),
            ("ab --memory-go x", "--memory-go", "expected a number"),
            ("why -1", "<PID>", "from 1 to 2147483647"),
            ("watch --pid abc", "--pid", "from 1 to 2147483647"),
        ] {
            let words = format!("hz3 {line}");
            let words: Vec<OsString> = words.split(' ').map(OsString::from).collect();
            let said = explained(&parsed(&words).unwrap_err(), &words);
            assert!(said.contains(option) && said.contains(expected), "{line}: {said}");
        }
    }

    #[test]
    fn no_line_of_the_help_is_wrapped_twice() {
        fn check(command: &clap::Command) {
            let notes = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            for line in notes.lines() {
                assert!(line.chars().count() <= 100, "{}: {line}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
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
