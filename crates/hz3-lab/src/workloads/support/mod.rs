//! Building blocks of the workloads. Nothing here allocates while a workload is timed, except for
//! the calls that are the workload.

pub(crate) mod barrier;
pub(crate) mod block;
pub(crate) mod bounds;
pub(crate) mod floor;
pub(crate) mod heap;
pub(crate) mod histogram;
pub(crate) mod lanes;
pub(crate) mod mapped;
pub(crate) mod phases;
pub(crate) mod random;
pub(crate) mod ring;
pub(crate) mod short_thread;
pub(crate) mod sizes;
pub(crate) mod slots;
pub(crate) mod threads;
