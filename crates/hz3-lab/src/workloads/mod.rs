//! The workloads of `hz3 bench`. Each is one file, written over [`support::heap::Heap`]. The same
//! code therefore runs on the malloc under test, with a clock around its calls, and without an
//! allocator.

mod buffers;
mod burst_idle;
mod churn;
mod grow;
mod holes;
mod larson;
mod mixed;
pub(crate) mod outside;
mod pool;
mod remote;
pub(crate) mod support;
mod waves;
mod xfer;

use crate::failure::Result;
use serde::Serialize;
use support::bounds::Need;
use support::heap::Heap;
use support::threads::Totals;

/// A workload.
pub(crate) trait Work: Sized {
    /// Runs once.
    fn pass<H: Heap>(&self) -> Result<Totals>;

    /// Returns the threads and the memory that one run needs at least.
    fn need(&self) -> Need;

    /// Returns a shorter form, without idle time, for the pass that takes latencies.
    fn shorter(&self) -> Self;

    /// Whether the harness pass is useful, because an operation takes only a few nanoseconds.
    const TIGHT: bool;
}

/// The workloads with their parameters.
#[derive(Debug, Clone, clap::Subcommand, Serialize)]
#[serde(untagged)]
pub(crate) enum Workload {
    /// Allocate a burst, free it, idle; again and again: does the memory come back?
    BurstIdle(burst_idle::BurstIdle),
    /// Random slots, random sizes: each step frees a random one of 400 blocks, or allocates one
    Mixed(mixed::Mixed),
    /// The same loop with the sizes of an application: 80 % 16-256, 15 % 257-2048, 5 % 2049-32768
    Dist(mixed::Dist),
    /// Threads whose blocks are mostly freed by another thread
    Remote(remote::Remote),
    /// Half of the threads only allocate, the other half only free
    Xfer(xfer::Xfer),
    /// A server whose threads end and leave their blocks to the next ones (Larson)
    Larson(larson::Larson),
    /// Threads that live for a thousand operations
    Churn(churn::Churn),
    /// Large buffers from producers to consumers
    Buffers(buffers::Buffers),
    /// One block that doubles by realloc
    Grow(grow::Grow),
    /// A heap of which one block in twenty survives, scattered
    Holes(holes::Holes),
    /// Many threads that touch every size once and then block
    Pool(pool::Pool),
    /// Bursts at different intervals: what is given back, and what does it cost to have it again?
    Waves(waves::Waves),
}

/// A generic operation on a workload of any type.
pub(crate) trait Visitor {
    type Output;

    fn visit<W: Work>(&self, work: &W) -> Self::Output;
}

struct AskNeed;

impl Visitor for AskNeed {
    type Output = Need;

    fn visit<W: Work>(&self, work: &W) -> Need {
        work.need()
    }
}

impl Workload {
    /// Converts positional arguments, if the workload has any, to options.
    ///
    /// # Errors
    /// The workload needs more threads or more memory than this machine can have.
    pub(crate) fn settled(&self) -> Result<Self> {
        let settled = match self {
            Self::BurstIdle(work) => Self::BurstIdle(work.settled()?),
            Self::Remote(work) => Self::Remote(work.settled()?),
            other => other.clone(),
        };
        settled.accept(&AskNeed).check(support::bounds::machine_bytes())?;
        Ok(settled)
    }

    /// Passes the workload to `visitor` with its own type.
    pub(crate) fn accept<V: Visitor>(&self, visitor: &V) -> V::Output {
        match self {
            Self::BurstIdle(work) => visitor.visit(work),
            Self::Mixed(work) => visitor.visit(work),
            Self::Dist(work) => visitor.visit(work),
            Self::Remote(work) => visitor.visit(work),
            Self::Xfer(work) => visitor.visit(work),
            Self::Larson(work) => visitor.visit(work),
            Self::Churn(work) => visitor.visit(work),
            Self::Buffers(work) => visitor.visit(work),
            Self::Grow(work) => visitor.visit(work),
            Self::Holes(work) => visitor.visit(work),
            Self::Pool(work) => visitor.visit(work),
            Self::Waves(work) => visitor.visit(work),
        }
    }

    /// Returns the name on the command line.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::BurstIdle(_) => "burst-idle",
            Self::Mixed(_) => "mixed",
            Self::Dist(_) => "dist",
            Self::Remote(_) => "remote",
            Self::Xfer(_) => "xfer",
            Self::Larson(_) => "larson",
            Self::Churn(_) => "churn",
            Self::Buffers(_) => "buffers",
            Self::Grow(_) => "grow",
            Self::Holes(_) => "holes",
            Self::Pool(_) => "pool",
            Self::Waves(_) => "waves",
        }
    }
}
