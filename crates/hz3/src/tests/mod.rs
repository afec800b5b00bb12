//! Tests of the layers together: random operations against a model, over the real system and over
//! the fake one; threads at full speed under a thief.

mod attack;
mod breakdown;
mod busy;
mod collect;
mod exhaustion;
mod fork;
mod guard;
mod idle_classes;
mod limit;
mod model;
#[cfg(feature = "experiments")]
mod policies;
mod prefault;
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "estimates are compared with counts"
)]
mod profile;
mod program;
mod random;
mod refusing;
mod resize;
mod stress;
mod sweep;
mod utilization;
mod world;
