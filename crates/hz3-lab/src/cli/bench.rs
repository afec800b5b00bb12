//! `hz3 bench`.

use crate::workloads::Workload;
use clap::Args;

pub(super) const LONG: &str = "\
Run one workload in this process, on this process's malloc, and report its speed.

The workload calls plain malloc and free: preload the allocator to measure, or measure that of the C \
library. `hz3 compare` does this for several allocators in turn, and `hz3 watch` shows the memory from \
outside.

Every block carries a mark that is checked when it is freed. A wrong mark, a misaligned block or a NULL \
ends the workload with an error.";

pub(super) const NOTES: &str = "\
The passes, in order:
  throughput  the workload alone; gives the operations per second
  harness     the same loop without an allocator (random numbers, slots,
              marks); only for workloads of short operations. Its cost is
              reported, and `net` is the time without it
  latency     fewer operations, and a clock around every 8th call on average
The harness maps its own memory directly, so only the workload calls malloc during
a pass.

Exit status:
  0    done
  1    the allocator failed the workload's check
  2    wrong usage
  125  hz3 itself failed

Examples:
  hz3 bench mixed --sizes small --threads 2
  LD_PRELOAD=target/release/libhz3.so hz3 bench remote
  LD_PRELOAD=libjemalloc.so.2 hz3 bench burst-idle 200000 10 3 0 4
  hz3 watch --lib target/release/libhz3.so -- hz3 bench holes";

/// The options of `hz3 bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Print one JSON object instead of the table
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Leave out the latency pass
    #[arg(long, global = true)]
    pub(crate) no_latency: bool,

    /// Leave out the harness pass
    #[arg(long, global = true)]
    pub(crate) no_harness: bool,

    /// Repeat the throughput pass and report the fastest, because other work on the machine only
    /// adds time. Workloads of long operations make one pass in any case
    #[arg(long, value_name = "N", default_value_t = 1, global = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) best_of: u32,

    /// The workload to run
    #[command(subcommand)]
    pub(crate) workload: Workload,
}
