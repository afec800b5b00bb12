//! The other load of the machine during a measurement.

use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// The load during one run. A figure that the system does not give is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Seconds of the run.
    pub seconds: f64,
    /// The load average over a minute when the run began.
    pub average: Option<f64>,
    /// CPU seconds that neither the run nor this program used.
    pub others_cpu_s: Option<f64>,
    /// CPU seconds that the hypervisor gave to other guests.
    pub steal_s: Option<f64>,
    /// Seconds in which some task waited for a processor (PSI); the run's own tasks count as well.
    pub cpu_stall_s: Option<f64>,
}

/// Reads the system's counters at the start and at the end of a run.
#[derive(Debug)]
pub struct Meter {
    start: Instant,
    average: Option<f64>,
    before: Counters,
}

/// Seconds since the start of the system, and since the start of this process.
#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    busy: Option<f64>,
    steal: Option<f64>,
    stall: Option<f64>,
    own: f64,
}

impl Meter {
    /// Reads the counters at the start of a run.
    pub fn start() -> Self {
        let average = read("/proc/loadavg").split(' ').next().and_then(|word| word.parse().ok());
        Self { start: Instant::now(), average, before: Counters::now() }
    }

    /// Reads the counters again and returns the load; the run itself used `cpu`.
    pub fn stop(self, cpu: Duration) -> Load {
        let (before, after) = (self.before, Counters::now());
        let since =
            |field: fn(&Counters) -> Option<f64>| Some((field(&after)? - field(&before)?).max(0.0));
        let own = after.own - before.own + cpu.as_secs_f64();
        Load {
            seconds: self.start.elapsed().as_secs_f64(),
            average: self.average,
            others_cpu_s: since(|c| c.busy).map(|busy| (busy - own).max(0.0)),
            steal_s: since(|c| c.steal),
            cpu_stall_s: since(|c| c.stall),
        }
    }
}

impl Counters {
    fn now() -> Self {
        let (busy, steal) = processors(&read("/proc/stat")).unzip();
        let own = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let own = Duration::try_from(own).map_or(0.0, |time| time.as_secs_f64());
        Self { busy, steal, stall: stalled(&read("/proc/pressure/cpu")), own }
    }
}

/// Returns the CPU time of all children that this process has waited for, and of theirs.
pub fn of_children() -> Duration {
    let stat = read("/proc/self/stat");
    // The name of the program, in parentheses, may have blanks in it.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields.skip(13).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    Duration::from_secs_f64(ticks / ticks_a_second())
}

#[expect(clippy::cast_precision_loss, reason = "a hundred")]
fn ticks_a_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Returns busy and stolen CPU seconds of all processors since the start of the system.
fn processors(stat: &str) -> Option<(f64, f64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [user, nice, system, _idle, _wait, hard, soft, steal, ..] = ticks[..] else { return None };
    let second = ticks_a_second();
    Some(((user + nice + system + hard + soft) / second, steal / second))
}

/// Returns seconds in which some task waited for a processor: `some avg10=0.00 ...
/// total=MICROSECONDS`.
fn stalled(pressure: &str) -> Option<f64> {
    let line = pressure.lines().find(|line| line.starts_with("some "))?;
    let (_, total) = line.split_once("total=")?;
    total.trim().parse::<f64>().ok().map(|micros| micros / 1e6)
}

/// The mean number of processors busy with other work above which a measurement counts as
/// disturbed.
const BUSY: f64 = 0.05;

/// Summarises the load beside all these runs in a sentence, and whether it disturbed them.
#[expect(clippy::cast_precision_loss, reason = "a number of processors")]
pub fn sentence<'a>(loads: impl Iterator<Item = &'a Load>, processors: usize) -> Option<String> {
    let loads: Vec<&Load> = loads.collect();
    let seconds: f64 = loads.iter().map(|load| load.seconds).sum();
    let share = |field: fn(&Load) -> Option<f64>| {
        Some(loads.iter().map(|load| field(load)).sum::<Option<f64>>()? / seconds)
    };
    if loads.is_empty() || seconds <= 0.0 {
        return None;
    }
    let (others, steal) = (share(|load| load.others_cpu_s)?, share(|load| load.steal_s)?);
    let averages: Vec<f64> = loads.iter().filter_map(|load| load.average).collect();
    let low = averages.iter().copied().fold(f64::INFINITY, f64::min);
    let high = averages.iter().copied().fold(0.0, f64::max);
    let facts = format!(
        "other programs used {others:.2} of {processors} processors, steal {:.0} %, load average \
         {low:.1} to {high:.1}",
        100.0 * steal / processors.max(1) as f64
    );
    Some(if others + steal > BUSY * processors as f64 {
        format!("MEASURED BESIDE OTHER WORK: {facts}.")
    } else {
        format!("Nothing else ran: {facts}.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_are_found() {
        let stat = "cpu  100 20 30 4000 50 6 7 80 9 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        let second = ticks_a_second();
        assert_eq!(processors(stat), Some((163.0 / second, 80.0 / second)));
        assert_eq!(processors("cpu 1 2\n"), None);
        let psi = "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull avg10=0.00 total=1\n";
        assert_eq!(stalled(psi), Some(2.5));
        assert_eq!(stalled(""), None);
    }

    #[test]
    fn other_work_is_said_first() {
        let load = |others| Load {
            seconds: 2.0,
            average: Some(1.5),
            others_cpu_s: Some(others),
            steal_s: Some(0.0),
            cpu_stall_s: None,
        };
        let of = |others| sentence([load(others)].iter(), 2).unwrap();
        assert!(of(1.0).starts_with("MEASURED BESIDE OTHER WORK: other programs used 0.50 of 2"));
        assert!(of(0.1).starts_with("Nothing else ran"), "{}", of(0.1));
        let unknown = Load { seconds: 1.0, ..Load::default() };
        assert_eq!(sentence([unknown].iter(), 2), None);
    }

    #[test]
    fn the_time_of_children_counts_once_they_ended() {
        let before = of_children();
        let line = "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done";
        let mut shell = std::process::Command::new("sh");
        assert!(shell.args(["-c", line]).status().unwrap().success());
        assert!(of_children() > before);
    }

    #[test]
    fn a_run_that_does_nothing_has_a_load() {
        let load = Meter::start().stop(Duration::ZERO);
        assert!(load.seconds >= 0.0 && load.others_cpu_s.is_some_and(|s| s >= 0.0), "{load:?}");
    }
}
