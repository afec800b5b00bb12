//! The rows of the cost table and how each is measured.

use std::path::{Path, PathBuf};
use std::time::Instant;

use hz3_tools::{Failure, Result};

use super::median::median;
use crate::shell;

/// The C programs, built.
#[derive(Debug)]
pub(super) struct Programs(PathBuf);

impl Programs {
    pub(super) fn compile(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        for name in ["slots", "threads", "idle", "metadata"] {
            let source = format!("xtask/cost/{name}.c");
            shell::compile(&source, &["-O2", "-pthread"], &folder.join(name))?;
        }
        Ok(Self(folder.to_owned()))
    }

    /// Runs a program on this preload library, or on the system's malloc; what it printed.
    pub(super) fn output(
        &self,
        name: &str,
        preload: Option<&Path>,
        arguments: &[&str],
    ) -> Result<String> {
        let mut command = shell::program(self.0.join(name));
        command.args(arguments).env_remove("LD_PRELOAD");
        if let Some(library) = preload {
            command.env("LD_PRELOAD", library);
        }
        shell::capture(&mut command)
    }
}

/// The quantity that one run gives.
#[derive(Debug, Clone, Copy)]
enum Quantity {
    /// Steps per second of the loop with this many threads and these sizes; more is better.
    Loop { threads: &'static str, low: &'static str, high: &'static str },
    /// Nanoseconds a short thread.
    Threads,
    /// Milliseconds from start to end of a program that allocates nothing.
    StartUp,
    /// Resident kibibytes of a program that allocates nothing.
    Resident,
}

/// The condition on the two medians.
#[derive(Debug, Clone, Copy)]
enum Target {
    /// hz3 has at least this multiple of the other's.
    AtLeast(f64),
    /// hz3 has at most this multiple of the other's.
    AtMost(f64),
    /// hz3 has at most this much more than the other.
    More(f64),
}

/// The columns of the CSV.
pub(super) const COLUMNS: &str = "round,case,allocator,unit,value";

/// One line of the table.
#[derive(Debug)]
pub(super) struct Row {
    name: &'static str,
    /// The allocator that it is measured beside.
    beside: &'static str,
    unit: &'static str,
    quantity: Quantity,
    target: Target,
    /// hz3 and what it is measured beside.
    libraries: [Option<PathBuf>; 2],
    found: [Vec<f64>; 2],
}

/// All rows, nothing measured yet.
pub(super) fn rows(subject: &Path, tcmalloc: &Path) -> Vec<Row> {
    let row = |name, unit, quantity, target, library: Option<&Path>| Row {
        name,
        beside: if library.is_some() { "tcmalloc" } else { "glibc" },
        unit,
        quantity,
        target,
        libraries: [Some(subject.to_owned()), library.map(Path::to_owned)],
        found: [Vec::new(), Vec::new()],
    };
    let small = |threads| Quantity::Loop { threads, low: "16", high: "2048" };
    let large = |threads| Quantity::Loop { threads, low: "4096", high: "32768" };
    let per_second = "M steps/s";
    vec![
        row("16-2048, 1 thread", per_second, small("1"), Target::AtLeast(1.0), Some(tcmalloc)),
        row("16-2048, 2 threads", per_second, small("2"), Target::AtLeast(1.0), Some(tcmalloc)),
        row("4096-32768, 1 thread", per_second, large("1"), Target::AtLeast(0.5), Some(tcmalloc)),
        row("4096-32768, 2 threads", per_second, large("2"), Target::AtLeast(0.5), Some(tcmalloc)),
        row("a thread with 100 blocks", "us", Quantity::Threads, Target::AtMost(1.0), None),
        row("start and end of an idle program", "ms", Quantity::StartUp, Target::More(1.0), None),
        row(
            "resident set of an idle program",
            "KiB",
            Quantity::Resident,
            Target::More(1024.0),
            None,
        ),
    ]
}

impl Row {
    /// Measures both allocators, a short run of one after a short run of the other; which of the
    /// two begins is the caller's choice.
    pub(super) fn repeat(&mut self, programs: &Programs, reverse: bool) -> Result {
        let mut found = [Vec::new(), Vec::new()];
        for _ in 0..self.quantity.rounds() {
            for turn in [0, 1] {
                let which = if reverse { 1 - turn } else { turn };
                let value = self.quantity.measure(programs, self.libraries[which].as_deref());
                found[which].push(value.map_err(|failure| failure.during(self.name))?);
            }
        }
        for (all, rounds) in self.found.iter_mut().zip(&found) {
            all.extend(median(rounds));
        }
        Ok(())
    }

    /// Prints the line; the name when the target is missed.
    pub(super) fn report(&self) -> Option<String> {
        let [Some(own), Some(other)] = [median(&self.found[0]), median(&self.found[1])] else {
            return Some(format!("{} was not measured", self.name));
        };
        let (met, relation, target) = self.target.judge(own, other);
        let verdict = if met { "met" } else { "MISSED" };
        let (name, beside, unit) = (self.name, self.beside, self.unit);
        println!(
            "| {name} | {own:.2} {unit} | {beside} {other:.2} {unit} | {relation} | {target} | {verdict} |"
        );
        (!met).then(|| self.name.to_owned())
    }
}

impl Row {
    /// Returns the measurements as lines of a CSV, in the order of [`COLUMNS`].
    pub(super) fn lines(&self) -> Vec<String> {
        let of = |allocator: &'static str, found: &[f64]| -> Vec<String> {
            let line = |(round, value)| line(round, self.name, allocator, self.unit, value);
            found.iter().copied().enumerate().map(line).collect()
        };
        [of("hz3", &self.found[0]), of(self.beside, &self.found[1])].concat()
    }
}

/// Returns one line of the CSV.
pub(super) fn line(round: usize, case: &str, allocator: &str, unit: &str, value: f64) -> String {
    format!("{round},\"{case}\",{allocator},{unit},{value}\n")
}

impl Target {
    /// Returns whether it's met, how the two stand to each other, and the target itself in words.
    fn judge(self, own: f64, other: f64) -> (bool, String, String) {
        let ratio = own / other;
        match self {
            Self::AtLeast(target) => {
                (ratio >= target, format!("{ratio:.3}"), format!("at least {target}"))
            }
            Self::AtMost(target) => {
                (ratio <= target, format!("{ratio:.3}"), format!("at most {target}"))
            }
            Self::More(target) => {
                let more = own - other;
                (more <= target, format!("{more:+.2}"), format!("at most {target} more"))
            }
        }
    }
}

impl Quantity {
    /// Short runs of each allocator in one repetition: the shorter, the less a busy moment of the
    /// machine falls on one of the two alone.
    fn rounds(self) -> u32 {
        match self {
            Self::Loop { .. } => 3,
            Self::Threads => 15,
            Self::StartUp => 40,
            Self::Resident => 1,
        }
    }

    fn measure(self, programs: &Programs, preload: Option<&Path>) -> Result<f64> {
        match self {
            Self::Loop { threads, low, high } => {
                // A tenth of a second on one core of today.
                let text = programs.output("slots", preload, &[threads, low, high, "6000000"])?;
                Ok(text.trim().parse::<f64>()? / 1e6)
            }
            Self::Threads => {
                let text = programs.output("threads", preload, &["1000"])?;
                Ok(text.trim().parse::<f64>()? / 1e3)
            }
            Self::StartUp => {
                let start = Instant::now();
                programs.output("idle", preload, &[])?;
                Ok(start.elapsed().as_secs_f64() * 1e3)
            }
            Self::Resident => resident(&programs.output("idle", preload, &[])?),
        }
    }
}

/// Returns the number in `VmRSS:    1234 kB`.
fn resident(line: &str) -> Result<f64> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["VmRSS:", number, "kB"] => Ok(number.parse()?),
        _ => Err(Failure::new(format!("not a resident set: {line:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_met_on_the_bar_and_missed_beyond() {
        assert!(Target::AtLeast(1.0).judge(10.0, 10.0).0);
        assert!(!Target::AtLeast(1.0).judge(9.9, 10.0).0);
        assert!(Target::AtMost(1.0).judge(9.9, 10.0).0);
        assert!(!Target::AtMost(1.0).judge(10.1, 10.0).0);
        assert!(Target::More(1.0).judge(2.0, 1.0).0);
        assert!(!Target::More(1.0).judge(2.1, 1.0).0);
    }

    #[test]
    fn a_row_without_measurements_is_missed() {
        let rows = rows(Path::new("/a"), Path::new("/b"));
        assert!(rows.iter().all(|row| row.report().is_some()));
    }

    #[test]
    fn a_row_reports_its_median_against_its_bar() {
        let mut rows = rows(Path::new("/a"), Path::new("/b"));
        rows[0].found = [vec![1.0, 50.0, 1.1], vec![1.0, 1.0, 1.0]];
        assert_eq!(rows[0].report(), None);
        rows[0].found = [vec![0.9, 50.0, 0.8], vec![1.0, 1.0, 1.0]];
        assert_eq!(rows[0].report(), Some(rows[0].name.to_owned()));
    }

    #[test]
    fn a_row_is_a_line_for_each_allocator_and_repetition() {
        let mut rows = rows(Path::new("/a"), Path::new("/b"));
        rows[0].found = [vec![1.5, 2.0], vec![3.0, 4.0]];
        let name = rows[0].name;
        let expected = ["0,*,hz3,1.5", "1,*,hz3,2", "0,*,tcmalloc,3", "1,*,tcmalloc,4"];
        let expected = expected.map(|line| {
            let (line, value) = line.rsplit_once(',').unwrap();
            format!("{},M steps/s,{value}\n", line.replace('*', &format!("\"{name}\"")))
        });
        assert_eq!(rows[0].lines(), expected);
    }

    #[test]
    fn the_resident_set_is_read() {
        assert!(resident("VmRSS:\t    1234 kB\n").is_ok_and(|found| (found - 1234.0).abs() < 1e-9));
        assert!(resident("VmHWM: 12 kB").is_err());
    }
}
