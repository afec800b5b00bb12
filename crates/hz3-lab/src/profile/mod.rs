//! A heap profile in pprof's form: read, named, summed up by function, drawn.

mod file;
mod flame;
mod live;
pub(crate) mod proto;
mod stacks;
mod sums;
mod symbols;

pub(crate) use flame::draw;
pub(crate) use live::Live;
pub(crate) use stacks::{Kind, Named};
pub(crate) use sums::{Sum, Sums};
