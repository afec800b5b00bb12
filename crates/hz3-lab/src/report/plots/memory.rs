//! Resident set over time, all allocators in one picture, the phases shaded.

use super::{Frame, WIDTH, legend, slug};
use crate::experiment::record::Record;
use crate::experiment::trial::Series;
use crate::report::Picture;
use crate::report::scale::Scale;
use crate::report::svg::{Anchor, Svg, stroke};
use crate::text;

/// Axes are in MiB, so that their round values are round to people.
const MIB: f64 = 1024.0;

/// One picture for each case that idles.
pub(crate) fn over_time(record: &Record) -> Vec<Picture> {
    let all = 0..record.cases.len();
    all.filter_map(|case| picture(record, case)).collect()
}

fn picture(record: &Record, case: usize) -> Option<Picture> {
    let first = |peer| record.results(case, peer).find_map(|(_, figures)| figures.series.as_ref());
    let series: Vec<(usize, &Series)> =
        (0..record.peers.len()).filter_map(|peer| Some((peer, first(peer)?))).collect();
    let has_idle = |(_, series): &(usize, &Series)| series.phases.iter().any(|p| p.name == "idle");
    if !series.iter().any(has_idle) {
        return None;
    }
    let points = || series.iter().flat_map(|(_, series)| series.rss.iter());
    let end = points().map(|point| point.0).fold(1.0, f64::max);
    let top = points().map(|point| point.1 as f64).fold(1.0, f64::max);
    let name = &record.cases[case].name;
    let mut svg = Svg::new(WIDTH, 460.0, &format!("Resident set over time in {name}"));
    let legend_height = legend(&mut svg, record, 6.0);
    let frame = Frame { left: 84.0, top: legend_height + 44.0, right: WIDTH - 12.0, bottom: 410.0 };
    let x = Scale::linear((0.0, end / 1e3), (frame.left, frame.right));
    let y = Scale::linear((0.0, top / MIB * 1.05), (frame.bottom, frame.top));
    let judged =
        series.iter().find(|(peer, _)| record.peers[*peer].name == "hz3").or(series.first())?;
    shade(&mut svg, judged.1, &x, &frame);
    frame.rows(&mut svg, &y, |mib| text::kib(mib * MIB), "resident set");
    let ticks: Vec<_> = x.ticks(8).into_iter().map(|t| (x.at(t), format!("{t}"))).collect();
    frame.columns(&mut svg, &ticks, "seconds");
    for (peer, series) in &series {
        let place = |&(ms, kb): &(f64, u64)| (x.at(ms / 1e3), y.at(kb as f64 / MIB));
        let curve: Vec<_> = series.rss.iter().map(place).collect();
        svg.curve(&curve, &stroke(*peer), &record.peers[*peer].name);
    }
    Some(Picture {
        name: format!("memory-{}", slug(name)),
        title: format!("Memory over time: {name}"),
        caption: format!(
            "The resident set as sampled from outside. Shaded: the idle times of {}.",
            record.peers[judged.0].name
        ),
        svg,
    })
}

fn shade(svg: &mut Svg, series: &Series, x: &Scale, frame: &Frame) {
    for phase in series.phases.iter().filter(|phase| phase.name == "idle") {
        let (left, right) = (x.at(phase.start_ms / 1e3), x.at(phase.end_ms / 1e3));
        let size = (right - left, frame.bottom - frame.top);
        svg.rect((left, frame.top), size, "shade", &phase.name);
        svg.text((left + 6.0, frame.top + 16.0), Anchor::Start, "soft", "idle");
    }
}
