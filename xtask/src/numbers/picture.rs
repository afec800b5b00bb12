//! The picture of the front page: bars of one case of a recording.

use std::fmt::Write;

use super::digits::mib;
use super::recording::{Recording, median};

/// Where the picture is, from the root of the workspace.
pub(super) const FILE: &str = "docs/pictures/blocked.svg";
/// The recording that it shows.
pub(super) const SOURCE: &str = "reclaim";
const CASE: &str = "threads blocked";
const TITLE: &str = "Resident a second after 420 MiB were freed, threads blocked (MiB)";

/// Settings as they are called in the picture.
const SETTINGS: [(&str, &str); 2] = [
    ("MIMALLOC_PURGE_DELAY=0", "purge delay 0"),
    ("_RJEM_MALLOC_CONF=background_thread:true", "background thread"),
];

const WIDTH: u32 = 760;
const ROW: u32 = 30;
const TOP: u32 = 52;
/// Where bars begin, and the length of the longest.
const LEFT: u32 = 300;
const LONGEST: f64 = 380.0;

/// Returns the picture as SVG: one bar an allocator, the shortest first, each with its value.
pub(super) fn svg(recording: &Recording) -> String {
    let value = |name: &String| median(recording.values(CASE, name, "worst_idle_rss_kb"));
    let allocators = recording.allocators().into_iter();
    let mut bars: Vec<(String, f64)> =
        allocators.filter_map(|name| value(&name).map(|kib| (name, kib))).collect();
    bars.sort_by(|a, b| a.1.total_cmp(&b.1));
    let longest = bars.iter().map(|bar| bar.1).fold(1.0, f64::max);
    let height = TOP + ROW * u32::try_from(bars.len()).unwrap_or(0) + 14;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"14\" role=\"img\">\n\
         <title>{TITLE}</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"28\" font-size=\"16\" font-weight=\"bold\" fill=\"#1b1b1b\">{TITLE}</text>\n"
    );
    let mut top = TOP;
    for (name, kib) in bars {
        let mut title = recording.title(&name).replace('`', "");
        for (setting, words) in SETTINGS {
            title = title.replace(setting, words);
        }
        let (colour, weight) =
            if name == "hz3" { ("#0b5cad", "bold") } else { ("#9aa4ae", "normal") };
        let (middle, length) = (top + 16, kib / longest * LONGEST);
        let _ = write!(
            out,
            "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\" font-weight=\"{weight}\" \
             fill=\"#1b1b1b\">{title}</text>\n\
             <rect x=\"{LEFT}\" y=\"{top}\" width=\"{length:.1}\" height=\"22\" fill=\"{colour}\"/>\n\
             <text x=\"{:.1}\" y=\"{middle}\" font-weight=\"{weight}\" fill=\"#1b1b1b\">{}</text>\n",
            LEFT - 10,
            f64::from(LEFT) + length + 8.0,
            mib(kib)
        );
        top += ROW;
    }
    out + "</svg>\n"
}
