//! Resident set over time, all allocators in one picture, the phases shaded.

use super::{Frame, WIDTH, legend, marked_curve, slug};
use crate::experiment::record::Record;
use crate::experiment::trial::RssSeries;
use crate::report::Picture;
use crate::report::scale::Scale;
use crate::report::svg::{Anchor, Svg, stroke};
use crate::text;

/// Axes are in MiB, so that their round values are round to people.
const MIB: f64 = 1024.0;

/// Draws one picture for each case that idles.
pub(crate) fn over_time(record: &Record) -> Vec<Picture> {
    let all = 0..record.cases.len();
    all.filter_map(|case| picture(record, case)).collect()
}

fn picture(record: &Record, case: usize) -> Option<Picture> {
    let first = |peer| record.results(case, peer).find_map(|(_, figures)| figures.series.as_ref());
    let series: Vec<(usize, &RssSeries)> =
        (0..record.peers.len()).filter_map(|peer| Some((peer, first(peer)?))).collect();
    let has_idle =
        |(_, series): &(usize, &RssSeries)| series.phases.iter().any(|p| p.name == "idle");
    if !series.iter().any(has_idle) {
        return None;
    }
    let time = |series: &RssSeries, ms: f64| (ms - idle_start(series)) / 1e3;
    let times = || series.iter().flat_map(|(_, s)| s.rss.iter().map(|point| time(s, point.0)));
    let (from, to) = (times().fold(0.0, f64::min), times().fold(0.1, f64::max));
    let points = || series.iter().flat_map(|(_, series)| series.rss.iter());
    let top = points().map(|point| point.1 as f64).fold(1.0, f64::max);
    let name = &record.cases[case].name;
    let mut svg = Svg::new(WIDTH, 460.0, &format!("Resident set over time in {name}"));
    let legend_height = legend(&mut svg, record, 6.0);
    let frame = Frame { left: 76.0, top: legend_height + 46.0, right: WIDTH - 16.0, bottom: 410.0 };
    let x = Scale::linear((from, to), (frame.left, frame.right));
    let y = Scale::linear((0.0, top / MIB * 1.05), (frame.bottom, frame.top));
    let judged =
        series.iter().find(|(peer, _)| record.peers[*peer].name == "hz3").or(series.first())?;
    shade(&mut svg, judged.1, &x, &frame);
    frame.rows(&mut svg, &y, |mib| text::kib(mib * MIB), "resident set");
    let ticks: Vec<_> = x.ticks(8).into_iter().map(|t| (x.at(t), rounded(t))).collect();
    frame.columns(&mut svg, &ticks, "seconds from the start of the first idle time");
    for (peer, series) in &series {
        let place = |&(ms, kb): &(f64, u64)| (x.at(time(series, ms)), y.at(kb as f64 / MIB));
        let curve: Vec<_> = series.rss.iter().map(place).collect();
        marked_curve(&mut svg, &curve, *peer, &record.peers[*peer].name);
    }
    Some(Picture {
        name: format!("memory-{}", slug(name)),
        title: format!("Memory over time: {name}"),
        caption: format!(
            "The resident set as sampled from outside, every allocator from the start of its own first \
             idle time. Shaded: the idle times of {}.",
            record.peers[judged.0].name
        ),
        svg,
    })
}

/// Returns when the first idle time begins; 0 where there is none.
fn idle_start(series: &RssSeries) -> f64 {
    series.phases.iter().find(|phase| phase.name == "idle").map_or(0.0, |phase| phase.start_ms)
}

/// Formats a tick without the noise of binary fractions.
fn rounded(tick: f64) -> String {
    format!("{}", (tick * 1e6).round() / 1e6 + 0.0)
}

/// Draws one process over time, as `hz3 watch` saw it.
pub(crate) fn watched(rss: &[(f64, u64)], what: &str) -> Picture {
    let end = rss.iter().map(|point| point.0).fold(1.0, f64::max) / 1e3;
    let top = rss.iter().map(|point| point.1 as f64).fold(1.0, f64::max) / MIB;
    let mut svg = Svg::new(WIDTH, 420.0, &format!("Resident set over time of {what}"));
    let frame = Frame { left: 76.0, top: 46.0, right: WIDTH - 16.0, bottom: 370.0 };
    let x = Scale::linear((0.0, end), (frame.left, frame.right));
    let y = Scale::linear((0.0, top * 1.05), (frame.bottom, frame.top));
    frame.rows(&mut svg, &y, |mib| text::kib(mib * MIB), "resident set");
    let ticks: Vec<_> = x.ticks(8).into_iter().map(|t| (x.at(t), rounded(t))).collect();
    frame.columns(&mut svg, &ticks, "seconds");
    let step = rss.len().div_ceil(POINTS).max(1);
    let place = |&(ms, kb): &(f64, u64)| (x.at(ms / 1e3), y.at(kb as f64 / MIB));
    let curve: Vec<_> = rss.iter().step_by(step).map(place).collect();
    svg.curve(&curve, &stroke(0), what);
    Picture {
        name: "memory".to_owned(),
        title: "Memory over time".to_owned(),
        caption: "The resident set of the process and its descendants, as sampled from outside."
            .to_owned(),
        svg,
    }
}

/// More points than this are not drawn.
const POINTS: usize = 2000;

fn shade(svg: &mut Svg, series: &RssSeries, x: &Scale, frame: &Frame) {
    for phase in series.phases.iter().filter(|phase| phase.name == "idle") {
        let start = idle_start(series);
        let (left, right) =
            (x.at((phase.start_ms - start) / 1e3), x.at((phase.end_ms - start) / 1e3));
        let size = (right - left, frame.bottom - frame.top);
        svg.rect((left, frame.top), size, "shade", &phase.name);
        svg.text((left + 6.0, frame.top + 16.0), Anchor::Start, "soft", "idle");
    }
}
