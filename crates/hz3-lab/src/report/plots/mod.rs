//! The pictures, one kind a file.

pub(crate) mod latency;
pub(crate) mod memory;
pub(crate) mod speed;
pub(crate) mod tradeoff;

use super::scale::Scale;
use super::svg::{Anchor, Svg, stroke};
use crate::experiment::record::Record;

/// Full width of every picture, so that its text can still be read when a phone of 390 pixels shows
/// it.
const WIDTH: f64 = 680.0;

/// How wide a character of the pictures' text is at most, on average.
const CHARACTER: f64 = 8.6;

/// The area of a plot inside its axes.
#[derive(Debug, Clone, Copy)]
struct Frame {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Frame {
    /// Draws horizontal rules with their values at the left, and a title above them.
    fn rows(&self, svg: &mut Svg, scale: &Scale, name: impl Fn(f64) -> String, title: &str) {
        for tick in scale.ticks(6) {
            let y = scale.at(tick);
            svg.line((self.left, y), (self.right, y), "rule");
            svg.text((self.left - 8.0, y + 4.0), Anchor::End, "soft", &name(tick));
        }
        svg.text((8.0, self.top - 14.0), Anchor::Start, "soft", &titled(title, scale));
    }

    /// Draws an axis with its values below, and a title at its right end.
    fn columns(&self, svg: &mut Svg, ticks: &[(f64, String)], title: &str) {
        svg.line((self.left, self.bottom), (self.right, self.bottom), "axis");
        for (x, name) in ticks {
            svg.line((*x, self.bottom), (*x, self.bottom + 5.0), "axis");
            svg.text((*x, self.bottom + 19.0), Anchor::Middle, "soft", name);
        }
        svg.text((self.right, self.bottom + 36.0), Anchor::End, "soft", title);
    }
}

/// Writes the names of all allocators with their colours, in rows. Returns the height that they
/// take.
fn legend(svg: &mut Svg, record: &Record, top: f64) -> f64 {
    const ROW: f64 = 24.0;
    const LEFT: f64 = 8.0;
    let (mut x, mut y) = (LEFT, top);
    for (index, peer) in record.peers.iter().enumerate() {
        let width = 46.0 + CHARACTER * peer.name.chars().count() as f64;
        if x + width > WIDTH && x > LEFT {
            (x, y) = (LEFT, y + ROW);
        }
        // As in a curve and as in a scatter.
        svg.line((x, y + 7.0), (x + 26.0, y + 7.0), &stroke(index));
        svg.mark((x + 13.0, y + 7.0), index, &peer.name);
        svg.text((x + 32.0, y + 12.0), Anchor::Start, "", &peer.name);
        x += width;
    }
    y + ROW - top
}

/// Draws a curve with the series' mark on it in a few places, which differ from series to series.
fn marked_curve(svg: &mut Svg, points: &[(f64, f64)], index: usize, tip: &str) {
    const MARKS: usize = 5;
    svg.curve(points, &stroke(index), tip);
    let step = (points.len() / MARKS).max(1);
    let first = step * (index % 7) / 8;
    for point in points.iter().skip(first).step_by(step) {
        svg.mark(*point, index, tip);
    }
}

/// Returns the title of an axis, which says when the axis is logarithmic.
fn titled(title: &str, scale: &Scale) -> String {
    if scale.is_logarithmic() { format!("{title} (logarithmic)") } else { title.to_owned() }
}

/// Turns a name into one that is good in a file name.
fn slug(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}
