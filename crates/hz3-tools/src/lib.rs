//! Shared by the tools of hz3 and by their tests: the one error type, running other programs, and
//! the circumstances of a measurement.

mod command;
mod failure;
mod group;
#[cfg(feature = "record")]
pub mod load;
#[cfg(feature = "record")]
pub mod machine;
mod signal;
mod wait;

pub use command::{capture, line, succeeded};
pub use failure::{Failure, OWN_FAILURE, Result, WRONG_USAGE};
pub use group::Group;
pub use signal::{Signal, send};
pub use wait::wait_until;
