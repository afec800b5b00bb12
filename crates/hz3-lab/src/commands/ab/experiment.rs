//! A recorded A/B.

use crate::experiment::record::Record;
use crate::experiment::verdict::{Criteria, Verdict};
use serde::{Deserialize, Serialize};

/// An experiment with its verdict; what it takes to do it again.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Experiment {
    pub(super) name: String,
    /// The question or the reason, in the words of whoever asked.
    pub(super) why: String,
    pub(super) criteria: Criteria,
    pub(super) verdict: Verdict,
    pub(super) record: Record,
}
