//! The machine, system and commit of a measurement.

use serde::{Deserialize, Serialize};
use std::process::Command;

/// The circumstances of a measurement.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Family, model and stepping, where the processor has such numbers.
    #[serde(default)]
    pub cpu_model: Option<String>,
    /// Processors that this program may use.
    pub cpus: usize,
    /// Physical memory.
    pub memory_kb: u64,
    /// Kernel release and architecture.
    pub kernel: String,
    /// The system's name.
    pub system: String,
    /// Transparent huge pages: `always`, `madvise` or `never`.
    pub thp: String,
    /// Bytes of a page.
    pub page_size: usize,
    /// The commit of the working directory's repository, with `+` when files differ from it.
    pub commit: Option<String>,
    /// Start of the measurement, UTC.
    pub date: String,
}

impl Machine {
    /// Reads the facts of this machine.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let uname = rustix::system::uname();
        let word = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let cpuinfo = read("/proc/cpuinfo");
        Self {
            cpu: field(&cpuinfo, "model name", ':').unwrap_or("unknown".to_owned()),
            cpu_model: cpu_model(&cpuinfo),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_kb: field(&read("/proc/meminfo"), "MemTotal", ':')
                .and_then(|text| text.split(' ').next()?.parse().ok())
                .unwrap_or(0),
            kernel: format!("{} {}", word(uname.release()), word(uname.machine())),
            system: field(&read("/etc/os-release"), "PRETTY_NAME", '=').unwrap_or_default(),
            thp: chosen(&read("/sys/kernel/mm/transparent_hugepage/enabled")),
            page_size: rustix::param::page_size(),
            commit: commit(),
            date: utc(now()),
        }
    }

    /// Returns the facts as pairs of name and value for tables.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        vec![
            ("date", self.date.clone()),
            ("cpu", format!("{} ({} usable)", self.cpu, self.cpus)),
            ("cpu model", self.cpu_model.clone().unwrap_or("unknown".to_owned())),
            ("memory", format!("{:.2} GiB", to_float(self.memory_kb) / 1024.0 / 1024.0)),
            ("system", self.system.clone()),
            ("kernel", self.kernel.clone()),
            ("transparent huge pages", self.thp.clone()),
            ("commit", self.commit.clone().unwrap_or("unknown".to_owned())),
        ]
    }
}

#[expect(clippy::cast_precision_loss, reason = "KiB of a machine's memory, far below 2^52")]
fn to_float(kib: u64) -> f64 {
    kib as f64
}

/// `family 25, model 1, stepping 1`; on arm64 the numbers of the implementer and the part.
fn cpu_model(cpuinfo: &str) -> Option<String> {
    let numbers = |names: [(&str, &str); 3]| {
        let part =
            |(key, word): (&str, &str)| Some(format!("{word} {}", field(cpuinfo, key, ':')?));
        names.into_iter().map(part).collect::<Option<Vec<_>>>().map(|parts| parts.join(", "))
    };
    numbers([("cpu family", "family"), ("model", "model"), ("stepping", "stepping")]).or_else(
        || {
            numbers([
                ("CPU implementer", "implementer"),
                ("CPU part", "part"),
                ("CPU revision", "revision"),
            ])
        },
    )
}

/// Returns the value of the first line `key SEPARATOR value`.
fn field(text: &str, key: &str, separator: char) -> Option<String> {
    let pairs = text.lines().filter_map(|line| line.split_once(separator));
    let found = pairs.into_iter().find(|(name, _)| name.trim() == key);
    found.map(|(_, value)| value.trim().trim_matches('"').to_owned())
}

/// Returns the word in brackets: `always [madvise] never`.
fn chosen(text: &str) -> String {
    let word = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    word.map_or("unknown".to_owned(), |(word, _)| word.to_owned())
}

fn commit() -> Option<String> {
    let git = |words: &[&str]| {
        let text = crate::capture(Command::new("git").args(words)).ok()?;
        Some(text.trim().to_owned())
    };
    let hash = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() { hash } else { hash + "+" })
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Seconds since 1970 as `2026-01-09 12:34:56`; the calendar is that of Howard Hinnant's
/// `civil_from_days`.
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_told_by_its_numbers() {
        let x86 = "cpu family\t: 25\nmodel\t\t: 1\nmodel name\t: EPYC\nstepping\t: 2\n";
        assert_eq!(cpu_model(x86).unwrap(), "family 25, model 1, stepping 2");
        let arm = "CPU implementer\t: 0x41\nCPU part\t: 0xd0c\nCPU revision\t: 1\n";
        assert_eq!(cpu_model(arm).unwrap(), "implementer 0x41, part 0xd0c, revision 1");
        assert_eq!(cpu_model("nothing"), None);
    }

    #[test]
    fn the_calendar_knows_leap_years() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_767_961_800, "2026-01-09 12:30:00"),
            (4_107_542_399, "2100-02-28 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }

    #[test]
    fn fields_and_choices_are_found() {
        assert_eq!(field("a : b\nmodel name\t: X 1\n", "model name", ':').unwrap(), "X 1");
        assert_eq!(field("NAME=\"D\"\n", "NAME", '=').unwrap(), "D");
        assert_eq!(chosen("always [madvise] never\n"), "madvise");
        assert_eq!(chosen(""), "unknown");
        let here = Machine::here();
        assert!(here.cpus > 0 && here.memory_kb > 0 && here.page_size >= 4096);
    }
}
