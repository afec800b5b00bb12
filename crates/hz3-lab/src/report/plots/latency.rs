//! Latency curves: how long the slowest calls take.

use super::{Frame, WIDTH, legend, marked_curve, slug};
use crate::experiment::record::Record;
use crate::experiment::trial::LatencyCurves;
use crate::report::Picture;
use crate::report::scale::Scale;
use crate::report::svg::Svg;
use crate::text;

/// The cases that are shown: these when they are there, else the first that has latencies.
const SHOWN: [&str; 2] = ["small", "remote"];
/// The axis goes up to this share of calls.
const LAST: f64 = 0.9999;

/// Pictures of malloc and of free.
pub(crate) fn curves(record: &Record) -> Vec<Picture> {
    let has =
        |case: &usize| (0..record.peers.len()).any(|peer| latency(record, *case, peer).is_some());
    let with: Vec<usize> = (0..record.cases.len()).filter(has).collect();
    let named = |case: &&usize| SHOWN.contains(&record.cases[**case].name.as_str());
    let mut shown: Vec<usize> = with.iter().filter(named).copied().collect();
    if shown.is_empty() {
        shown.extend(with.first());
    }
    let pair = |case| {
        [
            picture(record, case, "malloc", |latency| &latency.malloc_curve),
            picture(record, case, "free", |latency| &latency.free_curve),
        ]
    };
    shown.into_iter().flat_map(pair).flatten().collect()
}

fn latency(record: &Record, case: usize, peer: usize) -> Option<&LatencyCurves> {
    record.results(case, peer).find_map(|(_, figures)| figures.latency.as_ref())
}

fn picture(
    record: &Record,
    case: usize,
    call: &str,
    curve: fn(&LatencyCurves) -> &Vec<(u64, f64)>,
) -> Option<Picture> {
    let curves: Vec<(usize, &Vec<(u64, f64)>)> = (0..record.peers.len())
        .filter_map(|peer| Some((peer, curve(latency(record, case, peer)?))))
        .filter(|(_, curve)| !curve.is_empty())
        .collect();
    let shown = |curve: &[(u64, f64)]| {
        curve.iter().find(|point| point.1 >= LAST).or(curve.last()).map_or(1.0, |p| p.0 as f64)
    };
    let top = curves.iter().map(|(_, curve)| shown(curve)).reduce(f64::max)?;
    let name = &record.cases[case].name;
    let mut svg = Svg::new(WIDTH, 420.0, &format!("Latency of {call} in {name}"));
    let legend_height = legend(&mut svg, record, 6.0);
    let frame = Frame { left: 76.0, top: legend_height + 44.0, right: WIDTH - 32.0, bottom: 366.0 };
    // The axis is the share of calls that take longer, so every further nine has the same room.
    let x = Scale::log((1.0, 0.5 / (1.0 - LAST)), (frame.left, frame.right));
    let at = |share: f64| x.at(0.5 / (1.0 - share).max(1e-12));
    let y = Scale::log((5.0, top * 1.3), (frame.bottom, frame.top));
    frame.rows(&mut svg, &y, text::nanoseconds, &format!("{call} takes at most"));
    let ticks = [0.5, 0.9, 0.99, 0.999, LAST];
    let ticks: Vec<_> = ticks.map(|share| (at(share), format!("{} %", share * 100.0))).to_vec();
    frame.columns(&mut svg, &ticks, "of calls (each further nine has the same room)");
    for (peer, curve) in curves {
        // The first bucket beyond the median also holds the median itself.
        let beyond = curve.iter().skip_while(|(_, share)| *share < 0.5);
        let first = beyond.clone().next().map(|&(ns, _)| (at(0.5), y.at(ns as f64)));
        let rest = beyond.filter(|(_, share)| *share <= LAST);
        let rest = rest.map(|&(ns, share)| (at(share), y.at(ns as f64)));
        let points: Vec<_> = first.into_iter().chain(rest).collect();
        marked_curve(&mut svg, &points, peer, &record.peers[peer].name);
    }
    Some(Picture {
        name: format!("latency-{call}-{}", slug(name)),
        title: format!("Latency of {call}: {name}"),
        caption: "A sample of the calls, in a pass of its own. Lower is better; the flat part is the fast \
                  path, the rise is what refills, locks and the kernel cost."
            .to_owned(),
        svg,
    })
}
