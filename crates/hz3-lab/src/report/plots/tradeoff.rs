//! Speed against idle memory: an allocator should be right and low.

use super::{CHARACTER, Frame, WIDTH, titled};
use crate::experiment::analysis::Analysis;
use crate::experiment::record::Record;
use crate::report::Picture;
use crate::report::scale::Scale;
use crate::report::svg::{Anchor, Svg};
use crate::text;

/// Axes are in MiB, so that their round values are round to people.
const MIB: f64 = 1024.0;

/// Draws the geometric mean of the speeds against the idle memory of the first case that idles.
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
    let frame = Frame { left: 76.0, top: 44.0, right: WIDTH - 30.0, bottom: 380.0 };
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
    frame.columns(&mut svg, &ticks, &titled(&format!("speed, as a ratio to {base}"), &x));
    let mut names = Vec::with_capacity(points.len());
    for (peer, speed, idle) in points {
        let place = (x.at(speed), y.at(idle));
        let name = &record.peers[peer].name;
        let tip = format!("{name}: {speed:.2} times {base}, {} idle", text::kib(idle * MIB));
        svg.mark(place, peer, &tip);
        names.push((place, name.as_str()));
    }
    write_names(&mut svg, names, &frame);
    Some(Picture {
        name: "tradeoff".to_owned(),
        title: "Speed against idle memory".to_owned(),
        caption: "Right is faster, low gives more memory back: the lower right corner is where an \
                  allocator should be."
            .to_owned(),
        svg,
    })
}

/// A rectangle that a mark or a name takes: left, top, right, bottom.
#[derive(Debug, Clone, Copy)]
struct Taken([f64; 4]);

impl Taken {
    fn overlaps(self, other: Taken) -> bool {
        let (Taken([l, t, r, b]), Taken([left, top, right, bottom])) = (self, other);
        l < right && left < r && t < bottom && top < b
    }
}

/// Writes names beside their marks, each where it covers no mark and no other name: to the right if
/// there is room, else to the left, above, below, and then further and further away.
fn write_names(svg: &mut Svg, names: Vec<((f64, f64), &str)>, frame: &Frame) {
    const MARK: f64 = 7.0;
    const LINE: f64 = 14.0;
    let mark = |&((x, y), _): &((f64, f64), &str)| Taken([x - MARK, y - MARK, x + MARK, y + MARK]);
    let mut taken: Vec<Taken> = names.iter().map(mark).collect();
    for ((x, y), name) in names {
        let width = CHARACTER * name.chars().count() as f64;
        let spot = |step: u32| {
            let shift =
                f64::from(step.div_ceil(2)) * if step.is_multiple_of(2) { LINE } else { -LINE };
            [(x + 10.0, Anchor::Start, x + 10.0), (x - 10.0, Anchor::End, x - 10.0 - width)]
                .map(|(at, anchor, left)| (at, y + 4.0 + shift, anchor, left))
        };
        let boxed = |baseline: f64, left: f64| {
            Taken([left, baseline - LINE + 3.0, left + width, baseline + 3.0])
        };
        let is_free = |(_, baseline, _, left): &(f64, f64, Anchor, f64)| {
            let place = boxed(*baseline, *left);
            let inside = *left >= frame.left - 40.0 && left + width <= frame.right + 30.0;
            inside && !taken.iter().any(|other| other.overlaps(place))
        };
        let free = (0..24).flat_map(spot).find(is_free);
        let (at, baseline, anchor, left) = free.unwrap_or((x + 10.0, y + 4.0, Anchor::Start, x));
        svg.text((at, baseline), anchor, "", name);
        taken.push(boxed(baseline, left));
    }
}

#[cfg(test)]
mod tests {
    use super::{Frame, Svg, write_names};

    #[test]
    fn names_of_marks_in_one_place_stand_apart() {
        let mut svg = Svg::new(900.0, 440.0, "");
        let frame = Frame { left: 76.0, top: 44.0, right: 870.0, bottom: 380.0 };
        write_names(&mut svg, vec![((400.0, 200.0), "one"); 5], &frame);
        let inline = svg.inline();
        let place = |text: &str| {
            let y = text.split("y='").nth(1)?.split('\'').next()?.to_owned();
            Some((text.contains("start"), y))
        };
        let places: std::collections::HashSet<_> =
            inline.split("<text").skip(1).filter_map(place).collect();
        assert_eq!(places.len(), 5, "{inline}");
    }
}
