//! A recorded A/B experiment.

use crate::experiment::record::Record;
use crate::experiment::verdict::{Criteria, Verdict};
use serde::{Deserialize, Serialize};

/// An experiment with its verdict and all that is needed to repeat it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Experiment {
    pub(super) name: String,
    /// The question or the reason, as the user gave it with `--why`.
    pub(super) why: String,
    pub(super) criteria: Criteria,
    pub(super) verdict: Verdict,
    pub(super) record: Record,
}
