//! Does the resident set follow the live bytes, whatever the threads do? The figure is the largest
//! resident set at the end of an idle time of a little more than a second. Growth is judged over
//! many cycles, because one cycle scatters by much more than a leak would add.

use super::Judgement;
use crate::experiment::cases::{Case, Level};
use crate::experiment::record::Record;
use crate::experiment::trial::Figures;
use crate::stats::median;
use crate::stats::trend::trend;
use crate::text;

/// Settings that reach the same: the reference of the first rows, and jemalloc's best.
pub(super) const VARIANTS: [&str; 2] =
    [REFERENCE, "jemalloc5:_RJEM_MALLOC_CONF=background_thread:true"];
const REFERENCE: &str = "mimalloc3:MIMALLOC_PURGE_DELAY=0";
/// KiB per cycle. Idle memory that certainly grows by more would add up.
const GROWTH_KB: f64 = 16.0;
const MIB: f64 = 1024.0;

/// A case and its target.
struct Goal {
    name: &'static str,
    line: &'static str,
    target: Target,
}

/// The limit of the resident set.
#[derive(Clone, Copy)]
enum Target {
    /// The resident set of the reference in this case, plus so many KiB.
    Reference(f64),
    /// No growth from cycle to cycle.
    Steady,
    /// The resident set before the first allocation, plus so many KiB.
    Start(f64),
    /// The start, plus this multiple of the pages that the survivors lie in.
    Floor(f64),
    /// At least this share of the peak is returned, in per cent.
    Returned(f64),
}

const GOALS: [Goal; 12] = [
    Goal {
        name: "threads exit",
        line: "burst-idle --cycles 4 --idle 1.05 --shape exit",
        target: Target::Reference(2.0 * MIB),
    },
    Goal {
        name: "threads blocked",
        line: "burst-idle --cycles 4 --idle 1.05 --shape stay",
        target: Target::Reference(2.0 * MIB),
    },
    Goal {
        name: "freed by another",
        line: "burst-idle --cycles 4 --idle 1.05 --shape remote",
        target: Target::Reference(2.0 * MIB),
    },
    Goal {
        name: "threads exit: growth",
        line: "burst-idle --cycles 24 --idle 1.05 --shape exit",
        target: Target::Steady,
    },
    Goal {
        name: "threads blocked: growth",
        line: "burst-idle --cycles 24 --idle 1.05 --shape stay",
        target: Target::Steady,
    },
    Goal {
        name: "freed by another: growth",
        line: "burst-idle --cycles 24 --idle 1.05 --shape remote",
        target: Target::Steady,
    },
    Goal { name: "200 blocked", line: "pool --idle 1.05", target: Target::Start(16.0 * MIB) },
    Goal {
        name: "3 million small",
        line: "burst-idle --total 3000000 --sizes 16-128 --cycles 1 --idle 1.05 --shape stay",
        target: Target::Start(8.0 * MIB),
    },
    Goal {
        name: "8,000 buffers",
        line: "burst-idle --total 8000 --sizes 32768-524288 --cycles 1 --idle 1.05 --shape stay",
        target: Target::Start(8.0 * MIB),
    },
    Goal {
        name: "5 % of 512-2048",
        line: "burst-idle --total 300000 --sizes 512-2048 --threads 1 --keep 5 --keep-hold \
               --cycles 1 --idle 1.05 --shape stay",
        target: Target::Floor(1.10),
    },
    Goal {
        name: "5 % of 64-1024, 4 threads",
        line: "burst-idle --total 600000 --sizes 64-1024 --threads 4 --keep 5 --keep-hold \
               --cycles 1 --idle 1.05 --shape stay",
        target: Target::Floor(1.10),
    },
    Goal { name: "holes", line: "holes --idle 1.05", target: Target::Returned(76.0) },
];

/// Returns the cases. None is about speed.
pub(super) fn cases(level: Level, rounds: Option<u32>) -> Vec<Case> {
    let rounds = rounds.unwrap_or(match level {
        Level::Quick => 1,
        Level::Normal => 5,
        Level::Thorough => 15,
    });
    let case = |goal: &Goal| {
        // The cycles of this case are its repetitions.
        let rounds = if matches!(goal.target, Target::Steady) { 1 } else { rounds };
        Case::bench(goal.name, goal.line, false, rounds)
    };
    GOALS.iter().map(case).collect()
}

/// Judges each goal.
pub(super) fn lines(record: &Record, judged: usize) -> Vec<Judgement> {
    let rows = record.cases.iter().enumerate().filter_map(|(case, planned)| {
        let goal = GOALS.iter().find(|goal| goal.name == planned.name)?;
        Some(goal.judge(record, case, judged))
    });
    rows.collect()
}

fn middle(
    record: &Record,
    (case, peer): (usize, usize),
    figure: fn(&Figures) -> Option<f64>,
) -> Option<f64> {
    median(&record.results(case, peer).filter_map(|(_, f)| figure(f)).collect::<Vec<_>>())
}

impl Goal {
    fn judge(&self, record: &Record, case: usize, judged: usize) -> Judgement {
        let of = |figure| middle(record, (case, judged), figure);
        let idle = of(|f| f.worst_idle_rss_kb);
        let start = of(|f| f.start_rss_kb);
        let line = |found, wanted, beside, met| Judgement {
            case: self.name.to_owned(),
            found,
            wanted,
            beside,
            met,
        };
        let resident = |limit: Option<f64>, beside: String| {
            let met = idle.zip(limit).map(|(idle, limit)| idle <= limit);
            line(kib(idle), format!("at most {}", kib(limit)), beside, met)
        };
        match self.target {
            Target::Reference(more) => {
                let reference = record.peers.iter().position(|peer| peer.name == REFERENCE);
                let theirs = reference
                    .and_then(|peer| middle(record, (case, peer), |f| f.worst_idle_rss_kb));
                let beside = format!("{REFERENCE}: {}", kib(theirs));
                resident(theirs.map(|theirs| theirs + more), beside)
            }
            Target::Steady => {
                let ends = |(_, figures): (u32, &Figures)| figures.later_idle_ends_kb().to_vec();
                let trials: Vec<Vec<f64>> = record.results(case, judged).map(ends).collect();
                let trend = trend(&trials);
                let found =
                    trend.map_or("-".to_owned(), |t| format!("{:+.0} KiB a cycle", t.slope));
                let beside = trend.map_or(String::new(), |t| format!("surely above {:+.0}", t.low));
                let wanted = format!("not surely above {GROWTH_KB:+.0} KiB a cycle");
                line(found, wanted, beside, trend.map(|trend| trend.low <= GROWTH_KB))
            }
            Target::Start(more) => {
                resident(start.map(|start| start + more), format!("start: {}", kib(start)))
            }
            Target::Floor(times) => {
                let floor = of(|f| f.floor_kb);
                let limit = floor.zip(start).map(|(floor, start)| times * floor + start);
                let beside = format!("floor: {}, start: {}", kib(floor), kib(start));
                resident(limit, beside)
            }
            Target::Returned(percent) => {
                let peak = of(|f| Some(f.peak_rss_kb));
                let harness = of(|f| f.harness_kb).unwrap_or(0.0);
                let returned = idle
                    .zip(peak)
                    .map(|(idle, peak)| 100.0 * (1.0 - (idle - harness) / (peak - harness)));
                let found = returned.map_or("-".to_owned(), |p| format!("{p:.1} % returned"));
                let met = returned.map(|returned| returned >= percent);
                let beside = format!(
                    "peak: {}, idle: {}, the harness's: {}",
                    kib(peak),
                    kib(idle),
                    text::kib(harness)
                );
                line(found, format!("at least {percent:.0} %"), beside, met)
            }
        }
    }
}

fn kib(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), text::kib)
}
