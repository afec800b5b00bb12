//! A comparison as one self-contained page, and its pictures as files.
//!
//! The pictures are SVG written here: no script runs in the page, nothing is loaded, and the
//! colours come from style variables, so that the same picture serves light and dark, screen and
//! paper.

mod page;
mod plots;
pub(crate) mod png;
mod scale;
mod svg;

use crate::experiment::analysis::Analysis;
use crate::experiment::record::Record;

pub(crate) use page::{html, watched};
pub(crate) use plots::memory::watched as watched_picture;

/// A picture with what it shows.
#[derive(Debug)]
pub(crate) struct Picture {
    /// File name without extension, and anchor in the page.
    pub(crate) name: String,
    /// Its heading.
    pub(crate) title: String,
    /// The message of the picture, in a sentence.
    pub(crate) caption: String,
    /// The drawing.
    pub(crate) svg: svg::Svg,
}

/// Draws all pictures for which a record has the data.
pub(crate) fn pictures(record: &Record, analysis: &Analysis) -> Vec<Picture> {
    let mut all = Vec::new();
    all.extend(plots::memory::over_time(record));
    all.extend(plots::speed::bars(record, analysis));
    all.extend(plots::tradeoff::scatter(record, analysis));
    all.extend(plots::latency::curves(record));
    all
}
