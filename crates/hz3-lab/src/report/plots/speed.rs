//! Speed of every allocator in every case against the base, with intervals.

use super::{WIDTH, legend, titled};
use crate::experiment::analysis::Analysis;
use crate::experiment::record::Record;
use crate::report::Picture;
use crate::report::scale::Scale;
use crate::report::svg::{Anchor, Svg, fill};
use crate::stats::estimate::Estimate;
use crate::text;

const BAR: f64 = 16.0;
const GAP: f64 = 12.0;
const LEFT: f64 = 150.0;

/// Draws one picture of all speed cases and their geometric mean.
pub(crate) fn bars(record: &Record, analysis: &Analysis) -> Option<Picture> {
    let groups = groups(record, analysis);
    if groups.is_empty() {
        return None;
    }
    let rows: usize = groups.iter().map(|(_, bars)| bars.len()).sum();
    let height = 140.0 + rows as f64 * BAR + groups.len() as f64 * GAP;
    let base = &record.peers[record.base].name;
    let mut svg = Svg::new(WIDTH, height, &format!("Speed of every case as a ratio to {base}"));
    let top = legend(&mut svg, record, 6.0) + 24.0;
    let estimates =
        || groups.iter().flat_map(|(_, bars)| bars.iter().map(|(_, estimate)| estimate));
    let low = estimates().map(|e| ends(e).0).fold(0.8, f64::min);
    let high = estimates().map(|e| ends(e).1).fold(1.25, f64::max);
    let x = Scale::log((low * 0.95, high * 1.05), (LEFT, WIDTH - 160.0));
    let bottom = height - 54.0;
    for tick in x.ticks(7) {
        svg.line((x.at(tick), top), (x.at(tick), bottom), "rule");
        svg.text((x.at(tick), bottom + 18.0), Anchor::Middle, "soft", &format!("{tick}x"));
    }
    let title = titled(&format!("speed, as a ratio to {base}"), &x);
    svg.text((WIDTH - 160.0, bottom + 38.0), Anchor::End, "soft", &title);
    let mut y = top + GAP / 2.0;
    for (name, bars) in &groups {
        let middle = y + bars.len() as f64 * BAR / 2.0 + 4.0;
        svg.text((LEFT - 12.0, middle), Anchor::End, "name", &short(name));
        for (peer, estimate) in bars {
            bar(&mut svg, &x, y, *peer, estimate, &record.peers[*peer].name);
            y += BAR;
        }
        y += GAP;
    }
    svg.line((x.at(1.0), top), (x.at(1.0), bottom), "one");
    Some(Picture {
        name: "speed".to_owned(),
        title: "Speed".to_owned(),
        caption: format!(
            "Operations a second as a ratio to {base}, right of 1 is faster; the whiskers are 95 % intervals."
        ),
        svg,
    })
}

type Group = (String, Vec<(usize, Estimate)>);

fn groups(record: &Record, analysis: &Analysis) -> Vec<Group> {
    let others = || (0..record.peers.len()).filter(|&peer| peer != record.base);
    let speed_cases = record.cases.iter().zip(&analysis.cells).filter(|(case, _)| case.is_speed);
    let of_case = |(case, cells): (&crate::experiment::cases::Case, &Vec<_>)| {
        let cells: &Vec<crate::experiment::analysis::Cell> = cells;
        let bars = others().filter_map(|peer| Some((peer, cells[peer].ratio?))).collect();
        (case.name.clone(), bars)
    };
    let mut groups: Vec<Group> = speed_cases.map(of_case).collect();
    let overall = others().filter_map(|peer| Some((peer, analysis.overall[peer].as_ref()?.0)));
    groups.push(("geometric mean".to_owned(), overall.collect()));
    groups.retain(|(_, bars)| !bars.is_empty());
    groups
}

/// Returns the ends of the interval, or the value twice where there is none.
fn ends(estimate: &Estimate) -> (f64, f64) {
    estimate.interval.map_or((estimate.value, estimate.value), |i| (i.low, i.high))
}

/// Shortens a name so that it fits left of the axis.
fn short(name: &str) -> String {
    const FITS: usize = 16;
    if name.chars().count() <= FITS {
        return name.to_owned();
    }
    name.chars().take(FITS - 1).chain(['…']).collect()
}

fn bar(svg: &mut Svg, x: &Scale, y: f64, peer: usize, estimate: &Estimate, name: &str) {
    let (one, value) = (x.at(1.0), x.at(estimate.value));
    let tip = format!("{name}: {}", text::ratio(estimate));
    let (low, high) = ends(estimate);
    let size = ((value - one).abs().max(1.0), BAR - 3.0);
    svg.rect((one.min(value), y), size, &fill(peer), &tip);
    let middle = y + (BAR - 3.0) / 2.0;
    for class in ["whisker-paper", "whisker"] {
        svg.line((x.at(low), middle), (x.at(high), middle), class);
        for end in [low, high] {
            svg.line((x.at(end), middle - 3.5), (x.at(end), middle + 3.5), class);
        }
    }
    let end = x.at(high.max(1.0)) + 12.0;
    svg.mark((end, middle), peer, &tip);
    svg.text((end + 12.0, middle + 4.0), Anchor::Start, "soft", &text::ratio(estimate));
}
