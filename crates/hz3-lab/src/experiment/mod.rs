//! Measuring allocators against each other: cases times allocators, round after round in shuffled
//! order, each trial in a process of its own that is watched from outside.

pub(crate) mod analysis;
pub(crate) mod cases;
pub(crate) mod decision;
mod progress;
pub(crate) mod record;
pub(crate) mod schedule;
pub(crate) mod session;
pub(crate) mod suites;
pub(crate) mod trial;
pub(crate) mod verdict;
