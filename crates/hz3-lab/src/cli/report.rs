//! `hz3 report`.

use clap::Args;
use std::path::PathBuf;

pub(super) const LONG: &str = "\
Make a page of a comparison or of a watch: one self-contained HTML file with pictures (memory over time, speed with \
intervals, speed against idle memory, latency curves) and tables. It loads nothing, runs no script, fits a \
phone, prints, and follows the reader's light or dark setting.";

pub(super) const NOTES: &str = "\
Exit status: 0, 2 for wrong usage, 125 when hz3 itself failed.

Examples:
  hz3 report hz3-compare.json
  hz3 report hz3-watch.csv
  hz3 report night.json --out night.html --svg docs/pictures --png docs/pictures";

/// The options of `hz3 report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The results of `hz3 compare`, or the CSV of `hz3 watch`
    #[arg(value_name = "FILE", default_value = "hz3-compare.json")]
    pub(crate) results: PathBuf,

    /// Where the page goes; `-` is the standard output [default: FILE with .html]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Write the pictures as SVG files into this directory as well, which is made if only it is
    /// missing
    #[arg(long, value_name = "DIR")]
    pub(crate) svg: Option<PathBuf>,

    /// The same as PNG files; this needs an installed font
    #[arg(long, value_name = "DIR")]
    pub(crate) png: Option<PathBuf>,
}
