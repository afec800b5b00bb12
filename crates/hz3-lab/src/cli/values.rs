//! Values with units on the command line.

use crate::experiment::record::MAX_ROUNDS;
use clap::builder::RangedI64ValueParser;
use std::process::{Command, Stdio};
use std::time::Duration;

const UNITS: [(&str, f64); 5] =
    [("ms", 1e-3), ("s", 1.0), ("min", 60.0), ("m", 60.0), ("h", 3600.0)];
const LONGEST_S: f64 = 30.0 * 86_400.0;

/// Parses a time span above 0: a number with `ms`, `s`, `min` or `h`; seconds without a unit.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    span_in(text, "s")
}

/// Parses a time span as [`span`] does; milliseconds without a unit.
pub(super) fn span_ms(text: &str) -> Result<Duration, String> {
    span_in(text, "ms")
}

/// Parses a command line for the shell, which must begin with something that the shell finds.
pub(super) fn command_line(text: &str) -> Result<String, String> {
    let Some(first) = text.split_whitespace().next() else {
        return Err("expected a command line, such as 'python3 job.py'".to_owned());
    };
    // Any other sign may have a meaning for the shell.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./+".contains(c);
    if first.chars().all(is_plain) && !first.starts_with('-') && !is_known_to_shell(first) {
        return Err(format!("the shell finds no command {first}"));
    }
    Ok(text.to_owned())
}

/// Returns whether the shell has a builtin or a keyword of this name, or finds a program. Without a
/// shell nobody knows.
fn is_known_to_shell(name: &str) -> bool {
    let mut shell = Command::new("sh");
    shell.args(["-c", "command -v \"$1\"", "sh", name]);
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.status().map_or(true, |status| status.success())
}

/// Parses a number of rounds.
pub(super) fn rounds() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=MAX_ROUNDS.into())
}

/// Parses a finite number.
pub(super) fn finite(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| "expected a number".to_owned())
}

/// Parses a finite number that is not below 0.
pub(super) fn finite_from_0(text: &str) -> Result<f64, String> {
    let number = finite(text).ok().filter(|number| *number >= 0.0);
    number.ok_or_else(|| "expected a number from 0 on".to_owned())
}

fn span_in(text: &str, default: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = if digits.len() == text.len() { default } else { &text[digits.len()..] };
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("unknown unit `{unit}`; the units are ms, s, min and h"));
    };
    let seconds = digits.parse::<f64>().map_err(|_| "expected a number such as 30s".to_owned())?;
    let seconds = seconds * factor;
    if !(seconds > 0.0 && seconds <= LONGEST_S) {
        return Err("expected a time above 0 and up to 720h".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn criteria_are_numbers() {
        assert_eq!(finite("-2.5"), Ok(-2.5));
        assert_eq!(finite_from_0("0"), Ok(0.0));
        for text in ["", "NaN", "inf", "-inf", "1e400", "5%"] {
            assert!(finite(text).is_err() && finite_from_0(text).is_err(), "{text}");
        }
        assert!(finite_from_0("-1").is_err());
    }

    #[test]
    fn a_command_line_begins_with_what_the_shell_finds() {
        for text in [
            "true",
            "  sh -c 'exit 3'",
            "/bin/sh",
            "until false; do :; done",
            "cd / && ls",
            "A=1 env",
            "(exit 7)",
            "\"$SHELL\" -c true",
        ] {
            assert_eq!(command_line(text), Ok(text.to_owned()));
        }
        for text in ["no-such-command -x", "./no-such-script", "/nowhere/at all"] {
            let said = command_line(text).unwrap_err();
            assert!(said.starts_with("the shell finds no command "), "{text}: {said}");
        }
        assert!(command_line(" ").is_err());
    }

    #[test]
    fn spans_have_units() {
        for (text, seconds) in
            [("60s", 60.0), ("60", 60.0), ("1.5min", 90.0), ("2m", 120.0), ("250ms", 0.25)]
        {
            assert_eq!(span(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        assert_eq!(span_ms("50"), Ok(Duration::from_millis(50)));
        for text in ["", "s", "10 parsecs", "10kg", "-1s", "0", "nan", "1e99h", "inf"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
