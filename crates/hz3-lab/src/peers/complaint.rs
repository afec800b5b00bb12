//! Finds the lines with which an allocator rejects a setting.

use crate::failure::Failure;
use crate::text;

/// The beginnings of such lines, by allocator; a line of hz3 also names an option.
const BEGINNINGS: [&str; 3] = ["hz3: ", "<jemalloc>: Invalid", "mimalloc: warning"];

/// Returns the first such line.
pub(crate) fn find(stderr: &str) -> Option<&str> {
    stderr.lines().map(str::trim).find(|line| match line.strip_prefix(BEGINNINGS[0]) {
        Some(rest) => rest.contains("HZ3_"),
        None => BEGINNINGS[1..].iter().any(|beginning| line.starts_with(beginning)),
    })
}

/// Builds the failure for a rejected setting of `who`.
pub(crate) fn failure(who: &str, line: &str) -> Failure {
    let reason = reason(line);
    let failure = Failure::usage(format!("the allocator {who} does not accept {reason}"));
    match meant(line).filter(|_| !reason.contains("the nearest is")) {
        Some(name) => failure.with_remedy(format!("did you mean `{name}`?")),
        None => failure,
    }
}

/// Returns what is wrong, without what the allocator would do in a program: here nothing runs.
fn reason(line: &str) -> &str {
    let line = line.strip_prefix(BEGINNINGS[0]).unwrap_or(line);
    match line.rsplit_once("; ") {
        Some((reason, "ignored")) => reason,
        Some((reason, end)) if end.starts_with("using ") => reason,
        _ => line,
    }
}

/// Returns the accepted name or value nearest to the rejected one: the first option in the line, or
/// its value, compared with the names in the rest of the line.
fn meant(line: &str) -> Option<&str> {
    let start = line.find("HZ3_")?;
    let refused = line[start..].split([' ', ':']).next()?;
    let rest = &line[start + refused.len()..];
    let Some((_, value)) = refused.split_once('=') else {
        let words = rest.split([' ', ',', ';']).filter(|word| word.starts_with("HZ3_"));
        return text::nearest(refused, words);
    };
    let words = rest.split([' ', ',', ';']).filter(|word| !word.is_empty());
    // Numbers and words of prose are not names that can be misspelt.
    let names = words.filter(|word| word.len() > 2 && word.contains(|c: char| c.is_alphabetic()));
    text::nearest(value, names).filter(|_| value.contains(|c: char| c.is_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failure_says_each_thing_once() {
        let said = |line: &str| failure("hz3:X", line).to_string();
        assert_eq!(
            said("hz3: HZ3_TIC: no such option, the nearest is HZ3_TICK; ignored"),
            "the allocator hz3:X does not accept HZ3_TIC: no such option, the nearest is HZ3_TICK"
        );
        assert_eq!(
            said("hz3: HZ3_POLICY=of: expected off or default; using default"),
            "the allocator hz3:X does not accept HZ3_POLICY=of: expected off or default; \
             did you mean `off`?"
        );
    }

    #[test]
    fn the_refusal_and_what_was_meant_are_found() {
        let name = "hz3: unknown option HZ3_TIK is ignored; there are HZ3_TICK, HZ3_COUNT";
        let value = "hz3: HZ3_POLICY=defualt is ignored; it takes off, default, s58 or s64-p1c";
        for (line, expected) in [
            (name, Some("HZ3_TICK")),
            (value, Some("default")),
            ("hz3: HZ3_TICK=9x: expected milliseconds from 1 to 60000; using 125", None),
            ("hz3: HZ3_ARENA=5 is ignored; it takes a number of bytes", None),
            ("hz3: HZ3_FOO: no such option, see libhz3(7) or docs/tuning.md; ignored", None),
            ("hz3: HZ3_METRICS_MS=5: HZ3_METRICS is not set; no effect until it is", None),
        ] {
            assert_eq!(find(&format!("noise\n{line}\n")), Some(line));
            assert_eq!(meant(line), expected, "{line}");
        }
        assert_eq!(find("hz3: the allocator failed the workload's check\nall is well"), None);
        assert!(find("<jemalloc>: Invalid conf pair: x:1").is_some());
    }
}
