//! The statistics as `OpenMetrics` text.

use super::observation::Observation;
use crate::measure::open_metrics::Text;

/// Returns the text, with its end mark.
pub(super) fn text(seen: &Observation) -> String {
    let page = &seen.page;
    let mut text = Text::begin(String::new(), None, seen.resident, page.value("committed"));
    for name in &page.names {
        text.value(name, page.value(name));
    }
    text.end(|| page.classes.iter().copied())
}
