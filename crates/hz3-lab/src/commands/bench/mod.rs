//! `hz3 bench`: the passes of one workload in this process.

mod report;

use crate::cli::BenchArgs;
use crate::failure::Result;
use crate::measure::bench_report::BenchReport;
use crate::measure::clock::monotonic_ms;
use crate::workloads::support::heap::{Nothing, Plain, Timed};
use crate::workloads::support::threads::Totals;
use crate::workloads::{Visitor, Work};
use report::PassResults;

/// Runs the passes and reports.
pub(crate) fn run(args: &BenchArgs) -> Result<u8> {
    let workload = args.workload.settled()?;
    let passes = workload.accept(&PassPlan {
        latency: !args.no_latency,
        harness: !args.no_harness,
        best_of: args.best_of,
    })?;
    let report = BenchReport::of(&workload, passes)?;
    if args.json {
        report.print_json()?;
    } else {
        report.print_table()?;
    }
    Ok(0)
}

struct PassPlan {
    latency: bool,
    harness: bool,
    best_of: u32,
}

impl PassPlan {
    /// Runs the throughput passes and returns the fastest.
    fn fastest<W: Work>(&self, work: &W) -> Result<Totals> {
        let mut fastest = work.pass::<Plain>()?;
        for _ in 1..if W::TIGHT { self.best_of } else { 1 } {
            let pass = work.pass::<Plain>()?;
            if pass.rate() > fastest.rate() {
                fastest = pass;
            }
        }
        Ok(fastest)
    }
}

impl Visitor for PassPlan {
    type Output = Result<PassResults>;

    fn visit<W: Work>(&self, work: &W) -> Result<PassResults> {
        let throughput = self.fastest(work)?;
        let measured_until_ms = monotonic_ms();
        let harness =
            (self.harness && W::TIGHT).then(|| work.shorter().pass::<Nothing>()).transpose()?;
        let latency = self.latency.then(|| work.shorter().pass::<Timed>()).transpose()?;
        Ok(PassResults { throughput, measured_until_ms, harness, latency })
    }
}
