//! Speed against idle memory: an allocator should be right and low.

use super::{Frame, WIDTH};
use crate::experiment::analysis::Analysis;
use crate::experiment::record::Record;
use crate::report::Picture;
use crate::report::scale::Scale;
use crate::report::svg::{Anchor, Svg};
use crate::text;

/// Axes are in MiB, so that their round values are round to people.
const MIB: f64 = 1024.0;

/// The geometric mean of the speeds against the idle memory of the first case that idles.
pub(crate) fn scatter(record: &Record, analysis: &Analysis) -> Option<Picture> {
    let idles = |case: &usize| analysis.cells[*case].iter().any(|cell| cell.idle_rss_kb.is_some());
    let case = (0..record.cases.len()).find(idles)?;
    let point = |peer: usize| {
        let speed = analysis.overall[peer].as_ref()?.0.value;
        Some((peer, speed, analysis.cells[case][peer].idle_rss_kb? / MIB))
    };
    let points: Vec<_> = (0..record.peers.len()).filter_map(point).collect();
    if points.len() < 2 {
        return None;
    }
    let mut svg = Svg::new(WIDTH, 440.0, "Speed against idle memory");
    let frame = Frame { left: 84.0, top: 40.0, right: WIDTH - 30.0, bottom: 380.0 };
    let range = |values: &dyn Fn(&(usize, f64, f64)) -> f64| {
        let all = || points.iter().map(values);
        (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max))
    };
    let (slow, fast) = range(&|p| p.1);
    let (little, much) = range(&|p| p.2);
    let x = Scale::log((slow * 0.85, fast * 1.2), (frame.left, frame.right));
    let y = Scale::log((little * 0.7, much * 1.4), (frame.bottom, frame.top));
    let base = &record.peers[record.base].name;
    let name = &record.cases[case].name;
    frame.rows(&mut svg, &y, |mib| text::kib(mib * MIB), &format!("idle memory in {name}"));
    let ticks: Vec<_> = x.ticks(6).into_iter().map(|t| (x.at(t), format!("{t}x"))).collect();
    frame.columns(&mut svg, &ticks, &format!("speed, as a ratio to {base}"));
    let mut names = Vec::with_capacity(points.len());
    for (peer, speed, idle) in points {
        let place = (x.at(speed), y.at(idle));
        let name = &record.peers[peer].name;
        let tip = format!("{name}: {speed:.2} times {base}, {} idle", text::kib(idle * MIB));
        svg.mark(place, peer, &tip);
        names.push((place, name.as_str()));
    }
    write_names(&mut svg, names, f64::midpoint(frame.left, frame.right));
    Some(Picture {
        name: "tradeoff".to_owned(),
        title: "Speed against idle memory".to_owned(),
        caption: "Right is faster, low gives more memory back: the lower right corner is where an \
                  allocator should be."
            .to_owned(),
        svg,
    })
}

/// Writes names beside their marks; those of the right half stand left, so that none is cut off, and those
/// that would lie on each other are moved apart.
fn write_names(svg: &mut Svg, mut names: Vec<((f64, f64), &str)>, middle: f64) {
    const LINE: f64 = 15.0;
    names.sort_by(|a, b| a.0.1.total_cmp(&b.0.1));
    let mut last = [f64::NEG_INFINITY; 2];
    for ((x, y), name) in names {
        let (side, shift, anchor) =
            if x > middle { (1, -10.0, Anchor::End) } else { (0, 10.0, Anchor::Start) };
        let line = (y + 4.0).max(last[side] + LINE);
        last[side] = line;
        svg.text((x + shift, line), anchor, "", name);
    }
}
