//! A recording of `hz3 compare`: the head and the trials of one CSV.

use hz3_tools::{Failure, Result};

/// The facts of a CSV's head and its trials.
#[derive(Debug)]
pub(super) struct Recording {
    /// Lines of the head, `name: value`, in their order.
    facts: Vec<(String, String)>,
    columns: Vec<String>,
    trials: Vec<Vec<String>>,
}

impl Recording {
    /// Parses a CSV. Fails if a row has another number of fields than the names above it.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (head, rows): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.starts_with('#'));
        let facts = head.iter().filter_map(|line| line.trim_start_matches('#').split_once(':'));
        let facts = facts.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
        let mut rows = rows.into_iter().map(fields);
        let columns = rows.next().ok_or_else(|| Failure::new("a recording without columns"))?;
        let trials: Vec<Vec<String>> = rows.collect();
        if let Some(short) = trials.iter().find(|trial| trial.len() != columns.len()) {
            return Err(Failure::new(format!("a trial with {} fields: {short:?}", short.len())));
        }
        Ok(Self { facts: facts.collect(), columns, trials })
    }

    /// Returns the value of a fact of the head, or nothing where it is not recorded.
    pub(super) fn fact(&self, name: &str) -> &str {
        let found = self.facts.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// Returns the allocators in the order in which they were named.
    pub(super) fn allocators(&self) -> Vec<String> {
        // The name may have a colon itself, so the fact ends with the last one: `: version`.
        let named = self.facts.iter().filter_map(|(name, value)| {
            let whole = format!("{name}:{value}");
            let rest = whole.strip_prefix("allocator ")?;
            let (name, _) =
                rest.split_once(":version ").or_else(|| rest.split_once(": version "))?;
            Some(name.trim().to_owned())
        });
        named.collect()
    }

    /// Returns the name of an allocator for people: its version, and its setting if it has one.
    pub(super) fn title(&self, allocator: &str) -> String {
        let (base, setting) = allocator.split_once(':').unwrap_or((allocator, ""));
        if base == "hz3" && setting.is_empty() {
            return base.to_owned();
        }
        let found = self.facts.iter().find_map(|(name, value)| {
            let whole = format!("{name}:{value}");
            let rest = whole.strip_prefix("allocator ")?.strip_prefix(allocator)?;
            let rest = rest.trim_start_matches(':').trim_start().strip_prefix("version ")?;
            rest.split(',').next().map(str::to_owned)
        });
        // A peer by path may be called NAME-VERSION, because not every library reports its version.
        let (base, said) = base.split_once('-').unwrap_or((base, ""));
        let version = found
            .filter(|found| !["", "?"].contains(&found.as_str()))
            .unwrap_or_else(|| said.to_owned());
        let name = base.trim_end_matches(|c: char| c.is_ascii_digit());
        // glibc's name ends in a letter; hz3's digit is a part of its name.
        let name = if base.starts_with("hz3") { base } else { name };
        let title = format!("{name} {version}");
        if setting.is_empty() { title } else { format!("{title}, `{setting}`") }
    }

    /// Returns the cases in the order of their first trials.
    pub(super) fn cases(&self) -> Vec<String> {
        let mut cases: Vec<String> = Vec::new();
        for trial in &self.trials {
            let case = self.field(trial, "case");
            if !cases.iter().any(|known| known == case) {
                cases.push(case.to_owned());
            }
        }
        cases
    }

    /// Returns the values of a column in the order of the rounds; trials that failed have none.
    pub(super) fn values(&self, case: &str, allocator: &str, column: &str) -> Vec<f64> {
        let of_both = |trial: &&Vec<String>| {
            self.field(trial, "case") == case && self.field(trial, "allocator") == allocator
        };
        let mut trials: Vec<&Vec<String>> = self.trials.iter().filter(of_both).collect();
        trials.sort_by_key(|trial| self.field(trial, "round").parse::<u32>().unwrap_or(0));
        trials.iter().filter_map(|trial| self.field(trial, column).parse().ok()).collect()
    }

    /// Returns a column of the first trial of a case as it stands there.
    pub(super) fn text(&self, case: &str, column: &str) -> &str {
        let first = self.trials.iter().find(|trial| self.field(trial, "case") == case);
        first.map_or("", |trial| self.field(trial, column))
    }

    /// Returns one allocator's value as a multiple of another's, for each round in which neither
    /// failed.
    pub(super) fn ratios(&self, case: &str, [of, to]: [&str; 2], column: &str) -> Vec<f64> {
        let value = |round: &str, allocator: &str| {
            let wanted = |trial: &&Vec<String>| {
                let names = ["round", "case", "allocator"].map(|name| self.field(trial, name));
                names == [round, case, allocator]
            };
            self.field(self.trials.iter().find(wanted)?, column).parse::<f64>().ok()
        };
        let mut rounds: Vec<&str> =
            self.trials.iter().map(|trial| self.field(trial, "round")).collect();
        rounds.sort_unstable();
        rounds.dedup();
        rounds.iter().filter_map(|round| Some(value(round, of)? / value(round, to)?)).collect()
    }

    fn field<'a>(&self, trial: &'a [String], column: &str) -> &'a str {
        let index = self.columns.iter().position(|known| known == column);
        index.and_then(|index| trial.get(index)).map_or("", String::as_str)
    }
}

/// Splits one line of CSV; a field in quotes may hold commas and doubled quotes.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    fields.push(field);
    fields
}

/// Returns the middle of the values, or nothing where there are none.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some(values[low].midpoint(values[high]))
}

/// Returns the range that holds the median of what the values are drawn from with a confidence of
/// 95 % or more, or nothing where there are fewer than six.
///
/// Half of all draws lie below the median. The k-th lowest and the k-th highest of n draws miss it
/// only if fewer than k lie on one side, twice P(Binomial(n, 1/2) < k).
pub(super) fn interval(mut values: Vec<f64>) -> Option<[f64; 2]> {
    const MISSED: f64 = 0.05;
    values.sort_by(f64::total_cmp);
    // The probability that exactly `outside` lie on one side, and that at most so many do.
    let (mut exactly, mut at_most, mut outside) = (1.0, 1.0, 0_u32);
    for _ in &values {
        exactly /= 2.0;
        at_most /= 2.0;
    }
    if values.is_empty() || 2.0 * at_most > MISSED {
        return None;
    }
    let count = u32::try_from(values.len()).ok()?;
    loop {
        exactly *= f64::from(count - outside) / f64::from(outside + 1);
        at_most += exactly;
        if 2.0 * at_most > MISSED {
            break;
        }
        outside += 1;
    }
    let low = usize::try_from(outside).ok()?;
    Some([values[low], values[values.len() - 1 - low]])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# commit: abc\n# allocator hz3: version 0.1.0, libhz3.so, digest 1\n\
        # allocator mimalloc3:DELAY=0: version 3.3.2, x.so, digest 2\n\
        # allocator rpmalloc-2.0: version ?, x.so, digest 3\n\
        round,case,allocator,peak_rss_kb\n1,\"8,000 \"\"x\"\"\",hz3,3\n0,\"8,000 \"\"x\"\"\",hz3,1\n\
        0,b,mimalloc3:DELAY=0,\n";

    #[test]
    fn a_recording_is_read() {
        let recording = Recording::parse(TEXT).unwrap();
        assert_eq!(recording.fact("commit"), "abc");
        assert_eq!(recording.allocators(), ["hz3", "mimalloc3:DELAY=0", "rpmalloc-2.0"]);
        assert_eq!(recording.title("rpmalloc-2.0"), "rpmalloc 2.0");
        assert_eq!(recording.title("hz3"), "hz3");
        assert_eq!(recording.title("mimalloc3:DELAY=0"), "mimalloc 3.3.2, `DELAY=0`");
        assert_eq!(recording.cases(), ["8,000 \"x\"", "b"]);
        assert_eq!(recording.values("8,000 \"x\"", "hz3", "peak_rss_kb"), [1.0, 3.0]);
        assert_eq!(recording.values("b", "mimalloc3:DELAY=0", "peak_rss_kb"), [0.0; 0]);
        assert!(Recording::parse("a,b\n1\n").is_err());
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let text = "round,case,allocator,speed\n1,x,a,6\n0,x,a,1\n0,x,b,2\n1,x,b,2\n2,x,a,1\n2,x,b,\n0,y,a,9\n";
        let recording = Recording::parse(text).unwrap();
        assert_eq!(recording.ratios("x", ["a", "b"], "speed"), [0.5, 3.0]);
        assert_eq!(recording.ratios("y", ["a", "b"], "speed"), [0.0; 0]);
    }

    #[test]
    fn the_interval_narrows_with_the_values() {
        let of = |count: u32| interval((0..count).rev().map(f64::from).collect());
        assert_eq!(of(0), None);
        assert_eq!(of(5), None);
        assert_eq!(of(6), Some([0.0, 5.0]));
        assert_eq!(of(8), Some([0.0, 7.0]));
        // Twice (1 + 9) / 2^9 is below 5 %, twice (1 + 8) / 2^8 is not.
        assert_eq!(of(9), Some([1.0, 7.0]));
        assert_eq!(of(11), Some([1.0, 9.0]));
        assert_eq!(of(12), Some([2.0, 9.0]));
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }
}
