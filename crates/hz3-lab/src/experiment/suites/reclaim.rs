//! Does the resident set follow the live bytes, whatever the threads do? The figure is the resident set at
//! the end of an idle time of a little more than a second; of several cycles, the largest.

use super::Line;
use crate::experiment::cases::{Case, Level};
use crate::experiment::record::Record;
use crate::experiment::trial::Figures;
use crate::stats::median;
use crate::text;

/// What reaches the same by its settings: the reference of the first rows, and jemalloc at its best.
pub(super) const VARIANTS: [&str; 2] =
    [REFERENCE, "jemalloc5:_RJEM_MALLOC_CONF=background_thread:true"];
const REFERENCE: &str = "mimalloc3:MIMALLOC_PURGE_DELAY=0";
/// Idle memory that grows by more KiB from cycle to cycle would add up.
const GROWTH_KB: f64 = 16.0;
const MIB: f64 = 1024.0;

/// A case and its bar.
struct Row {
    name: &'static str,
    line: &'static str,
    bar: Bar,
}

/// How much may be resident.
#[derive(Clone, Copy)]
enum Bar {
    /// What the reference keeps in this case, and so many KiB; and no growth from cycle to cycle.
    Reference(f64),
    /// What was resident before the first allocation, and so many KiB.
    Start(f64),
    /// The same, and this many times the pages that the survivors lie in.
    Floor(f64),
    /// At least this much of the peak has gone, in per cent.
    Returned(f64),
}

const ROWS: [Row; 9] = [
    Row {
        name: "threads exit",
        line: "burst-idle --cycles 4 --idle 1.05 --shape exit",
        bar: Bar::Reference(2.0 * MIB),
    },
    Row {
        name: "threads blocked",
        line: "burst-idle --cycles 4 --idle 1.05 --shape stay",
        bar: Bar::Reference(2.0 * MIB),
    },
    Row {
        name: "freed by another",
        line: "burst-idle --cycles 4 --idle 1.05 --shape remote",
        bar: Bar::Reference(2.0 * MIB),
    },
    Row { name: "200 blocked", line: "pool --idle 1.05", bar: Bar::Start(16.0 * MIB) },
    Row {
        name: "3 million small",
        line: "burst-idle --total 3000000 --sizes 16-128 --cycles 1 --idle 1.05 --shape stay",
        bar: Bar::Start(8.0 * MIB),
    },
    Row {
        name: "8,000 buffers",
        line: "burst-idle --total 8000 --sizes 32768-524288 --cycles 1 --idle 1.05 --shape stay",
        bar: Bar::Start(8.0 * MIB),
    },
    Row {
        name: "5 % of 512-2048",
        line: "burst-idle --total 300000 --sizes 512-2048 --threads 1 --keep 5 --keep-hold \
               --cycles 1 --idle 1.05 --shape stay",
        bar: Bar::Floor(1.10),
    },
    Row {
        name: "5 % of 64-1024, 4 threads",
        line: "burst-idle --total 600000 --sizes 64-1024 --threads 4 --keep 5 --keep-hold \
               --cycles 1 --idle 1.05 --shape stay",
        bar: Bar::Floor(1.10),
    },
    Row { name: "holes", line: "holes --idle 1.05", bar: Bar::Returned(76.0) },
];

/// Its cases. None is about speed.
pub(super) fn cases(level: Level) -> Vec<Case> {
    let rounds = match level {
        Level::Quick => 1,
        Level::Normal => 5,
        Level::Thorough => 15,
    };
    ROWS.iter().map(|row| Case::bench(row.name, row.line, false, rounds)).collect()
}

/// What was found of each row.
pub(super) fn lines(record: &Record, judged: usize) -> Vec<Line> {
    let rows = record.cases.iter().enumerate().filter_map(|(case, planned)| {
        let row = ROWS.iter().find(|row| row.name == planned.name)?;
        Some(row.lines(record, case, judged))
    });
    rows.flatten().collect()
}

fn middle(
    record: &Record,
    (case, peer): (usize, usize),
    figure: fn(&Figures) -> Option<f64>,
) -> Option<f64> {
    median(&record.results(case, peer).filter_map(|(_, f)| figure(f)).collect::<Vec<_>>())
}

impl Row {
    fn lines(&self, record: &Record, case: usize, judged: usize) -> Vec<Line> {
        let of = |figure| middle(record, (case, judged), figure);
        let idle = of(|f| f.worst_idle_rss_kb);
        let start = of(|f| f.start_rss_kb);
        let line = |name: &str, found, wanted, beside, met| Line {
            case: name.to_owned(),
            found,
            wanted,
            beside,
            met,
        };
        let resident = |limit: Option<f64>, beside: String| {
            let met = idle.zip(limit).map(|(idle, limit)| idle <= limit);
            line(self.name, kib(idle), format!("at most {}", kib(limit)), beside, met)
        };
        match self.bar {
            Bar::Reference(more) => {
                let reference = record.peers.iter().position(|peer| peer.name == REFERENCE);
                let theirs = reference
                    .and_then(|peer| middle(record, (case, peer), |f| f.worst_idle_rss_kb));
                let beside = format!("{REFERENCE}: {}", kib(theirs));
                let growth = of(|f| f.growth_kb);
                let found = growth.map_or("-".to_owned(), |kb| format!("{kb:+.0} KiB a cycle"));
                let wanted = format!("at most {GROWTH_KB:+.0} KiB a cycle");
                let met = growth.map(|growth| growth <= GROWTH_KB);
                let name = format!("{}: growth", self.name);
                vec![
                    resident(theirs.map(|theirs| theirs + more), beside),
                    line(&name, found, wanted, String::new(), met),
                ]
            }
            Bar::Start(more) => {
                vec![resident(start.map(|start| start + more), format!("start: {}", kib(start)))]
            }
            Bar::Floor(times) => {
                let floor = of(|f| f.floor_kb);
                let limit = floor.zip(start).map(|(floor, start)| times * floor + start);
                let beside = format!("floor: {}, start: {}", kib(floor), kib(start));
                vec![resident(limit, beside)]
            }
            Bar::Returned(percent) => {
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
                vec![line(self.name, found, format!("at least {percent:.0} %"), beside, met)]
            }
        }
    }
}

fn kib(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), text::kib)
}
